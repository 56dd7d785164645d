"""What to compare a response with where there is no Critic: earlier batches, or its own group.

A baseline b that does not depend on the response leaves the expected gradient as it is, since
E[b·∇log π] = 0, and a good one takes most of its noise away. The Critic's V_t is one such baseline;
here are three that need no model. A *group* is the responses to one prompt, rows that lie next to
each other: group g is rows g·K … g·K + K − 1.
"""

import torch
from torch import Tensor

from minirlhf.masks import at_least_float32, check_response_mask, check_same_shape, masked


def reinforce_advantages(returns: Tensor, response_mask: Tensor, *, baseline: float) -> Tensor:
    """REINFORCE: all the reward still to come, less what earlier batches brought on average.

        Â_t = G_t − b,   G_t = R_t + γ·G_{t+1}

    Args:
        returns: (B, R) reward units; G_t, the returns of a rollout without a Critic.
        response_mask: (B, R) bool, True = counted; each row is Trues, then Falses.
        baseline: b, reward units; see `moved_baseline`.

    Returns:
        (B, R) reward units, 0 where masked, without gradient.

    Raises:
        ValueError: shapes differ or a mask row has a gap.

    Example:
        >>> mask = torch.tensor([[True, True, False]])
        >>> reinforce_advantages(torch.tensor([[1.0, 2.0, 9.0]]), mask, baseline=0.5)
        tensor([[0.5000, 1.5000, 0.0000]])

    Reference: Williams 1992, "Simple statistical gradient-following algorithms", section 4.
    """
    check_response_mask(response_mask)
    check_same_shape(response_mask, returns=returns)
    return masked(at_least_float32(returns.detach()) - baseline, response_mask)


def moved_baseline(baseline: float, mean_return: float, *, decay: float, batches: int) -> float:
    """The moving average of batch means, after one more batch.

        b ← b + w·(mean return − b),   w = max(1 − decay, 1/(n + 1))

    The first batches (n + 1 < 1/(1 − decay)) are averaged evenly, so that b never leans towards
    the 0 it began with. It is used for the *next* batch: a baseline that contains a response's own
    return would change the expected gradient.

    Args:
        baseline: b, reward units.
        mean_return: of the batch, reward units.
        decay: in [0, 1]; how much of b stays.
        batches: n, batches that b has seen.

    Example:
        >>> moved_baseline(2.0, 4.0, decay=0.9, batches=1), moved_baseline(2.0, 4.0, decay=0.9,
        ... batches=99)
        (3.0, 2.2)
    """
    return baseline + max(1.0 - decay, 1.0 / (batches + 1)) * (mean_return - baseline)


def rloo_advantages(rewards: Tensor, response_mask: Tensor, *, group_size: int) -> Tensor:
    """RLOO: a response's return, less the mean return of the other responses to its prompt.

        G_i = Σ_t R_t = clip(score_i) − β·Σ_t kl_t
        Â_i = G_i − (1/(K−1))·Σ_{j≠i} G_j          the same for every token of response i

    A response counts as one action. Leaving its own return out keeps the baseline independent of
    it, so the expected gradient is exact for any K ≥ 2.

    Args:
        rewards: (B, R) reward units, from `per_token_rewards`.
        response_mask: (B, R) bool, True = counted; each row is Trues, then Falses.
        group_size: K ≥ 2; B is a multiple of it.

    Returns:
        (B, R) reward units, 0 where masked, without gradient.

    Raises:
        ValueError: shapes differ, a mask row has a gap, or B is no multiple of K ≥ 2.

    Example:
        >>> mask = torch.ones(3, 1, dtype=torch.bool)
        >>> rloo_advantages(torch.tensor([[1.0], [2.0], [6.0]]), mask, group_size=3).T
        tensor([[-3.0000, -1.5000,  4.5000]])

    Reference: Ahmadian et al. 2024, arXiv:2402.14740, section 3.3; Kool et al. 2019.
    """
    check_response_mask(response_mask)
    check_same_shape(response_mask, rewards=rewards)
    with torch.no_grad():
        returns = _groups(masked(rewards, response_mask).sum(dim=1), group_size)
        others = (returns.sum(dim=1, keepdim=True) - returns) / (group_size - 1)
        return _for_each_token(returns - others, response_mask)


def grpo_advantages(
    scores: Tensor,
    response_mask: Tensor,
    *,
    group_size: int,
    divide_by_std: bool = True,
    score_clip: float | None = None,
) -> Tensor:
    """GRPO: how many standard deviations a response's score lies above the mean of its group.

        Â_i = (score_i − mean) / (std + 1e-6)      the same for every token of response i

    The standard deviation is biased (divided by K). Dividing by it makes every prompt weigh alike,
    whether its answers differ by much or by little; without it Â_i is (K−1)/K times RLOO's (where
    β is 0). There is no KL in it: GRPO puts that into the loss.

    Args:
        scores: (B,) reward units.
        response_mask: (B, R) bool, True = counted; each row is Trues, then Falses.
        group_size: K ≥ 2; B is a multiple of it.
        divide_by_std: False leaves the standard deviation out.
        score_clip: largest absolute score that counts; None = no limit.

    Returns:
        (B, R), no unit (reward units without the division), 0 where masked, without gradient.

    Raises:
        ValueError: shapes differ, a mask row has a gap, B is no multiple of K ≥ 2, or score_clip
            is not positive.

    Example:
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> grpo_advantages(torch.tensor([0.5, 3.5]), mask, group_size=2)
        tensor([[-1.0000, -1.0000],
                [ 1.0000,  0.0000]])

    Reference: Shao et al. 2024, arXiv:2402.03300, section 4.1.2; without the division: Liu et al.
    2025, arXiv:2503.20783.
    """
    check_response_mask(response_mask)
    if scores.shape != response_mask.shape[:1]:
        raise ValueError(
            f"scores must be (B,) = ({response_mask.shape[0]},), got {tuple(scores.shape)}"
        )
    if score_clip is not None and not score_clip > 0.0:
        raise ValueError(f"score_clip must be positive or None, got {score_clip}")
    with torch.no_grad():
        scores = at_least_float32(scores)
        if score_clip is not None:
            scores = scores.clamp(-score_clip, score_clip)
        grouped = _groups(scores, group_size)
        advantages = grouped - grouped.mean(dim=1, keepdim=True)
        if divide_by_std:
            advantages = advantages / (grouped.std(dim=1, correction=0, keepdim=True) + 1e-6)
        return _for_each_token(advantages, response_mask)


def _groups(x: Tensor, group_size: int) -> Tensor:
    """(B,) as (B/K, K), counted from each group's first, so that equal ones differ by exactly 0."""
    if group_size < 2 or x.shape[0] % group_size:
        raise ValueError(
            f"group_size must be at least 2 and divide the {x.shape[0]} responses, got {group_size}"
        )
    grouped = x.view(-1, group_size)
    return grouped - grouped[:, :1]


def _for_each_token(x: Tensor, response_mask: Tensor) -> Tensor:
    """(B/K, K) as (B, R): each response's number at each of its tokens, 0 where masked."""
    return masked(x.view(-1, 1).expand(response_mask.shape), response_mask)
