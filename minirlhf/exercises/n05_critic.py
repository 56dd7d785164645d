"""Exercises of notebook 05: the Critic's loss, and how good a Critic is."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="05",
    title="The Critic's loss",
    difficulty=2,
    importance=5,
    minutes=7,
    task="""
        Write half the mean squared distance of $V_t$ from its target, over the counted tokens of
        the whole batch. All tensors are (B, R); the result is a scalar, and 0 if nothing is
        counted. The gradient is checked as well: the target is a teacher, so it gets none.
        """,
    hints=(
        "One mean over all counted tokens: the sum of squares, divided by how many are counted.",
        "`.detach()` keeps the gradient out. And 0 · NaN is NaN, so set masked places to 0 with "
        "`torch.where` or `.where` *before* squaring.",
        "`squared = (values.where(response_mask, 0.0) - targets.detach().where(response_mask, 0.0))"
        " ** 2`, then sum and divide by `response_mask.sum().clamp(min=1)`.",
    ),
    gradient_of=("values", "targets"),
    remark="The ½ makes the gradient of one square simply $V_t - \\text{target}_t$.",
)
def half_mse(values: Tensor, targets: Tensor, response_mask: Tensor) -> Tensor:
    """½·mean of (V_t − target_t)² over counted tokens. All (B, R). Returns a scalar."""
    values = values.where(response_mask, 0.0)
    targets = targets.detach().where(response_mask, 0.0)
    return 0.5 * ((values - targets) ** 2).sum() / response_mask.sum().clamp(min=1)


@half_mse.cases
def _(draw: Draw) -> Iterator[Case]:
    one = torch.ones(1, 1, dtype=torch.bool)
    yield Case("one token", torch.tensor([[1.0]]), torch.tensor([[3.0]]), one)
    mask = draw.mask(4, 2, 1)
    values, targets = draw.normal(3, 4), draw.normal(3, 4)
    yield Case("several lengths", values, targets, mask)
    hidden = [x.where(mask, torch.nan) for x in (values, targets)]
    yield Case("NaN where masked", *hidden, mask)
    yield Case("a row without tokens", draw.normal(2, 3), draw.normal(2, 3), draw.mask(3, 0))
    yield Case("nothing counted", draw.normal(1, 2), draw.normal(1, 2), draw.mask(0, width=2))


@half_mse.wrong("The ½ is missing: your loss, and its gradient, are twice as large.")
def _(values: Tensor, targets: Tensor, response_mask: Tensor) -> Tensor:
    loss: Tensor = half_mse.solution(values, targets, response_mask)
    return 2.0 * loss


@half_mse.wrong(
    "Your gradient also moves the target. It would teach the later token to please the "
    "earlier one; "
    "the target is a teacher, and teachers are held fixed."
)
def _(values: Tensor, targets: Tensor, response_mask: Tensor) -> Tensor:
    difference = values.where(response_mask, 0.0) - targets.where(response_mask, 0.0)
    return 0.5 * (difference**2).sum() / response_mask.sum().clamp(min=1)


@half_mse.wrong("You averaged over padding, too: divide by the number of counted tokens.")
def _(values: Tensor, targets: Tensor, response_mask: Tensor) -> Tensor:
    difference = values.where(response_mask, 0.0) - targets.detach().where(response_mask, 0.0)
    return 0.5 * (difference**2).mean()


@half_mse.wrong(
    "You took a mean for each response and then the mean of those: so a token of a long response "
    "counts less than one of a short response."
)
def _(values: Tensor, targets: Tensor, response_mask: Tensor) -> Tensor:
    difference = values.where(response_mask, 0.0) - targets.detach().where(response_mask, 0.0)
    of_row = (difference**2).sum(dim=1) / response_mask.sum(dim=1).clamp(min=1)
    return 0.5 * of_row.mean()


@exercise(
    notebook="05",
    title="The clipped loss",
    difficulty=4,
    importance=3,
    minutes=12,
    task="""
        The same with the clip. $V^{clip}_t$ is $V_t$, held within $\\pm\\epsilon_v$ of the old
        value: $V^{old}_t + \\text{clip}(V_t - V^{old}_t, \\pm\\epsilon_v)$. Of the two squares
        $(V_t - \\text{target}_t)^2$ and $(V^{clip}_t - \\text{target}_t)^2$ take the **larger** at
        each token; half their mean over counted tokens is the loss. `value_clip_range=None` means
        no clip. The gradient counts, by `values` and by `old_values`.
        """,
    hints=(
        "`(values - old_values).clamp(-value_clip_range, value_clip_range)` is the move, "
        "held back.",
        "Old values and targets are constants: `.detach()`. The larger of two tensors, element by "
        "element, is `torch.maximum`.",
        "Mask first (`.where(response_mask, 0.0)` on all three), then `squared = (values - targets)"
        " ** 2`, and unless there is no clip `squared = torch.maximum(squared, (clipped - targets)"
        " ** 2)`.",
    ),
    gradient_of=("values", "old_values"),
    remark=(
        "Where $V_t$ has moved beyond the clip *towards* its target, the larger square is the "
        "clipped one, a constant: no gradient. Where it moved away, the plain square is the larger "
        "and calls it back. `minirlhf.critic_loss` is this function."
    ),
)
def critic_loss(
    values: Tensor,
    old_values: Tensor,
    targets: Tensor,
    response_mask: Tensor,
    *,
    value_clip_range: float | None = 0.2,
) -> Tensor:
    """½·mean of max((V_t − target_t)², (V^clip_t − target_t)²). All (B, R). Returns a scalar."""
    values = values.where(response_mask, 0.0)
    old_values = old_values.detach().where(response_mask, 0.0)
    targets = targets.detach().where(response_mask, 0.0)
    squared = (values - targets) ** 2
    if value_clip_range is not None:
        clipped = old_values + (values - old_values).clamp(-value_clip_range, value_clip_range)
        squared = torch.maximum(squared, (clipped - targets) ** 2)
    return 0.5 * squared.sum() / response_mask.sum().clamp(min=1)


@critic_loss.cases
def _(draw: Draw) -> Iterator[Case]:
    one = torch.ones(1, 1, dtype=torch.bool)
    old, goal = torch.tensor([[0.0]]), torch.tensor([[1.0]])
    yield Case("within the clip", torch.tensor([[0.1]]), old, goal, one)
    yield Case("beyond it, towards the target", torch.tensor([[0.5]]), old, goal, one)
    yield Case("beyond it, away from the target", torch.tensor([[-0.5]]), old, goal, one)
    yield Case("an old value of 3", torch.tensor([[2.5]]), old + 3, goal, one)
    mask = draw.mask(4, 2, 0)
    three = [draw.normal(3, 4) for _ in range(3)]
    yield Case("several lengths, ε_v = 0.5", *three, mask, value_clip_range=0.5)
    hidden = [x.where(mask, torch.nan) for x in three]
    yield Case("NaN where masked", *hidden, mask, value_clip_range=0.5)
    yield Case("no clip", *three, mask, value_clip_range=None)


def _clipped(values: Tensor, old_values: Tensor, mask: Tensor, limit: float | None) -> Tensor:
    limit = float("inf") if limit is None else limit
    old = old_values.detach().where(mask, 0.0)
    return old + (values.where(mask, 0.0) - old).clamp(-limit, limit)


def _half_mean(squared: Tensor, mask: Tensor) -> Tensor:
    return 0.5 * squared.sum() / mask.sum().clamp(min=1)


@critic_loss.wrong(
    "You used the clipped value alone. A value that has strayed beyond the clip, away from its "
    "target, then gets no gradient and never comes back: compare with the plain square."
)
def _(values, old_values, targets, response_mask, *, value_clip_range=0.2):  # type: ignore[no-untyped-def]
    clipped = _clipped(values, old_values, response_mask, value_clip_range)
    return half_mse.solution(clipped, targets, response_mask)


@critic_loss.wrong(
    "You took the smaller square. The clip shall never make the loss look better than it is."
)
def _(values, old_values, targets, response_mask, *, value_clip_range=0.2):  # type: ignore[no-untyped-def]
    clipped = _clipped(values, old_values, response_mask, value_clip_range)
    goal = targets.detach().where(response_mask, 0.0)
    plain = (values.where(response_mask, 0.0) - goal) ** 2
    return _half_mean(torch.minimum(plain, (clipped - goal) ** 2), response_mask)


@critic_loss.wrong(
    "You clipped V itself to ±ε_v. The clip limits how far V moves from its old value, "
    "not how large "
    "it may be."
)
def _(values, old_values, targets, response_mask, *, value_clip_range=0.2):  # type: ignore[no-untyped-def]
    clipped = _clipped(values, torch.zeros_like(values), response_mask, value_clip_range)
    goal = targets.detach().where(response_mask, 0.0)
    plain = (values.where(response_mask, 0.0) - goal) ** 2
    return _half_mean(torch.maximum(plain, (clipped - goal) ** 2), response_mask)


@critic_loss.wrong("There is no clip in it: with ε_v = None it is right, else not.")
def _(values, old_values, targets, response_mask, *, value_clip_range=0.2):  # type: ignore[no-untyped-def]
    return half_mse.solution(values, targets, response_mask)
