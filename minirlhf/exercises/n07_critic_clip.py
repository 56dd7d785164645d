"""Exercises of notebook 07: the Critic's clipped loss, and two ways to take a mean."""

from collections.abc import Iterator

import torch
from torch import Tensor

import minirlhf
from minirlhf.exercises.exercise import Case, Draw, exercise
from minirlhf.masks import masked_mean


@exercise(
    notebook="07",
    title="The Critic's loss with a clip",
    difficulty=3,
    importance=3,
    minutes=8,
    task="""
        The clipped value is $V^{clip}_t = V_{old,t} + \\mathrm{clip}(V_t - V_{old,t}, -ε_v, ε_v)$.
        Write half the masked mean of $\\max((V_t - target_t)^2, (V^{clip}_t - target_t)^2)$: a
        scalar, 0 if no token is counted. Only `values` gets a gradient; masked places may hold
        NaN.
        """,
    hints=(
        "`(values - old_values).clamp(-eps, eps)` with eps = `value_clip_range`; add "
        "`old_values` back.",
        "Square both distances, `torch.maximum` of the two, then ½ times `minirlhf.masked_mean`;"
        " it never reads a masked place.",
        "NaN in the gradient? Put 0 where masked in all three tensors first.",
    ),
    remark="""
        The same idea as for the Actor: going further than ε_v from the old value is not rewarded,
        going the wrong way is always punished. `minirlhf.critic_loss` says the same, and `None`
        switches it off.
        """,
    gradient_of=("values",),
)
def clipped_critic_loss(
    values: Tensor,
    old_values: Tensor,
    targets: Tensor,
    response_mask: Tensor,
    *,
    value_clip_range: float,
) -> Tensor:
    """Half the mean of the larger squared distance. Returns a scalar."""
    values, old_values, targets = (
        torch.where(response_mask, x, 0.0) for x in (values, old_values, targets)
    )
    clipped = old_values + (values - old_values).clamp(-value_clip_range, value_clip_range)
    squared = torch.maximum((values - targets) ** 2, (clipped - targets) ** 2)
    return 0.5 * minirlhf.masked_mean(squared, response_mask)


@clipped_critic_loss.cases
def _(draw: Draw) -> Iterator[Case]:
    one, zero = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1)
    yield Case(
        "V = 0.1, V_old = 0, target 1", zero + 0.1, zero, zero + 1, one, value_clip_range=0.2
    )
    yield Case(
        "V = 0.5, V_old = 0, target 1", zero + 0.5, zero, zero + 1, one, value_clip_range=0.2
    )
    yield Case(
        "V = −0.5, V_old = 0, target 1", zero - 0.5, zero, zero + 1, one, value_clip_range=0.2
    )
    three, mask = [draw.normal(3, 4) for _ in range(3)], draw.mask(4, 2, 0)
    yield Case("padding", *three, mask, value_clip_range=0.5)
    nan = [x.where(mask, torch.nan) for x in three]
    yield Case("NaN in the padding", *nan, mask, value_clip_range=0.2)
    yield Case("no token", *three, torch.zeros_like(mask), value_clip_range=0.2)


