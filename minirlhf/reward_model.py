"""The Reward model: stands in for people. Trained on pairs in stage 2, frozen in stage 3."""

import copy
from typing import Self

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from minirlhf.actor import Actor
from minirlhf.batch import Prompts
from minirlhf.noise import HEAD_INIT, key
from minirlhf.scorer import Scorer


class RewardModel(Scorer):
    """r(x, y): one number for a whole response, read at its last counted token."""

    @classmethod
    def from_actor(cls, actor: Actor, *, seed: int = 0) -> Self:
        """The SFT model's trunk with a fresh head: how stage 2 begins.

        Args:
            actor: the SFT model; it is copied and stays as it is.
            seed: of the head's first weights, N(0, 1/√(H+1)) as in Stiennon et al. 2020.
        """
        config = copy.deepcopy(actor.model.config)
        config.num_labels = 1
        config.architectures = None
        model = AutoModelForSequenceClassification.from_config(
            config, attn_implementation=actor.model.config._attn_implementation
        )
        trunk = {k: v.clone() for k, v in actor.model.base_model.state_dict().items()}
        model.base_model.load_state_dict(trunk)
        generator = torch.Generator().manual_seed(key(seed, HEAD_INIT))
        weight = torch.randn(model.score.weight.shape, generator=generator)
        with torch.no_grad():
            model.score.weight.copy_(weight / (config.hidden_size + 1) ** 0.5)
        first = next(actor.parameters())
        return cls(model.to(device=first.device, dtype=first.dtype), actor.tokenizer)

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
