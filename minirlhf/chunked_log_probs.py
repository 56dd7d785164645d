"""log π(A_t given S_t) from hidden states, a few tokens at a time: all logits are never held.

With V = 150,000 words the logits (B, R, V) are by far the largest tensor of training, and all that
is wanted of them is one number a token. So the output head reads the tokens in chunks:

    forward:   for each chunk   z = h·Wᵀ + b            keep log π_a of each token, forget z
    backward:  for each chunk   z again                 ∂log π_a/∂z_v = (1[v = a] − π_v)/T
                                ∂/∂h = ∂/∂z·W           ∂/∂W = Σ over chunks of (∂/∂z)ᵀ·h

The price is the head's product once more, in the backward pass. `torch.utils.checkpoint` around
each chunk would be shorter to write. But autograd then adds the chunks' gradients of W out of place
(512 tokens of GPT-2's V and H in chunks of 128: 442 MiB in float32, where this takes 198) and under
autocast in half precision (500 chunks: the error of ∂/∂W grows by a third). Here they are summed in
float32 in one place.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from minirlhf.log_probs import entropy, gather_log_probs
from minirlhf.masks import at_least_float32


def most_bytes(device: torch.device) -> int:
    """How many bytes of float32 logits may be held at once; more are read in chunks of half that.

    64 MiB on a CPU. On a GPU 1 GiB, where a chunk has to be large enough to outweigh what each
    costs: W and its gradient are read once a chunk (by reasoning; not measured).
    """
    return 2**26 if device.type == "cpu" else 2**30


def chunked_log_probs(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    token_ids: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Tensor:
    """Log-probability of each token, as `gather_log_probs` of the head's logits would give it.

    Args:
        hidden: (B, R, H), aligned: `hidden[:, t]` is what the head reads to predict token t.
        weight: (V, H), W of the output head.
        bias: (V,), b of the output head, or None.
        token_ids: (B, R) int in 0..V−1.
        temperature: T > 0.
        chunk: tokens at a time; None = `chunk_tokens`. Changes no result.

    Returns:
        (B, R) nats, float32 or float64, with gradient (once: it has no second derivative).

    Raises:
        ValueError: shapes do not fit, or the temperature is not a positive number.
    """
    _check(hidden, token_ids)
    flat: Tensor = _ChunkedLogProbs.apply(
        hidden.flatten(0, 1),
        weight,
        bias,
        token_ids.flatten(),
        temperature,
        chunk or chunk_tokens(weight),
    )  # type: ignore[no-untyped-call]
    return flat.view(token_ids.shape)


@torch.no_grad()
def chunked_log_probs_and_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    token_ids: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The same log-probs, and each distribution's entropy, in one pass without gradient.

    Args:
        hidden: (B, R, H), aligned.
        weight: (V, H), W of the output head.
        bias: (V,), b of the output head, or None.
        token_ids: (B, R) int in 0..V−1.
        temperature: T > 0.
        chunk: tokens at a time; None = `chunk_tokens`. Changes no result.

    Returns:
        (B, R) nats each.

    Raises:
        ValueError: shapes do not fit, or the temperature is not a positive number.
    """
    _check(hidden, token_ids)
    flat, ids = hidden.flatten(0, 1), token_ids.flatten()
    w, b = _as_computed(weight, bias, _product_dtype(weight))
    log_probs, entropies = [], []
    for tokens in _chunks(len(flat), chunk or chunk_tokens(weight)):
        logits = F.linear(flat[tokens].to(w.dtype), w, b)
        log_probs.append(_log_probs_of(logits, ids[tokens], temperature))
        entropies.append(entropy(logits, temperature=temperature))
    shape = token_ids.shape
    return torch.cat(log_probs).view(shape), torch.cat(entropies).view(shape)


