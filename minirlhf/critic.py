"""The Critic: predicts V_t, the total reward still to come. PPO trains it beside the Actor."""

import copy
from typing import Self

import torch
from torch import Tensor

from minirlhf.batch import Prompts
from minirlhf.log_probs import before_each_response_token
from minirlhf.lora import merged, twin
from minirlhf.reward_model import RewardModel
from minirlhf.scorer import Scorer


class Critic(Scorer):
    """V(S_t): one number before each response token."""

    @classmethod
    def from_reward_model(
        cls, reward_model: RewardModel, *, lora_rank: int = 0, seed: int = 0
    ) -> Self:
        """A trainable copy of the Reward model, as in DeepSpeed-Chat: same trunk, same head.

        Args:
            reward_model: where the Critic begins; with an adapter, its trunk is frozen.
            lora_rank: 0 copies all weights. Else the Critic reads with the Reward model's own
                trunk, and has an adapter and a head for itself: a new adapter, or a copy of the
                Reward model's where it has one.
            seed: of a new adapter.

        Raises:
            ValueError: the Reward model's adapter has another rank.
        """
        if not lora_rank:
            adapted = bool(reward_model.lora_rank)
            copied = merged(reward_model.model) if adapted else copy.deepcopy(reward_model.model)
            critic = cls(copied, reward_model.tokenizer)
            critic.requires_grad_(True)
            return critic
        if reward_model.lora_rank not in (0, lora_rank):
            raise ValueError(
                f"the Reward model's adapter has rank {reward_model.lora_rank}, and the Critic "
                f"would begin with a copy of it; lora_rank was {lora_rank}"
            )
        critic = cls(twin(reward_model.model), reward_model.tokenizer)
        critic.shares = reward_model.shares or "the Reward model's trunk"
        if not critic.lora_rank:
            critic.add_adapter(lora_rank, seed=seed)
        for parameter in critic.own_parameters().values():
            parameter.requires_grad_(True)
        return critic

    def forward(self, prompts: Prompts, response_ids: Tensor) -> Tensor:
        """`values`, as DDP calls it."""
        return self.values(prompts, response_ids)

    def values(self, prompts: Prompts, response_ids: Tensor) -> Tensor:
        """V(S_t), read before token A_t is known.

        Args:
            prompts: (B, P) ids and mask, left-padded.
            response_ids: (B, R) int, right-padded.

        Returns:
            (B, R) reward units, with gradient.
        """
        # the last response token is never an input: no value after it is asked for
        input_ids = torch.cat([prompts.prompt_ids, response_ids[:, :-1]], dim=1)
        hidden = self.hidden_states(input_ids, prompts.prompt_mask)
        return self.read_head(before_each_response_token(hidden, response_ids.shape[1]))
