"""R_t: what each response token earned at once.

The Reward model scores a whole response, so its score arrives with the last counted token (the EOS
when there is one). What every token pays is the KL toll for leaving the Reference.
"""

import torch
from torch import Tensor

from minirlhf.masks import at_least_float32, check_response_mask, check_same_shape, masked


def per_token_rewards(
    scores: Tensor,
    kl: Tensor,
    response_mask: Tensor,
    *,
    kl_coef: float,
    score_clip: float | None = None,
) -> Tensor:
    """Reward of each token: the KL toll everywhere, the score on the last counted token.

        R_t = −β·kl_t + [t is the last counted token]·clip(score, ±score_clip)

    So for a response of at least one token, Σ_t R_t = clip(score) − β·Σ_t kl_t. A response of
    length 0 has no token to carry its score, which is dropped.

    Args:
        scores: (B,) reward units, one for each response.
        kl: (B, R) nats, from `per_token_kl` with the log-probs of the rollout.
        response_mask: (B, R) bool, True = counted; each row is Trues, then Falses.
        kl_coef: β ≥ 0, reward units per nat.
        score_clip: largest absolute score that counts; None = no limit.

    Returns:
        (B, R) reward units, 0 where masked, without gradient.

    Raises:
        ValueError: shapes differ, a mask row has a gap, β is negative or not finite, or
            score_clip is not positive.

    Example:
        >>> mask = torch.tensor([[True, True, False]])
        >>> per_token_rewards(torch.tensor([2.0]), torch.ones(1, 3), mask, kl_coef=0.5)
        tensor([[-0.5000,  1.5000,  0.0000]])

    Reference: Stiennon et al. 2020, arXiv:2009.01325, section 3.4; the slot is ours (see numerics:
    some systems put the score one slot later when there is room).
    """
    check_response_mask(response_mask)
    check_same_shape(response_mask, kl=kl)
    if scores.shape != response_mask.shape[:1]:
        raise ValueError(
            f"scores must be (B,) = ({response_mask.shape[0]},), got {tuple(scores.shape)}"
        )
    if not 0.0 <= kl_coef < float("inf"):
        raise ValueError(f"kl_coef must be a finite number ≥ 0, got {kl_coef}")
    if score_clip is not None and not score_clip > 0.0:
        raise ValueError(f"score_clip must be positive or None, got {score_clip}")
    with torch.no_grad():
        clipped = at_least_float32(scores)
        if score_clip is not None:
            clipped = clipped.clamp(-score_clip, score_clip)
        rewards = masked(-kl_coef * at_least_float32(kl), response_mask)
        return torch.where(last_counted(response_mask), rewards + clipped[:, None], rewards)


def last_counted(response_mask: Tensor) -> Tensor:
    """Mark the last counted token of each row.

    Args:
        response_mask: (B, R) bool; each row is Trues, then Falses.

    Returns:
        (B, R) bool with one True in each row, none in a row of length 0.
    """
    nothing_after = torch.ones_like(response_mask)
    nothing_after[:, :-1] = ~response_mask[:, 1:]
    return response_mask & nothing_after