def chunk_tokens(weight: Tensor) -> int:
    """Tokens whose float32 logits take half of `most_bytes`, for a head of weight (V, H)."""
    return max(1, most_bytes(weight.device) // (2 * 4 * weight.shape[0]))


class _ChunkedLogProbs(torch.autograd.Function):
    """(N,) log-probs from (N, H) hidden states; keeps these, and no logits, for its backward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        ids: Tensor,
        temperature: float,
        chunk: int,
    ) -> Tensor:
        w, b = _as_computed(weight, bias, _product_dtype(weight))
        ctx.save_for_backward(hidden, weight, bias, ids)
        ctx.temperature, ctx.chunk = temperature, chunk
        ctx.dtype = w.dtype  # autocast is over when the backward pass runs
        log_probs = [
            _log_probs_of(F.linear(hidden[tokens].to(w.dtype), w, b), ids[tokens], temperature)
            for tokens in _chunks(len(hidden), chunk)
        ]
        return torch.cat(log_probs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, ids = ctx.saved_tensors
        wanted = ctx.needs_input_grad  # a frozen head needs no gradient of W
        d_hidden = torch.empty_like(hidden) if wanted[0] else None
        d_weight = torch.zeros_like(at_least_float32(weight)) if wanted[1] else None
        d_bias = torch.zeros_like(at_least_float32(bias)) if wanted[2] else None
        w, b = _as_computed(weight, bias, ctx.dtype)
        for tokens in _chunks(len(hidden), ctx.chunk):
            h = hidden[tokens].to(w.dtype)
            d_logits = _d_logits(F.linear(h, w, b), ids[tokens], grad[tokens], ctx.temperature)
            if d_bias is not None:
                d_bias += d_logits.sum(dim=0)
            d_logits = d_logits.to(w.dtype)
            if d_hidden is not None:
                d_hidden[tokens] = (d_logits @ w).to(hidden.dtype)
            if d_weight is not None:
                _add_product(d_weight, d_logits.T, h)
            del d_logits  # before the next chunk takes as much
        d_weight = None if d_weight is None else d_weight.to(weight.dtype)
        d_bias = None if d_bias is None else d_bias.to(bias.dtype)
        return d_hidden, d_weight, d_bias, None, None, None


def _chunks(tokens: int, chunk: int) -> Iterator[slice]:
    """0 … tokens, cut into pieces of `chunk`; one empty piece where there is no token."""
    for start in range(0, max(1, tokens), chunk):
        yield slice(start, start + chunk)


def _log_probs_of(logits: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """(n,) log-probs from (n, V) logits, by the formula that all others come from."""
    return gather_log_probs(logits[None], ids[None], temperature=temperature)[0]


def _d_logits(logits: Tensor, ids: Tensor, grad: Tensor, temperature: float) -> Tensor:
    """∂loss/∂z (n, V) where ∂loss/∂log π_a is `grad` (n,); overwrites the logits."""
    # ∂log π_a/∂z_v = (1[v = a] − π_v)/T
    d_logits = torch.softmax(at_least_float32(logits).div_(temperature), dim=-1).neg_()
    d_logits.scatter_add_(1, ids[:, None], torch.ones_like(d_logits[:, :1]))
    return d_logits.mul_((grad / temperature)[:, None])


def _as_computed(
    weight: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """W and b in the precision of the products."""
    return weight.to(dtype), None if bias is None else bias.to(dtype)


def _product_dtype(weight: Tensor) -> torch.dtype:
    """What a linear layer computes in here: autocast's half precision, or as its weight is."""
    kind = weight.device.type
    if torch.is_autocast_enabled(kind) and weight.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return weight.dtype


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Do total += left·right, in place; a product in half precision is added in float32."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
        return
    for rows in _chunks(len(total), 8192):  # so that a product as large as W is never held
        total[rows] += left[rows] @ right


def _check(hidden: Tensor, token_ids: Tensor) -> None:
    if hidden.dim() != 3 or hidden.shape[:2] != token_ids.shape or token_ids.shape[0] == 0:
        raise ValueError(
            "hidden must be (B, R, H) for token_ids (B, R) with B ≥ 1, "
            f"got {tuple(hidden.shape)} and {tuple(token_ids.shape)}"
        )
