"""The Actor: the language model that we want. It starts as the SFT model and PPO trains it."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from minirlhf.backbone import Role, attention_inputs
from minirlhf.batch import Prompts, Responses
from minirlhf.checkpointing import recomputed
from minirlhf.chunked_log_probs import (
    chunked_log_probs,
    chunked_log_probs_and_entropy,
    most_bytes,
)
from minirlhf.generation import generate
from minirlhf.log_probs import before_each_response_token, entropy, gather_log_probs
from minirlhf.noise import SAMPLING, uniform_noise
from minirlhf.output_head import linear_head, speaking
from minirlhf.static_decoding import PROMPT_STEP, StaticDecoder, can_decode_statically


class Actor(Role):
    """π: any Hugging Face causal language model."""

    auto_class = AutoModelForCausalLM
    _decoder: StaticDecoder | None = None  # of the batch size and length that were asked for last
    _decodes_statically = True  # until it fails

    def forward(
        self, prompts: Prompts, response_ids: Tensor, *, temperature: float = 1.0
    ) -> Tensor:
        """`log_probs`, as DDP calls it."""
        return self.log_probs(prompts, response_ids, temperature=temperature)

    def logits(self, prompts: Prompts, response_ids: Tensor) -> Tensor:
        """Next-token scores before each response token.

        Args:
            prompts: (B, P) ids and mask, left-padded.
            response_ids: (B, R) int, right-padded.

        Returns:
            (B, R, V), aligned: `logits[:, t]` is the distribution of A_t, in the model's precision.
        """
        # the last response token is never an input: nothing asks what follows it
        input_ids = torch.cat([prompts.prompt_ids, response_ids[:, :-1]], dim=1)
        width = response_ids.shape[1]
        with recomputed(self):
            logits = self.model(
                input_ids,
                use_cache=False,
                logits_to_keep=width,  # the head runs on these slots only
                **attention_inputs(prompts.prompt_mask, input_ids.shape[1], context=self.context),
            ).logits
        return before_each_response_token(logits, width)

    def log_probs(
        self, prompts: Prompts, response_ids: Tensor, *, temperature: float = 1.0
    ) -> Tensor:
        """Log π(A_t given S_t) of given responses, in one parallel pass, with gradient.

        Args:
            prompts: (B, P) ids and mask, left-padded.
            response_ids: (B, R) int, right-padded.
            temperature: the one that the responses were sampled with.

        Returns:
            (B, R) nats.
        """
        head = self.head_for_chunks(response_ids)
        if head is None:
            return gather_log_probs(
                self.logits(prompts, response_ids), response_ids, temperature=temperature
            )

        def say(hidden: Tensor) -> Tensor:
            hidden = before_each_response_token(hidden, response_ids.shape[1])
            return chunked_log_probs(
                hidden, head.weight, head.bias, response_ids, temperature=temperature
            )[..., None]

        with speaking(head, say):
            return self.logits(prompts, response_ids)[..., 0]

    @torch.no_grad()
    def log_probs_and_entropy(
        self, prompts: Prompts, response_ids: Tensor, *, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The same log-probs and each distribution's entropy, in one pass without gradient.

        Args:
            prompts: (B, P) ids and mask, left-padded.
            response_ids: (B, R) int, right-padded.
            temperature: the one that the responses were sampled with.

        Returns:
            (B, R) nats each.
        """
        head = self.head_for_chunks(response_ids)
        if head is None:
            logits = self.logits(prompts, response_ids)
            log_probs = gather_log_probs(logits, response_ids, temperature=temperature)
            return log_probs, entropy(logits, temperature=temperature)

        def say(hidden: Tensor) -> Tensor:
            hidden = before_each_response_token(hidden, response_ids.shape[1])
            both = chunked_log_probs_and_entropy(
                hidden, head.weight, head.bias, response_ids, temperature=temperature
            )
            return torch.stack(both, dim=-1)

        with speaking(head, say):
            both = self.logits(prompts, response_ids)
        return both[..., 0], both[..., 1]

    def head_for_chunks(self, response_ids: Tensor) -> nn.Linear | None:
        """The output head, where the logits of these responses are too large to be held at once.

        Args:
            response_ids: (B, R) int.

        Returns:
            None where all B·R·V logits take at most `most_bytes` in float32, or where the model
            does more to its logits than its head.
        """
        head = self.model.get_output_embeddings()
        if head is None or 4 * response_ids.numel() * head.weight.shape[0] <= most_bytes(
            response_ids.device
        ):
            return None
        return linear_head(self.model)

    def generate(
        self,
        prompts: Prompts,
        *,
        max_response_tokens: int,
        temperature: float = 1.0,
        seed: int = 0,
        iteration: int = 0,
        alternatives: int = 0,
        first_row: int = 0,
    ) -> Responses:
        """Sample one response to each prompt from the full softmax.

        Args:
            prompts: (B, P) ids and mask, left-padded.
            max_response_tokens: R at most, EOS included.
            temperature: T > 0.
            seed: with `iteration`, decides the noise; row b's noise does not depend on other rows.
            iteration: a counter, so that one seed serves many batches.
            alternatives: K > 0 also records the K likeliest tokens at each step.
            first_row: number of the first row, where these are part of a larger batch.
        """
        noise = uniform_noise(
            seed,
            SAMPLING,
            iteration,
            rows=prompts.prompt_ids.shape[0],
            steps=max_response_tokens,
            first_row=first_row,
        )
        settings: dict[str, Any] = {
            "noise": noise,
            "eos_token_id": int(self.tokenizer.eos_token_id),
            "pad_token_id": self.filler,
            "temperature": temperature,
        }
        if self._decodes_statically and not alternatives and can_decode_statically(self.model):
            try:
                return self.decoder(prompts, max_response_tokens).generate(prompts, **settings)
            except RuntimeError as error:  # no memory for it, or a kernel that cannot be recorded
                first_line = (str(error).splitlines() or [type(error).__name__])[0]
                warnings.warn(f"sampling step by step, which is slower: {first_line}", stacklevel=2)
                self._decoder, self._decodes_statically = None, False
        return generate(self.model, prompts, alternatives=alternatives, **settings)

    def decoder(self, prompts: Prompts, longest: int) -> StaticDecoder:
        """The decoder for batches like this one; the last one if it fits."""
        rows, width = prompts.prompt_ids.shape
        kind, device = self.device.type, self.device
        half = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if half else self.model.dtype
        wanted = (rows, -(-width // PROMPT_STEP) * PROMPT_STEP, longest)
        found = self._decoder
        if found is None or (found.shape, found.dtype, found.device) != (wanted, dtype, device):
            self._decoder = None  # its memory is free before the new one takes its own
            record = kind == "cuda"
            self._decoder = StaticDecoder(self.model, *wanted, dtype=dtype, record=record)
        assert self._decoder is not None
        return self._decoder
