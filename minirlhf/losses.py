"""The five losses: two for PPO, one for the reward model, one for SFT; each returns a scalar.

All means run over counted tokens (or pairs), so that a long response weighs more than a short one,
and a minibatch cut differently gives the same sum once weighted by its tokens.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from minirlhf.log_probs import check_logits, gather_log_probs
from minirlhf.masks import (
    at_least_float32,
    check_mask,
    check_response_mask,
    check_same_shape,
    masked,
    masked_mean,
)


def actor_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    *,
    clip_range: float = 0.2,
) -> Tensor:
    """PPO's clipped surrogate: make good tokens likelier, but stop paying for going too far.

        ρ_t = π(A_t given S_t) / π_old(A_t given S_t) = exp(log π − log π_old)
        loss = mean_t max(−Â_t·ρ_t, −Â_t·clip(ρ_t, 1 − ε, 1 + ε))

    The maximum takes the worse of the two, so the clip never hides a loss: it only removes the
    reward for moving further in a direction that already moved by ε.

    Args:
        log_probs: (B, R) nats, under the actor now, with gradient.
        old_log_probs: (B, R) nats, recorded at rollout.
        advantages: (B, R), usually whitened; no gradient flows into them.
        response_mask: (B, R) bool, True = counted.
        clip_range: ε > 0; `float("inf")` = no clip.

    Returns:
        A scalar: the mean over counted tokens, 0 if none is counted.

    Raises:
        ValueError: shapes differ, a mask row has a gap, or ε is not positive.

    Reference: Schulman et al. 2017, arXiv:1707.06347, eq. 7 (with the sign of a loss).
    """
    check_response_mask(response_mask)
    check_same_shape(
        response_mask, log_probs=log_probs, old_log_probs=old_log_probs, advantages=advantages
    )
    _check_positive(clip_range=clip_range)
    advantages = masked(advantages, response_mask).detach()
    old_log_probs = masked(old_log_probs, response_mask).detach()
    log_ratio = masked(log_probs, response_mask) - old_log_probs
    # Where the clip holds the ratio anyway (Â ≥ 0), keep exp finite in float32: ∞ times the
    # clipped gradient 0 would be NaN. Where Â < 0 an infinite loss shows, and stops training.
    log_ratio = torch.where(advantages >= 0, log_ratio.clamp(max=80.0), log_ratio)
    ratio = torch.exp(log_ratio)
    clipped_ratio = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    loss = torch.maximum(-advantages * ratio, -advantages * clipped_ratio)
    return masked_mean(loss, response_mask)


def critic_loss(
    values: Tensor,
    old_values: Tensor,
    targets: Tensor,
    response_mask: Tensor,
    *,
    value_clip_range: float | None = 0.2,
) -> Tensor:
    """Half the squared distance of V_t from its target, with moves beyond ε_v not rewarded.

        V^clip_t = V_old_t + clip(V_t − V_old_t, ±ε_v)
        loss = ½·mean_t max((V_t − target_t)², (V^clip_t − target_t)²)

    Args:
        values: (B, R) reward units, the critic now, with gradient.
        old_values: (B, R) reward units, recorded at rollout.
        targets: (B, R) reward units, `td_target(...)` or the returns of `gae(...)`.
        response_mask: (B, R) bool, True = counted.
        value_clip_range: ε_v > 0 in reward units; None = no clip, plain ½·MSE.

    Returns:
        A scalar: reward units squared; the mean over counted tokens, 0 if none is counted.

    Raises:
        ValueError: shapes differ, a mask row has a gap, or ε_v is not positive.

    Reference: the clip is that of the PPO authors' code (OpenAI baselines, ppo2), which the paper
    does not mention; DeepSpeed-Chat uses the same form.
    """
    check_response_mask(response_mask)
    check_same_shape(response_mask, values=values, old_values=old_values, targets=targets)
    values = masked(values, response_mask)
    old_values = masked(old_values, response_mask).detach()
    targets = masked(targets, response_mask).detach()
    squared = (values - targets) ** 2
    if value_clip_range is not None:
        _check_positive(value_clip_range=value_clip_range)
        clipped = old_values + (values - old_values).clamp(-value_clip_range, value_clip_range)
        squared = torch.maximum(squared, (clipped - targets) ** 2)
    return 0.5 * masked_mean(squared, response_mask)


def preference_loss(
    chosen_scores: Tensor, rejected_scores: Tensor, *, margin: Tensor | float | None = None
) -> Tensor:
    """Bradley–Terry: how surprised the scores are that people chose what they chose.

        P(chosen over rejected) = σ(r_c − r_r)
        loss = mean of −log σ(r_c − r_r − margin)

    Only the difference counts: a constant added to all scores changes nothing.

    Args:
        chosen_scores: (B,) reward units.
        rejected_scores: (B,) reward units.
        margin: by how much the chosen one should lead; a number, (B,), or None for 0.

    Returns:
        A scalar, nats. log 2 ≈ 0.693 is what guessing costs.

    Raises:
        ValueError: shapes differ, or the batch is empty.

    Example:
        >>> preference_loss(torch.tensor([1.0]), torch.tensor([1.0]))
        tensor(0.6931)

    Reference: Ouyang et al. 2022, arXiv:2203.02155, eq. 1; margin: Touvron et al. 2023,
    arXiv:2307.09288, eq. 2.
    """
    if chosen_scores.shape != rejected_scores.shape or chosen_scores.dim() != 1:
        raise ValueError(
            "chosen_scores and rejected_scores must both be (B,), "
            f"got {tuple(chosen_scores.shape)} and {tuple(rejected_scores.shape)}"
        )
    if chosen_scores.numel() == 0:
        raise ValueError("empty batch: 0 pairs, wanted at least 1")
    if isinstance(margin, Tensor) and margin.shape not in ((), chosen_scores.shape):
        raise ValueError(
            f"margin must be a number or {tuple(chosen_scores.shape)}, got {tuple(margin.shape)}"
        )
    difference = at_least_float32(chosen_scores) - at_least_float32(rejected_scores)
    if margin is not None:
        difference = difference - margin
    return -F.logsigmoid(difference).mean()


def sft_loss(logits: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
    """Next-token loss: the mean of −log π(token) over the counted tokens.

    Args:
        logits: (B, R, V), already aligned: `logits[:, t]` is the distribution of token t.
        token_ids: (B, R) int.
        mask: (B, R) bool; gaps are allowed (a chat may count only the assistant's turns).

    Returns:
        A scalar, nats per token; 0 if nothing is counted.

    Raises:
        ValueError: shapes do not fit.
    """
    check_mask(mask, token_ids)
    check_logits(logits, token_ids)
    # a masked place is never read: its logits may be NaN and its token id anything
    readable = torch.where(mask[:, :, None], at_least_float32(logits), 0.0)
    log_probs = gather_log_probs(readable, token_ids.where(mask, 0))
    return masked_mean(-log_probs, mask)


def _check_positive(**ranges: float) -> None:
    for name, value in ranges.items():
        if not value > 0.0:
            raise ValueError(f"{name} must be positive, got {value}")
