"""Exercises of notebook 07: the two losses, and what an average may mean."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise
from minirlhf.masks import masked_mean


@exercise(
    notebook="07",
    title="The Actor's loss",
    difficulty=3,
    importance=5,
    minutes=12,
    task="""
        Write the masked mean of $\\max(-Â_tρ_t,\\ -Â_t\\cdot\\mathrm{clip}(ρ_t, 1-ε, 1+ε))$.
        Advantages and old log-probs get no gradient. All tensors are (B, R); return a scalar, 0 if
        no token is counted. The check compares gradients, too.
        """,
    hints=(
        "First ρ, from the difference of the log-probs. Put 0 where masked before you "
        "exponentiate.",
        "`ratio.clamp(1 - clip_range, 1 + clip_range)` clips, `torch.maximum` takes the larger of "
        "two tensors, place by place.",
        "The mean: the sum over counted tokens divided by `response_mask.sum().clamp(min=1)`; or "
        "`minirlhf.masked_mean(loss, response_mask)`.",
    ),
    remark="`minirlhf.actor_loss` says the same, and keeps ρ finite where exp would overflow.",
    gradient_of=("log_probs", "old_log_probs", "advantages"),
)
def actor_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    *,
    clip_range: float,
) -> Tensor:
    """PPO's clipped loss. Returns a scalar: the mean over counted tokens."""
    log_ratio = torch.where(response_mask, log_probs - old_log_probs.detach(), 0.0)
    advantages = torch.where(response_mask, advantages, 0.0).detach()
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    return loss.sum() / response_mask.sum().clamp(min=1)


@actor_loss.cases
def _(draw: Draw) -> Iterator[Case]:
    one, old = torch.ones(1, 1, dtype=torch.bool), torch.tensor([[-1.0]])
    good, bad = torch.tensor([[1.0]]), torch.tensor([[-1.0]])
    yield Case("not moved, Â = 1", old, old.clone(), good, one, clip_range=0.2)
    yield Case("Â = 1, ρ = e: above", old + 1, old, good, one, clip_range=0.2)
    yield Case("Â = 1, ρ = 1/e: below", old - 1, old, good, one, clip_range=0.2)
    yield Case("Â = −1, ρ = e: above", old + 1, old, bad, one, clip_range=0.2)
    yield Case("Â = −1, ρ = 1/e: below", old - 1, old, bad, one, clip_range=0.2)
    now, then, mask = draw.log_probs(3, 4), draw.log_probs(3, 4), draw.mask(4, 2, 0)
    weights = 2 * draw.normal(3, 4)
    yield Case("padding, ε = 0.3", now, then, weights, mask, clip_range=0.3)
    nan = [x.where(mask, torch.nan) for x in (now, then, weights)]
    yield Case("NaN in the padding", *nan, mask, clip_range=0.2)
    yield Case("no token", now, then, weights, torch.zeros_like(mask), clip_range=0.2)


def _terms(now: Tensor, old: Tensor, a: Tensor, mask: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """−Âρ and −Â·clip(ρ), 0 where masked; for the wrong answers below."""
    a = torch.where(mask, a, 0.0).detach()
    ratio = torch.where(mask, now - old.detach(), 0.0).exp()
    return -a * ratio, -a * ratio.clamp(1 - eps, 1 + eps)


@actor_loss.wrong(
    "You took the clipped term alone. Then a token that moved the wrong way out of the range has"
    " no gradient, and nothing brings it back. The loss is the larger of two terms."
)
def _(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, response_mask: Tensor, *,
    clip_range: float,
) -> Tensor:  # fmt: skip
    _, clipped = _terms(log_probs, old_log_probs, advantages, response_mask, clip_range)
    return masked_mean(clipped, response_mask)


@actor_loss.wrong(
    "You took the smaller of the two terms: that clips exactly where it should not. With the minus "
    "signs inside, the paper's minimum of two surrogates becomes a maximum of two losses."
)
def _(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, response_mask: Tensor, *,
    clip_range: float,
) -> Tensor:  # fmt: skip
    both = _terms(log_probs, old_log_probs, advantages, response_mask, clip_range)
    return masked_mean(torch.minimum(*both), response_mask)


@actor_loss.wrong(
    "The sign: this is the surrogate, which is to rise. A loss is to fall, so good tokens must "
    "lower it when they get likelier."
)
def _(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, response_mask: Tensor, *,
    clip_range: float,
) -> Tensor:  # fmt: skip
    both = _terms(log_probs, old_log_probs, advantages, response_mask, clip_range)
    return -masked_mean(torch.maximum(*both), response_mask)


@actor_loss.wrong(
    "The value is right, but a gradient also flows into old log-probs or advantages. Both were "
    "noted at the rollout and are plain numbers now: `.detach()`."
)
def _(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, response_mask: Tensor, *,
    clip_range: float,
) -> Tensor:  # fmt: skip
    ratio = torch.where(response_mask, log_probs - old_log_probs, 0.0).exp()
    a = torch.where(response_mask, advantages, 0.0)
    both = -a * ratio, -a * ratio.clamp(1 - clip_range, 1 + clip_range)
    return masked_mean(torch.maximum(*both), response_mask)


@actor_loss.wrong("There is no clip in it: a token that has left the range still pushes on.")
def _(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, response_mask: Tensor, *,
    clip_range: float,
) -> Tensor:  # fmt: skip
    free, _ = _terms(log_probs, old_log_probs, advantages, response_mask, clip_range)
    return masked_mean(free, response_mask)


@actor_loss.wrong("You divided by all places, padding included. Divide by the counted tokens.")
def _(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, response_mask: Tensor, *,
    clip_range: float,
) -> Tensor:  # fmt: skip
    both = _terms(log_probs, old_log_probs, advantages, response_mask, clip_range)
    return torch.maximum(*both).mean()
