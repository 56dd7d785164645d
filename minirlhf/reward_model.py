"""The Reward model: stands in for people. Trained on pairs in stage 2, frozen in stage 3."""

import copy
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from minirlhf.actor import Actor
from minirlhf.adapter_files import put_adapter, rank_on_disk, read_adapter
from minirlhf.batch import Prompts
from minirlhf.loading import loading_errors
from minirlhf.lora import adapter_is_fresh, trunk
from minirlhf.noise import HEAD_INIT, key
from minirlhf.scorer import Scorer


class RewardModel(Scorer):
    """r(x, y): one number for a whole response, read at its last counted token."""

    @classmethod
    def from_actor(cls, actor: Actor, *, seed: int = 0, lora_rank: int = 0) -> Self:
        """The SFT model's trunk with a fresh head: how stage 2 begins.

        Args:
            actor: the SFT model; it stays as it is.
            seed: of the head's first weights, N(0, 1/√(H+1)) as in Stiennon et al. 2020.
            lora_rank: 0 copies the trunk. Else this model reads with the Actor's own trunk, which
                is frozen from now on, and has an adapter of this rank for itself.

        Raises:
            ValueError: the Actor's LoRA adapter was trained; it has to be merged first.
        """
        if not adapter_is_fresh(actor.model):
            raise ValueError(
                "the Actor has a trained LoRA adapter; begin from "
                "Actor(merged(actor.model), actor.tokenizer)"
            )
        model = _headless(actor, share=bool(lora_rank))
        generator = torch.Generator().manual_seed(key(seed, HEAD_INIT))
        weight = torch.randn(model.score.weight.shape, generator=generator)
        with torch.no_grad():
            model.score.weight.copy_(weight / (model.config.hidden_size + 1) ** 0.5)
        first = next(actor.parameters())
        reward_model = cls(model.to(device=first.device, dtype=first.dtype), actor.tokenizer)
        if lora_rank:
            reward_model.shares = "the Actor's trunk"
        return reward_model.add_adapter(lora_rank, seed=seed)

    @classmethod
    def from_adapter(cls, actor: Actor, folder: str | Path) -> Self:
        """What stage 2 saved with LoRA, frozen, read with the Actor's own trunk.

        Args:
            actor: the SFT model that stage 2 began with.
            folder: of the reward model; its adapter is in `adapter`.

        Raises:
            ValueError: there is no adapter that was trained on this Actor's trunk, or a file is
                damaged.
        """
        adapter = Path(folder) / "adapter"
        rank = rank_on_disk(adapter, actor.model)
        if not rank:
            raise ValueError(
                f"{folder} holds no LoRA adapter that was trained on this Actor's trunk; "
                "open the whole model with RewardModel.from_pretrained"
            )
        reward_model = cls.from_actor(actor, lora_rank=rank)
        with loading_errors(adapter):
            put_adapter(reward_model.model, read_adapter(adapter, reward_model.model))
        return reward_model.freeze()

    def forward(self, prompts: Prompts, response_ids: Tensor, response_mask: Tensor) -> Tensor:
        """`scores`, as DDP calls it."""
        return self.scores(prompts, response_ids, response_mask)

    def scores(self, prompts: Prompts, response_ids: Tensor, response_mask: Tensor) -> Tensor:
        """Score of each response, read at its last counted token.

        Args:
            prompts: (B, P) ids and mask, left-padded.
            response_ids: (B, R) int, right-padded.
            response_mask: (B, R) bool; a response of length 0 is read at the prompt's last token.

        Returns:
            (B,) reward units, with gradient unless frozen.
        """
        input_ids = torch.cat([prompts.prompt_ids, response_ids], dim=1)
        hidden = self.hidden_states(input_ids, prompts.prompt_mask)
        last = prompts.prompt_ids.shape[1] - 1 + response_mask.sum(dim=1)
        rows = torch.arange(len(last), device=last.device)
        return self.read_head(hidden[rows, last])

    @torch.no_grad()
    def standardise(self, scores: Tensor) -> None:
        """Make these scores mean 0 and std 1 from now on, so that β keeps its meaning.

        The head's weight is divided by the standard deviation; the mean goes into the config.

        Args:
            scores: (N,) this model's scores of SFT samples, N ≥ 2.

        Raises:
            ValueError: fewer than 2 scores, or all the same.
        """
        if scores.numel() < 2 or not float(scores.std(correction=0)) > 0.0:
            raise ValueError(
                f"cannot standardise {scores.numel()} scores that do not vary: the reward model "
                "tells no two SFT samples apart (train it longer, or on more pairs)"
            )
        mean = float(scores.mean())
        std = float(scores.std(correction=0))
        self.model.score.weight /= std
        if self.model.score.bias is not None:
            self.model.score.bias /= std
        self.model.config.score_shift = (self.score_shift + mean) / std


def _headless(actor: Actor, *, share: bool) -> Any:
    """A sequence classifier on the Actor's trunk, or on a copy of it; its head is not yet set."""
    config = copy.deepcopy(actor.model.config)
    config.num_labels = 1
    config.architectures = None
    body = trunk(actor.model).base_model
    with torch.device("meta" if share else "cpu"):  # on "meta" nothing is computed or stored
        model = AutoModelForSequenceClassification.from_config(
            config, attn_implementation=actor.model.config._attn_implementation
        )
    if share:
        setattr(model, model.base_model_prefix, body)
        model.score.to_empty(device="cpu")
    else:
        model.base_model.load_state_dict({k: v.clone() for k, v in body.state_dict().items()})
    return model
