"""Exercises of notebook 08: the scale of advantages, and the loss of one step."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="08",
    title="Whiten",
    difficulty=2,
    importance=4,
    minutes=7,
    task="""
        Shift and scale the counted advantages to mean 0 and variance 1: $(x - mean)/\\sqrt{var +
        10^{-8}}$, where the variance is the mean of the squared distances (divided by n). (B, R)
        in and out; 0 where masked; masked places may hold NaN.
        """,
    hints=(
        "Mean and variance run over counted places only: a sum divided by `response_mask.sum()`.",
        "`torch.where(response_mask, x, 0.0)` first; subtract the mean; put 0 where masked again "
        "before you square.",
    ),
    remark="`minirlhf.masked_whiten` says the same. The tiny number keeps equal advantages finite.",
)
def whitened(x: Tensor, response_mask: Tensor) -> Tensor:
    """Mean 0 and variance 1 over counted places. Returns (B, R), 0 where masked."""
    n = response_mask.sum().clamp(min=1)
    mean = torch.where(response_mask, x, 0.0).sum() / n
    centred = torch.where(response_mask, x - mean, 0.0)
    variance = (centred**2).sum() / n
    return centred * torch.rsqrt(variance + 1e-8)


@whitened.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("two numbers", torch.tensor([[1.0, 3.0]]), draw.mask(2))
    yield Case("one token", torch.tensor([[5.0]]), draw.mask(1))
    yield Case("all alike", torch.ones(2, 3), draw.mask(3, 3))
    x, mask = 3 * draw.normal(3, 4) + 2, draw.mask(4, 2, 0)
    yield Case("padding", x, mask)
    yield Case("NaN in the padding", x.where(mask, torch.nan), mask)
    yield Case("no token", x, torch.zeros_like(mask))


def _scaled(x: Tensor, mask: Tensor, *, n: Tensor, scale_n: Tensor, shift: bool = True) -> Tensor:
    safe = torch.where(mask, x, 0.0)
    mean = safe.sum() / n
    centred = torch.where(mask, safe - mean, 0.0)
    variance = (centred**2).sum() / scale_n
    return torch.where(mask, centred if shift else safe, 0.0) * torch.rsqrt(variance + 1e-8)


@whitened.wrong("You divided by all places, padding included. The padding has no advantage.")
def _(x: Tensor, response_mask: Tensor) -> Tensor:
    everywhere = torch.tensor(x.numel())
    return _scaled(x, response_mask, n=everywhere, scale_n=everywhere)


@whitened.wrong("The variance is divided by n − 1. Here it is the plain mean of the squares.")
def _(x: Tensor, response_mask: Tensor) -> Tensor:
    n = response_mask.sum().clamp(min=1)
    return _scaled(x, response_mask, n=n, scale_n=(n - 1).clamp(min=1))


@whitened.wrong("The scale is right, but the mean is still in it.")
def _(x: Tensor, response_mask: Tensor) -> Tensor:
    n = response_mask.sum().clamp(min=1)
    return _scaled(x, response_mask, n=n, scale_n=n, shift=False)


@whitened.wrong("You divided by the variance. Divide by its root, so that the variance becomes 1.")
def _(x: Tensor, response_mask: Tensor) -> Tensor:
    n = response_mask.sum().clamp(min=1)
    once = _scaled(x, response_mask, n=n, scale_n=n)
    safe = torch.where(response_mask, x, 0.0)
    spread = (torch.where(response_mask, safe - safe.sum() / n, 0.0) ** 2).sum() / n
    return once * torch.rsqrt(spread + 1e-8)


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
