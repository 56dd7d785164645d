"""Writing R tokens after each prompt: the floor's way on a CPU, where starting work is cheap.

Each step reads only the slots that are filled so far. `decode_graph` is the way on a GPU.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from minirlhf.bench.attention import attention_bias
from minirlhf.bench.plain_model import PlainModel


class Texts(NamedTuple):
    """Prompts with room for their responses, and what the models need to read them."""

    ids: Tensor  # (B, P+R) int
    positions: Tensor  # (B, P+R) int
    bias: Tensor  # (B, 1, P+R, P+R), added to attention scores


@torch.no_grad()
def write(
    model: PlainModel, prompt_ids: Tensor, prompt_mask: Tensor, noise: Tensor, temperature: float
) -> Texts:
    """Sample R tokens after each prompt.

    Args:
        model: the actor.
        prompt_ids: (B, P) int, left-padded.
        prompt_mask: (B, P) bool.
        noise: (B, R) in [0, 1); decides the tokens.
        temperature: T > 0.
    """
    rows, response = noise.shape
    slots = prompt_ids.shape[1] + response
    texts = prepare(prompt_ids, prompt_mask, response, model.tokens.dtype)
    ids, positions, bias = texts
    cache = model.new_cache(rows, slots - 1)
    start = 0
    for stop in range(prompt_ids.shape[1], slots):
        now = slice(start, stop)
        hidden = model.hidden_states(ids[:, now], positions[:, now], bias[:, :, now, :stop], cache)
        ids[:, stop] = draw(model.read(hidden[:, -1:]), noise[:, stop - slots, None], temperature)
        start = stop
    return texts


def prepare(prompt_ids: Tensor, prompt_mask: Tensor, response: int, dtype: torch.dtype) -> Texts:
    """Texts with empty places for the response.

    Args:
        prompt_ids: (B, P) int, left-padded.
        prompt_mask: (B, P) bool.
        response: R.
        dtype: of the bias.
    """
    positions = F.pad(prompt_mask, (0, response), value=True).cumsum(1) - 1
    bias = attention_bias(prompt_mask, prompt_ids.shape[1] + response, dtype)
    return Texts(F.pad(prompt_ids, (0, response)), positions.clamp_(min=0), bias)


def draw(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """(B,) tokens from (B, V) next-token scores and (B, 1) noise, as our Actor draws them."""
    chances = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
    token = torch.searchsorted(chances, noise * chances[:, -1:], right=True)[:, 0]
    return token.clamp_(max=logits.shape[1] - 1)
