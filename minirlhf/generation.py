"""Sampling responses token by token, over a cache of what the model has already read.

Tokens are drawn from the full softmax (no top-k, no top-p, no penalty), because the log-prob that
PPO uses must be that of the distribution that was sampled.
"""

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from minirlhf.backbone import attention_inputs
from minirlhf.batch import Prompts, Responses
from minirlhf.masks import at_least_float32, response_mask_from_lengths

BROKEN = (
    "the {} gives NaN as probabilities of the next token; its weights are broken, or too large for "
    "their precision"
)


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompts: Prompts,
    *,
    noise: Tensor,
    eos_token_id: int,
    pad_token_id: int,
    temperature: float = 1.0,
    alternatives: int = 0,
    cache: DynamicCache | None = None,
) -> Responses:
    """Sample one response to each prompt; stop when every row has ended.

    Args:
        model: a causal language model.
        prompts: (B, P) ids and mask, left-padded.
        noise: (B, R) in [0, 1); entry [b, t] decides token t of row b, and R is the longest
            response, EOS included.
        eos_token_id: ends a response, and is counted in it.
        pad_token_id: fills the places after the end.
        temperature: T > 0.
        alternatives: K > 0 also records the K likeliest tokens at each step.
        cache: what `model` has read of these prompts already, their last slot excepted at least;
            None = nothing. Afterwards it holds all slots except the last token that was sampled.

    Returns:
        Responses of width R' ≤ R, the longest that was sampled.

    Raises:
        ValueError: the model gives NaN.
    """
    longest = noise.shape[1]
    noise = noise.to(prompts.prompt_ids.device)
    inputs = attention_inputs(prompts.prompt_mask, prompts.prompt_mask.shape[1] + longest)
    read = 0 if cache is None else cache.get_seq_length()
    cache = DynamicCache(config=model.config) if cache is None else cache
    input_ids = prompts.prompt_ids[:, read:]
    ended = torch.zeros_like(prompts.prompt_mask[:, 0])
    lengths = torch.zeros_like(prompts.prompt_ids[:, 0])
    ids, log_probs, tops = [], [], []
    for t in range(longest):
        now = slice(read, read + input_ids.shape[1])
        logits = model(
            input_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            attention_mask=inputs["attention_mask"][:, : now.stop],  # all that was read
            position_ids=inputs["position_ids"][:, now],  # what is read now
        ).logits[:, -1]
        read = now.stop
        log_pi = torch.log_softmax(at_least_float32(logits) / temperature, dim=-1)  # (B, V)
        token = torch.where(ended, pad_token_id, draw(log_pi, noise[:, t]))
        lengths += ~ended
        ids.append(token)
        log_probs.append(log_pi.gather(1, token[:, None])[:, 0])
        if alternatives:
            tops.append(log_pi.topk(alternatives, dim=-1))
        ended = ended | (token == eos_token_id)
        if bool(ended.all()):
            break
        input_ids = token[:, None]
    if bool(torch.stack(log_probs).isnan().any()):
        raise ValueError(BROKEN.format(type(model).__name__))
    return Responses(
        response_ids=torch.stack(ids, dim=1),
        response_mask=response_mask_from_lengths(lengths, len(ids)),
        ended=ended,
        log_probs=torch.stack(log_probs, dim=1),
        top_ids=torch.stack([top.indices for top in tops], dim=1) if tops else None,
        top_log_probs=torch.stack([top.values for top in tops], dim=1) if tops else None,
    )


def draw(log_pi: Tensor, noise: Tensor) -> Tensor:
    """Turn uniform noise into tokens: the first token whose cumulative probability exceeds it.

    Args:
        log_pi: (B, V) nats, normalised.
        noise: (B,) in [0, 1).

    Returns:
        (B,) int. Token v is drawn with probability exp(log_pi[v]).
    """
    # float64: the sum over a vocabulary of 100,000 tokens must not round the rare ones away
    cumulative = log_pi.double().exp().cumsum(dim=-1)
    threshold = noise.double() * cumulative[:, -1]
    token = torch.searchsorted(cumulative, threshold[:, None], right=True)[:, 0]
    return token.clamp(max=log_pi.shape[1] - 1)  # rounding, or NaN, may lead one too far