def _squares(
    values: Tensor, old_values: Tensor, targets: Tensor, mask: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Both squared distances, 0 where masked; for the wrong answers below."""
    values, old, targets = (torch.where(mask, x, 0.0) for x in (values, old_values, targets))
    clipped = old + (values - old).clamp(-eps, eps)
    return (values - targets) ** 2, (clipped - targets) ** 2


@clipped_critic_loss.wrong(
    "You took the smaller square. Then a value that ran away from its target has no gradient that "
    "brings it back."
)
def _(
    values: Tensor, old_values: Tensor, targets: Tensor, response_mask: Tensor, *,
    value_clip_range: float,
) -> Tensor:  # fmt: skip
    both = _squares(values, old_values, targets, response_mask, value_clip_range)
    return 0.5 * masked_mean(torch.minimum(*both), response_mask)


@clipped_critic_loss.wrong("You took the clipped value alone; the larger of two squares is wanted.")
def _(
    values: Tensor, old_values: Tensor, targets: Tensor, response_mask: Tensor, *,
    value_clip_range: float,
) -> Tensor:  # fmt: skip
    _, clipped = _squares(values, old_values, targets, response_mask, value_clip_range)
    return 0.5 * masked_mean(clipped, response_mask)


@clipped_critic_loss.wrong("Twice too much: the loss is half the mean square.")
def _(
    values: Tensor, old_values: Tensor, targets: Tensor, response_mask: Tensor, *,
    value_clip_range: float,
) -> Tensor:  # fmt: skip
    both = _squares(values, old_values, targets, response_mask, value_clip_range)
    return masked_mean(torch.maximum(*both), response_mask)


@clipped_critic_loss.wrong(
    "You clipped the value itself to ±ε_v. What is clipped is its distance from the old value."
)
def _(
    values: Tensor, old_values: Tensor, targets: Tensor, response_mask: Tensor, *,
    value_clip_range: float,
) -> Tensor:  # fmt: skip
    free, _ = _squares(values, old_values, targets, response_mask, value_clip_range)
    clipped = torch.where(response_mask, values, 0.0).clamp(-value_clip_range, value_clip_range)
    other = (clipped - torch.where(response_mask, targets, 0.0)) ** 2
    return 0.5 * masked_mean(torch.maximum(free, other), response_mask)


@exercise(
    notebook="07",
    title="Two averages",
    difficulty=2,
    importance=4,
    minutes=6,
    task="""
        Return two means of `x` (B, R) as a tuple of scalars: (1) over all counted tokens, and (2)
        over the responses, each of them counted with the mean of its own tokens. A response
        without a token does not count in (2). Without any token both are 0.
        """,
    hints=(
        "(1) is one sum divided by one count. For (2) do that for each row, with `dim=1`.",
        "Rows of length 0: divide by `lengths.clamp(min=1)`, then average over the rows whose "
        "length is not 0.",
    ),
    remark="""
        (1) is what our losses do: a token weighs the same wherever it stands, so a long response
        has more say. In (2) every response has the same say, and a token of a long one weighs
        less.
        """,
)
def two_means(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over tokens, and mean over responses of their own mean. Returns two scalars."""
    x = torch.where(mask, x, 0.0)
    lengths = mask.sum(dim=1)
    per_token = x.sum() / lengths.sum().clamp(min=1)
    of_rows = x.sum(dim=1) / lengths.clamp(min=1)
    return per_token, of_rows.sum() / (lengths > 0).sum().clamp(min=1)


@two_means.cases
def _(draw: Draw) -> Iterator[Case]:
    x = torch.tensor([[1.0, 1.0, 1.0], [5.0, 0.0, 0.0]])
    yield Case("three tokens and one", x, draw.mask(3, 1))
    yield Case("one token", torch.tensor([[2.0]]), draw.mask(1))
    other, mask = draw.normal(4, 5), draw.mask(5, 2, 3, 0)
    yield Case("a response without a token", other, mask)
    yield Case("NaN in the padding", other.where(mask, torch.nan), mask)
    yield Case("no token at all", other, torch.zeros_like(mask))


def _rows(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(mask, x, 0.0).sum(dim=1), mask.sum(dim=1)


@two_means.wrong("The two are swapped: the first is to treat all tokens alike.")
def _(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    sums, n = _rows(x, mask)
    of_rows = (sums / n.clamp(min=1)).sum() / (n > 0).sum().clamp(min=1)
    return of_rows, sums.sum() / n.sum().clamp(min=1)


@two_means.wrong("In (2) a response without a token was counted as a response with mean 0.")
def _(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    sums, n = _rows(x, mask)
    return sums.sum() / n.sum().clamp(min=1), (sums / n.clamp(min=1)).mean()


@two_means.wrong("You divided each response by the width of the batch, not by its own length.")
def _(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    sums, n = _rows(x, mask)
    padded = (sums / x.shape[1]).sum() / (n > 0).sum().clamp(min=1)
    return sums.sum() / n.sum().clamp(min=1), padded
