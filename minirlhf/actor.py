"""The Actor: the language model that we want. It starts as the SFT model and PPO trains it."""

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from minirlhf.backbone import Role, attention_inputs
from minirlhf.batch import Prompts, Responses
from minirlhf.generation import generate
from minirlhf.log_probs import before_each_response_token, gather_log_probs
from minirlhf.noise import SAMPLING, uniform_noise


class Actor(Role):
    """π: any Hugging Face causal language model."""

    auto_class = AutoModelForCausalLM

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
        return gather_log_probs(
            self.logits(prompts, response_ids), response_ids, temperature=temperature
        )

    def generate(
        self,
        prompts: Prompts,
        *,
        max_response_tokens: int,
        temperature: float = 1.0,
        seed: int = 0,
        iteration: int = 0,
        alternatives: int = 0,
    ) -> Responses:
        """Sample one response to each prompt from the full softmax.

        Args:
            prompts: (B, P) ids and mask, left-padded.
            max_response_tokens: R at most, EOS included.
            temperature: T > 0.
            seed: with `iteration`, decides the noise; row b's noise does not depend on other rows.
            iteration: a counter, so that one seed serves many batches.
            alternatives: K > 0 also records the K likeliest tokens at each step.
        """
        noise = uniform_noise(
            seed,
            SAMPLING,
            iteration,
            rows=prompts.prompt_ids.shape[0],
            steps=max_response_tokens,
        )
        return generate(
            self.model,
            prompts,
            noise=noise,
            eos_token_id=int(self.tokenizer.eos_token_id),
            pad_token_id=self.filler,
            temperature=temperature,
            alternatives=alternatives,
        )
