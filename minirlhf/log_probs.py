"""From logits to log π(A_t given S_t), and the one place that shifts by one.

A causal language model's output at slot i is its distribution of the token at slot i + 1. With a
prompt of P slots, the response token A_t sits at slot P + t, so what was said *about* A_t, before
it was known, sits at slot P + t − 1. `before_each_response_token` is the only code in this package
that knows this; log-probs, values and top alternatives all come through it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from minirlhf.masks import at_least_float32

# cross_entropy would silently skip its default "ignored" token −100; no token is ever ignored here
NO_TOKEN = -(2**40)


def before_each_response_token(per_slot: Tensor, response_width: int) -> Tensor:
    """Pick the slots P−1 … P+R−2: what the model said just before each response token.

        slot:      0 … P−1 | P     P+1   …  P+R−2   [P+R−1 is not an input]
        predicts:  1 …  P  | P+1   P+2   …  P+R−1
        response:      A_0   A_1   A_2   …  A_{R−1}

    Args:
        per_slot: (B, P+R−1, …) model outputs; the last response token is never an input,
            since nothing asks what follows it.
        response_width: R.

    Returns:
        (B, R, …), aligned: entry [:, t] was computed from the prompt and the response before t.
    """
    return per_slot[:, per_slot.shape[1] - response_width :]


def gather_log_probs(logits: Tensor, token_ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Log-probability of each token under the distribution that was to predict it.

        log π(A_t given S_t) = z_{A_t}/T − log Σ_v exp(z_v/T)

    Args:
        logits: (B, R, V) float, already aligned: `logits[:, t]` is the distribution of token t.
        token_ids: (B, R) int in 0..V−1.
        temperature: T > 0; must be the one that the tokens were sampled with.

    Returns:
        (B, R) nats, float32 or float64, with gradient.

    Raises:
        ValueError: shapes do not fit, or the temperature is not a positive number.

    Example:
        >>> logits = torch.tensor([[[0.0, 0.0]]])
        >>> gather_log_probs(logits, torch.tensor([[1]]))
        tensor([[-0.6931]])
    """
    check_logits(logits, token_ids)
    if not 0.0 < temperature < float("inf"):
        raise ValueError(f"temperature must be a positive number, got {temperature}")
    scaled = (
        at_least_float32(logits) if temperature == 1.0 else at_least_float32(logits) / temperature
    )
    # one fused operation; no (B, R, V) tensor of log-probs is kept for the backward pass
    flat = F.cross_entropy(
        scaled.flatten(0, 1), token_ids.flatten(), reduction="none", ignore_index=NO_TOKEN
    )
    return -flat.view(token_ids.shape)


def entropy(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """How undecided each next-token distribution is: H = −Σ_v π_v·log π_v.

    Args:
        logits: (..., V) float.
        temperature: T > 0.

    Returns:
        (...) nats, between 0 and log V.
    """
    pi = torch.softmax(at_least_float32(logits) / temperature, dim=-1)
    h: Tensor = torch.special.entr(pi)  # −p·log p, and 0 for a forbidden token
    return h.sum(dim=-1)


def check_logits(logits: Tensor, token_ids: Tensor) -> None:
    """Refuse logits (B, R, V) and token ids (B, R) that do not belong together.

    Raises:
        ValueError: says both shapes.
    """
    if token_ids.dim() == 2 and token_ids.shape[0] == 0:
        raise ValueError("empty batch: token_ids has 0 rows, wanted at least 1")
    if logits.dim() != 3 or logits.shape[:2] != token_ids.shape:
        raise ValueError(
            "logits must be (B, R, V) for token_ids (B, R), "
            f"got {tuple(logits.shape)} and {tuple(token_ids.shape)}"
        )
