"""Exercises of notebook 08: the length of a gradient, and the loss of one step."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="08",
    title="Clip the gradient",
    difficulty=2,
    importance=3,
    minutes=8,
    task="""
        The last thing before a step: the gradient's length is limited (`grad_clip`; this clip has
        nothing to do with that of the ratio). The gradients of a model's weights come as
        separate tensors, here two of any shapes. Their *norm* is the root of the sum of all their
        squares, over both tensors together. If it is larger than `max_norm`, multiply both by the
        one factor that makes it `max_norm`; otherwise leave them alone. Return the two, and the
        norm as it was before.
        """,
    hints=(
        "One vector, of which each tensor holds a piece: how long is it?",
        "The factor is max_norm / norm, but never more than 1.",
    ),
    remark="""
        `torch.nn.utils.clip_grad_norm_` does this in place. The norm that it returns is what the
        dashboard shows as `actor_grad_norm` and `critic_grad_norm`.
        """,
)
def clip_gradients(
    first: Tensor, second: Tensor, *, max_norm: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Both gradients, shortened together if need be, and their norm before (a scalar)."""
    norm = (first.square().sum() + second.square().sum()).sqrt()
    factor = torch.where(norm > max_norm, max_norm / norm, 1.0)
    return factor * first, factor * second, norm


@clip_gradients.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("3 and 4", torch.tensor([3.0]), torch.tensor([4.0]), max_norm=1.0)
    yield Case("short enough", torch.tensor([0.3, 0.0]), torch.tensor([[0.4]]), max_norm=1.0)
    yield Case("a weight and a bias", draw.normal(4, 3), draw.normal(3), max_norm=0.5)
    yield Case("one is small", 5 * draw.normal(3), 0.01 * draw.normal(2, 2), max_norm=1.0)
    yield Case("no gradient at all", torch.zeros(2, 2), torch.zeros(2), max_norm=1.0)


def _shortened(x: Tensor, norm: Tensor, max_norm: float) -> Tensor:
    return torch.where(norm > max_norm, max_norm / norm, 1.0) * x


@clip_gradients.wrong(
    "You clipped each tensor by its own norm. That changes the direction of the step; one factor "
    "for all does not."
)
def _(first: Tensor, second: Tensor, *, max_norm: float) -> tuple[Tensor, Tensor, Tensor]:
    one, two = first.norm(), second.norm()
    clipped = _shortened(first, one, max_norm), _shortened(second, two, max_norm)
    return (*clipped, torch.hypot(one, two))


@clip_gradients.wrong(
    "You clipped each number by itself. That changes the direction of the step; one factor for all "
    "does not."
)
def _(first: Tensor, second: Tensor, *, max_norm: float) -> tuple[Tensor, Tensor, Tensor]:
    norm = torch.hypot(first.norm(), second.norm())
    return first.clamp(-max_norm, max_norm), second.clamp(-max_norm, max_norm), norm


@clip_gradients.wrong(
    "You brought every gradient to the length max_norm. One that is shorter stays as it is, and "
    "one that is all 0 must not become NaN."
)
def _(first: Tensor, second: Tensor, *, max_norm: float) -> tuple[Tensor, Tensor, Tensor]:
    norm = torch.hypot(first.norm(), second.norm())
    return max_norm / norm * first, max_norm / norm * second, norm


@clip_gradients.wrong("That is the square of the norm. Its root is the length.")
def _(first: Tensor, second: Tensor, *, max_norm: float) -> tuple[Tensor, Tensor, Tensor]:
    square = first.square().sum() + second.square().sum()
    return _shortened(first, square, max_norm), _shortened(second, square, max_norm), square


@clip_gradients.wrong("The norm to return is the one before clipping; afterwards it tells nothing.")
def _(first: Tensor, second: Tensor, *, max_norm: float) -> tuple[Tensor, Tensor, Tensor]:
    norm = torch.hypot(first.norm(), second.norm())
    first, second = _shortened(first, norm, max_norm), _shortened(second, norm, max_norm)
    return first, second, torch.hypot(first.norm(), second.norm())


@exercise(
    notebook="08",
    title="The loss of one step, from microbatches",
    difficulty=2,
    importance=4,
    minutes=5,
    task="""
        A minibatch was cut into microbatches. `losses` (M,) are the token means of each, `tokens`
        (M,) how many tokens each has. Return the token mean of the whole minibatch, a scalar; 0 if
        there is no token. A microbatch without tokens may hold NaN as its loss.
        """,
    hints=(
        "Which weight makes a mean of means the mean of all?",
        "Σ tokens·losses / Σ tokens. 0 · NaN is NaN: choose with `torch.where(tokens > 0, …)`.",
    ),
    remark="The trainer multiplies each loss with its share before `backward`; gradients add up.",
    gradient_of=("losses",),
)
def loss_of_step(losses: Tensor, tokens: Tensor) -> Tensor:
    """Σ n_m·loss_m / Σ n_m. Returns a scalar."""
    shares = tokens / tokens.sum().clamp(min=1)
    return (torch.where(tokens > 0, losses, 0.0) * shares).sum()


@loss_of_step.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("10 and 30 tokens", torch.tensor([1.0, 0.2]), torch.tensor([10, 30]))
    yield Case("one microbatch", torch.tensor([0.5]), torch.tensor([7]))
    yield Case("equal parts", draw.normal(4), torch.full((4,), 5))
    yield Case("many", draw.normal(6), torch.tensor([1, 9, 4, 2, 7, 3]))
    nothing = torch.tensor([0.3, torch.nan, 0.7])
    yield Case("one without tokens", nothing, torch.tensor([2, 0, 6]))
    yield Case("no token at all", torch.tensor([1.0, 2.0]), torch.tensor([0, 0]))


@loss_of_step.wrong(
    "The plain mean of the means: a microbatch of 3 tokens has as much say as one of 300."
)
def _(losses: Tensor, tokens: Tensor) -> Tensor:
    return torch.where(tokens > 0, losses, 0.0).mean()


@loss_of_step.wrong("The sum of the losses grows with the number of microbatches.")
def _(losses: Tensor, tokens: Tensor) -> Tensor:
    return torch.where(tokens > 0, losses, 0.0).sum()


@loss_of_step.wrong("You added up over tokens, but did not divide by their number.")
def _(losses: Tensor, tokens: Tensor) -> Tensor:
    return (torch.where(tokens > 0, losses, 0.0) * tokens).sum()
