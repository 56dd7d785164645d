"""Exercises of notebook 07: which tokens the clip stops paying."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise
from minirlhf.losses import actor_loss


@exercise(
    notebook="07",
    title="Tokens that are no longer paid",
    difficulty=3,
    importance=3,
    minutes=8,
    task="""
        The metric `clip_fraction` is the share of counted tokens with $|ρ - 1| > ε$. Some of these
        still have a gradient. Write the share of counted tokens whose gradient the clip has taken
        away: $Â > 0$ and $ρ > 1 + ε$, or $Â < 0$ and $ρ < 1 - ε$. A scalar, 0 if no token is
        counted; masked places may hold NaN.
        """,
    hints=(
        "Two conditions, each with `&`; then `|` between them.",
        "Comparisons with NaN are False, so only the mask of the average is left to do.",
    ),
    remark="The difference between the two shares are the tokens that are on their way back.",
)
def unpaid_share(
    ratio: Tensor, advantages: Tensor, response_mask: Tensor, *, clip_range: float
) -> Tensor:
    """Share of counted tokens that have gone too far in the direction of Â. Returns a scalar."""
    too_likely = (advantages > 0) & (ratio > 1 + clip_range)
    too_rare = (advantages < 0) & (ratio < 1 - clip_range)
    unpaid = (too_likely | too_rare) & response_mask
    return unpaid.sum() / response_mask.sum().clamp(min=1)


@unpaid_share.cases
def _(draw: Draw) -> Iterator[Case]:
    one, good = torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 1)
    yield Case("Â = 1, ρ = 1.5", 1.5 * good, good, one, clip_range=0.2)
    yield Case("Â = −1, ρ = 1.5", 1.5 * good, -good, one, clip_range=0.2)
    yield Case("Â = −1, ρ = 0.5", 0.5 * good, -good, one, clip_range=0.2)
    ratio, weights, mask = draw.normal(4, 6).exp(), draw.normal(4, 6), draw.mask(6, 3, 1, 0)
    yield Case("padding", ratio, weights, mask, clip_range=0.3)
    nan = [x.where(mask, torch.nan) for x in (ratio, weights)]
    yield Case("NaN in the padding", *nan, mask, clip_range=0.3)
    yield Case("no token", ratio, weights, torch.zeros_like(mask), clip_range=0.3)


@unpaid_share.wrong(
    "That is clip_fraction: it also counts tokens that moved the wrong way, which are still pulled "
    "back. Look at the sign of Â."
)
def _(ratio: Tensor, advantages: Tensor, response_mask: Tensor, *, clip_range: float) -> Tensor:
    beyond = ((ratio - 1).abs() > clip_range) & response_mask
    return beyond.sum() / response_mask.sum().clamp(min=1)


@unpaid_share.wrong(
    "The other way round: you counted the tokens outside the range that do have a gradient."
)
def _(ratio: Tensor, advantages: Tensor, response_mask: Tensor, *, clip_range: float) -> Tensor:
    above, below = ratio > 1 + clip_range, ratio < 1 - clip_range
    back = ((advantages < 0) & above | (advantages > 0) & below) & response_mask
    return back.sum() / response_mask.sum().clamp(min=1)


@unpaid_share.wrong("You divided by all places, padding included. Count the tokens.")
def _(ratio: Tensor, advantages: Tensor, response_mask: Tensor, *, clip_range: float) -> Tensor:
    above, below = ratio > 1 + clip_range, ratio < 1 - clip_range
    return (((advantages > 0) & above | (advantages < 0) & below) & response_mask).float().mean()


INSIDE = (
    "Some ratio is still inside the range, where every token with Â ≠ 0 has a gradient. Move by "
    "more than ε; remember that a difference of log-probs is the log of the ratio."
)
WRONG_WAY = (
    "Some token left the range on the side where it is pulled back: there the larger of the two "
    "terms still depends on ρ. Look at the sign of Â."
)


def _no_gradient(move: Callable[..., Tensor]) -> str | None:
    """None if `actor_loss` has gradient exactly 0 at the log-probs that `move` returns."""
    draw = Draw(7)
    for clip_range in (0.1, 0.2, 0.6, 0.9):
        old, mask = draw.log_probs(3, 5) - 2.0, draw.mask(5, 3, 1)
        weights = draw.normal(3, 5)
        now = move(old.clone(), weights.clone(), clip_range=clip_range)
        if not isinstance(now, Tensor) or now.shape != old.shape:
            return f"wanted a tensor of shape {tuple(old.shape)}, got {now!r:.60}"
        if not bool(torch.isfinite(now).all()):
            return "a log-prob of −∞ or NaN is no answer: ρ must be a positive number"
        if bool(((now - old).exp() - 1).abs()[mask].min() <= clip_range):
            return INSIDE
        now = now.detach().requires_grad_()
        actor_loss(now, old, weights, mask, clip_range=clip_range).backward()
        if now.grad is None or bool((now.grad != 0).any()):
            return WRONG_WAY
    return None


@exercise(
    notebook="07",
    title="Make the gradient vanish",
    difficulty=4,
    importance=3,
    minutes=10,
    task="""
        Given `old_log_probs` and `advantages`, both (B, R) and no advantage 0, return log-probs
        "now" at which the gradient of the Actor's loss is **exactly** 0 for every token, although
        the loss is not. (They need not be log-probs of any model, and may be above 0.)
        """,
    hints=(
        "Which two of the six cases have no gradient? Send each token into the one of its sign.",
        "`advantages.sign()` is +1 or −1. Going up by log(1 + 2ε), or down by something that "
        "brings ρ below 1 − ε, is enough.",
        "`old_log_probs + advantages.sign() * 1.0` has ρ = e or 1/e. Is that enough for every ε?",
    ),
    remark="""
        Once every token of a minibatch is there, more steps on it change nothing (but for the
        momentum of the optimiser). That is how the clip ends an update without measuring any
        distance.
        """,
    judge=_no_gradient,
)
def all_clipped(old_log_probs: Tensor, advantages: Tensor, *, clip_range: float) -> Tensor:
    """Log-probs (B, R) at which actor_loss has no gradient at all."""
    up = torch.full_like(advantages, math.log(1 + 2 * clip_range))
    down = torch.full_like(advantages, math.log((1 - clip_range) / 2))
    return old_log_probs + torch.where(advantages > 0, up, down)


@all_clipped.wrong(WRONG_WAY)
def _(old_log_probs: Tensor, advantages: Tensor, *, clip_range: float) -> Tensor:
    return old_log_probs - 2 * advantages.sign()


@all_clipped.wrong(INSIDE)
def _(old_log_probs: Tensor, advantages: Tensor, *, clip_range: float) -> Tensor:
    return old_log_probs + clip_range * advantages.sign() / 2
