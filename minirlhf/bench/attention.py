"""Attention by hand, and what it reads: keys and values in memory that is taken once.

Shapes: B batch, t new slots, T all slots, H heads of queries, K heads of keys and values (which
G = H/K query heads share), D numbers per head.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class Cache:
    """Keys and values of every slot read so far; slots are filled one after the other."""

    keys: Tensor  # (layers, B·K, T, D)
    values: Tensor  # (layers, B·K, T, D)
    used: int = 0  # slots filled

    def store(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put new keys and values (B·K, t, D) behind the old ones; give all, (B·K, slots, D)."""
        stop = self.used + k.shape[1]
        self.keys[layer, :, self.used : stop] = k
        self.values[layer, :, self.used : stop] = v
        return self.keys[layer, :, :stop], self.values[layer, :, :stop]

    def advance(self, slots: int) -> None:
        """All layers have stored that many new slots."""
        self.used += slots


@dataclass
class FixedCache(Cache):
    """The same, with the slots named by a tensor: no shape and no number in the program changes
    from token to token, so that a CUDA graph can repeat one step. All slots are always given.
    """  # noqa: D205

    slots: Tensor | None = None  # (t,) int: where the next keys and values go

    def store(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put new keys and values (B·K, t, D) into `slots`; give all, (B·K, T, D)."""
        assert self.slots is not None
        self.keys[layer].index_copy_(1, self.slots, k.to(self.keys.dtype))
        self.values[layer].index_copy_(1, self.slots, v.to(self.values.dtype))
        return self.keys[layer], self.values[layer]

    def advance(self, slots: int) -> None:
        """Who writes moves `slots`."""


def attention_bias(prompt_mask: Tensor, slots: int, dtype: torch.dtype) -> Tensor:
    """What to add to attention scores: slot i sees slot j ≤ i that is not left padding.

    Args:
        prompt_mask: (B, P) bool, False on left padding.
        slots: T ≥ P.
        dtype: that of the weights; under autocast too, since a bfloat16 softmax is slow on a CPU.

    Returns:
        (B, 1, T, T): 0 or the lowest bfloat16 (not −∞: padding may see nothing at all).
    """
    rows, prompt_width = prompt_mask.shape
    seen = torch.ones(rows, slots, slots, dtype=torch.bool, device=prompt_mask.device).tril()
    seen[:, :, :prompt_width] &= prompt_mask[:, None, :]
    bias = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    # float32's lowest would become −∞ where a GPU's fused attention takes the bias in bfloat16
    bias.masked_fill_(~seen, torch.finfo(torch.bfloat16).min)
    return bias[:, None]


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Mix values by attention; query heads in groups, so that shared keys are not copied.

    Args:
        q: (B·K, G·t, D), the G heads that share a key one after the other.
        k: (B·K, T, D).
        v: (B·K, T, D).
        bias: (B, 1, t, T) added to the scores.

    Returns:
        (B·t, H·D)
    """
    rows, _, width, slots = bias.shape
    head = q.shape[-1]
    if q.is_cuda and width > 1:
        # one fused kernel, which never writes the (T, T) table down
        groups = q.shape[1] // width
        k, v = (x.repeat_interleave(groups, dim=0).view(rows, -1, slots, head) for x in (k, v))
        q = q.view(rows, -1, width, head)
        # all in one type, or no fused kernel takes them
        q, k, bias = (x.to(v.dtype) for x in (q, k, bias))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    else:
        scores = torch.bmm(q, k.transpose(1, 2)).view(rows, -1, width, slots)
        weights = torch.add(bias, scores, alpha=1.0 / math.sqrt(head)).softmax(dim=-1)
        mixed = torch.bmm(weights.view(*q.shape[:2], slots), v).view(rows, -1, width, head)
    return mixed.transpose(1, 2).reshape(rows * width, -1)
