"""The Reference: the SFT model, frozen, that keeps the Actor from going astray (训歪)."""

import copy
from typing import Self

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from minirlhf.actor import Actor
from minirlhf.backbone import Role
from minirlhf.batch import Prompts
from minirlhf.lora import adapter_is_fresh, trunk
from minirlhf.masks import at_least_float32


class Reference(Role):
    """π_ref: reads what the Actor wrote and says how likely it would have been before RLHF."""

    auto_class = AutoModelForCausalLM

    @classmethod
    def from_actor(cls, actor: Actor) -> Self:
        """A frozen copy of the Actor as it is now, before PPO changes it.

        Where a LoRA adapter is trained the Actor's weights never change, so the Reference reads
        with the same ones, without the adapter: it takes no memory.

        Raises:
            ValueError: the adapter was trained already, so without it the Actor is another model.
        """
        if not actor.lora_rank:
            return cls(copy.deepcopy(actor.model), actor.tokenizer).freeze()
        if not adapter_is_fresh(actor.model):
            raise ValueError(
                "the Actor's LoRA adapter has been trained, so the Actor without it is not the "
                "model that it is now; begin from Actor(merged(actor.model), actor.tokenizer)"
            )
        reference = cls(trunk(actor.model), actor.tokenizer).freeze()
        reference.shares = "the Actor's trunk"
        return reference

    @torch.no_grad()
    def log_probs(
        self, prompts: Prompts, response_ids: Tensor, *, temperature: float = 1.0
    ) -> Tensor:
        """Log π_ref(A_t given S_t) of the Actor's responses, without gradient.

        Args:
            prompts: (B, P) ids and mask, left-padded.
            response_ids: (B, R) int, right-padded.
            temperature: the Actor's sampling temperature.

        Returns:
            (B, R) nats.
        """
        reader = Actor(self.model, self.tokenizer)
        return reader.log_probs(prompts, response_ids, temperature=temperature)

    @torch.no_grad()
    def alternatives(
        self, prompts: Prompts, response_ids: Tensor, k: int, *, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The k tokens that it finds likeliest at each step: what it might have written instead.

        Args:
            prompts: (B, P) ids and mask, left-padded.
            response_ids: (B, R) int, right-padded.
            k: how many, 1 to V.
            temperature: the Actor's sampling temperature.

        Returns:
            (B, R, k) int ids and (B, R, k) nats, the likeliest first.
        """
        logits = Actor(self.model, self.tokenizer).logits(prompts, response_ids)
        top = (at_least_float32(logits) / temperature).log_softmax(dim=-1).topk(k, dim=-1)
        return top.indices, top.values
