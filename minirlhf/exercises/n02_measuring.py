"""Exercises of notebook 02: accuracy, and how far to trust it."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="02",
    title="Accuracy on pairs",
    difficulty=1,
    importance=4,
    minutes=4,
    task="""
        The share of pairs whose chosen response has the higher score; a tie counts half. Return a
        scalar tensor. Both inputs are (B,), B ≥ 1.
        """,
    hints=(
        "A comparison gives True and False; `.float()` makes 1 and 0 of them.",
        "Add half of the ties: `0.5 * (chosen == rejected).float()`.",
    ),
    remark="Counting a tie as right rewards a model that gives every answer the same score: 100 %.",
)
def pair_accuracy(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Share of pairs with chosen > rejected, ties half: a scalar in [0, 1]."""
    return ((chosen > rejected).float() + 0.5 * (chosen == rejected).float()).mean()


@pair_accuracy.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("right", torch.tensor([1.0]), torch.tensor([0.0]))
    yield Case("a tie", torch.tensor([1.0]), torch.tensor([1.0]))
    yield Case("both negative", torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -1.0]))
    yield Case("one of each", torch.tensor([2.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 3.0]))
    yield Case("random", draw.normal(50), draw.normal(50))


@pair_accuracy.wrong("A tie counts as right here. It is worth half: a toss of a coin.")
def _(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (chosen >= rejected).float().mean()


@pair_accuracy.wrong("A tie counts as wrong here. It is worth half: a toss of a coin.")
def _(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (chosen > rejected).float().mean()


@pair_accuracy.wrong(
    "You asked whether the chosen score is above 0. The level of scores means nothing; compare the "
    "two."
)
def _(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (chosen > 0).float().mean()


@pair_accuracy.wrong(
    "That is the mean of σ, how sure the model is. Accuracy only asks on which side it is."
)
def _(chosen: Tensor, rejected: Tensor) -> Tensor:
    return torch.sigmoid(chosen - rejected).mean()


@exercise(
    notebook="02",
    title="How far may an accuracy be trusted?",
    difficulty=3,
    importance=3,
    minutes=8,
    task="""
        `right` of `total` pairs were judged right. Return the 95 % interval (low, high) of Wilson
        (1927) for the true accuracy: with $p = right/total$, $n = total$ and $z = 1.96$,

        $$\\frac{p + \\frac{z^2}{2n} \\pm z \\sqrt{\\frac{p(1-p)}{n} + \\frac{z^2}{4n^2}}}
        {1 + \\frac{z^2}{n}}$$
        """,
    hints=(
        "Three parts: the middle, the half width and the divisor. Compute each on a line of its "
        "own.",
        "The divisor divides the middle and the half width.",
    ),
    remark="""
        20 of 20 right gives (0.84, 1): a perfect score on few pairs is no proof of perfection. The
        simpler p ± 1.96·√(p(1 − p)/n) would say (1, 1).
        """,
)
def accuracy_interval(right: int, total: int) -> tuple[float, float]:
    """Lower and upper end of the 95 % interval, both in [0, 1]."""
    z, p = 1.96, right / total
    middle = p + z**2 / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    divisor = 1 + z**2 / total
    return (middle - half) / divisor, (middle + half) / divisor


@accuracy_interval.cases
def _(draw: Draw) -> Iterator[Case]:
    for right, total in ((15, 20), (1, 1), (0, 5), (20, 20), (300, 500), (97, 100)):
        yield Case(f"{right} of {total}", right, total)


@accuracy_interval.wrong(
    "That is the simple p ± 1.96·√(p(1 − p)/n). At 20 of 20 it has no width at all, as if nothing "
    "could ever go wrong."
)
def _(right: int, total: int) -> tuple[float, float]:
    p = right / total
    half = 1.96 * math.sqrt(p * (1 - p) / total)
    return p - half, p + half


@accuracy_interval.wrong("The divisor 1 + z²/n is missing.")
def _(right: int, total: int) -> tuple[float, float]:
    low, high = accuracy_interval.solution(right, total)
    return low * (1 + 1.96**2 / total), high * (1 + 1.96**2 / total)


@accuracy_interval.wrong("You divided the half width only; the middle has the same divisor.")
def _(right: int, total: int) -> tuple[float, float]:
    low, high = accuracy_interval.solution(right, total)
    middle = right / total + 1.96**2 / (2 * total)
    return middle - (high - low) / 2, middle + (high - low) / 2


@accuracy_interval.wrong("z is missing in front of the root: that is a 68 % interval, or so.")
def _(right: int, total: int) -> tuple[float, float]:
    low, high = accuracy_interval.solution(right, total)
    middle, half = (low + high) / 2, (high - low) / 2 / 1.96
    return middle - half, middle + half
