"""A language model with one number on top: what the Reward model and the Critic share.

Both are an `AutoModelForSequenceClassification` with `num_labels=1`: the trunk of a causal model
and a linear `score` head. The Reward model reads the head once, at the last counted token; the
Critic reads it before every token.

Scores are standardised after stage 2. The scale is folded into the head's weight; the mean is kept
in config.json as `score_shift` and subtracted here, so plain transformers' logit − shift is our
score.
"""

import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from minirlhf.backbone import Role, attention_inputs
from minirlhf.checkpointing import recomputed
from minirlhf.masks import at_least_float32


class Scorer(Role):
    """A causal trunk with a scalar head."""

    auto_class = AutoModelForSequenceClassification
    extra_load_options = {"num_labels": 1}  # noqa: RUF012

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(model, tokenizer)
        head = getattr(model, "score", None)
        if not isinstance(head, torch.nn.Linear):
            raise ValueError(
                f"{type(model).__name__} has no linear `score` head on a causal trunk; "
                "use a GPT-2, Llama, Qwen or similar sequence classifier"
            )
        if head.out_features != 1:
            raise ValueError(f"the score head gives {head.out_features} numbers, wanted 1")

    @property
    def score_shift(self) -> float:
        """Mean raw score over SFT samples, in the units of the head; 0 before standardising."""
        return float(getattr(self.model.config, "score_shift", 0.0))

    def hidden_states(self, input_ids: Tensor, prompt_mask: Tensor) -> Tensor:
        """(B, width, H): what the trunk knows at each slot.

        Args:
            input_ids: (B, width) int; prompt, then response.
            prompt_mask: (B, P) bool, False on left padding.
        """
        inputs = attention_inputs(prompt_mask, input_ids.shape[1], context=self.context)
        with recomputed(self):
            output = self.model.base_model(input_ids, use_cache=False, **inputs)
        return output.last_hidden_state  # type: ignore[no-any-return]

    def read_head(self, hidden: Tensor) -> Tensor:
        """(...) reward units from (..., H) hidden states: the head, minus the shift, ≥ float32."""
        raw: Tensor = self.model.score(hidden)[..., 0]
        return at_least_float32(raw) - self.score_shift
