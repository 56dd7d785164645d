"""The Critic: predicts V_t, the total reward still to come. PPO trains it beside the Actor."""

import copy
from typing import Self

import torch
from torch import Tensor

from minirlhf.batch import Prompts
from minirlhf.log_probs import before_each_response_token
from minirlhf.reward_model import RewardModel
from minirlhf.scorer import Scorer


class Critic(Scorer):
    """V(S_t): one number before each response token."""

    @classmethod
    def from_reward_model(cls, reward_model: RewardModel) -> Self:
        """A trainable copy of the Reward model, as in DeepSpeed-Chat: same trunk, same head."""
        critic = cls(copy.deepcopy(reward_model.model), reward_model.tokenizer)
        critic.requires_grad_(True)
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
