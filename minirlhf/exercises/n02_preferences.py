"""Exercises of notebook 02: comparisons, and the loss that learns from them."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from minirlhf.exercises.exercise import Case, Draw, exercise, question


@exercise(
    notebook="02",
    title="How likely is the first preferred?",
    difficulty=1,
    importance=5,
    minutes=4,
    task="""
        Bradley and Terry say: $P(\\text{first preferred}) = \\sigma((g_1 - g_2) / noise)$ with
        $\\sigma(z) = 1 / (1 + e^{-z})$. Write it for whole batches: `first` and `second` are (B,)
        worths, `noise` is a number above 0.
        """,
    hints=(
        "What does equal worth give? It must be ½, whatever the noise.",
        "`torch.sigmoid` is σ, and it does not overflow.",
    ),
    remark="Only the difference counts, in units of the noise: how sure people are of themselves.",
)
def bradley_terry(first: Tensor, second: Tensor, *, noise: float) -> Tensor:
    """P(first preferred), (B,) in [0, 1], from worths (B,) and (B,) in reward units."""
    return torch.sigmoid((first - second) / noise)


@bradley_terry.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("equal worth", torch.ones(1), torch.ones(1), noise=0.5)
    yield Case("one better by 1", torch.tensor([2.0]), torch.tensor([1.0]), noise=1.0)
    yield Case("people who err a lot", torch.tensor([2.0]), torch.tensor([1.0]), noise=4.0)
    yield Case("negative worths", torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, 1.0]), noise=0.5)
    yield Case("far apart", torch.tensor([500.0, -500.0]), torch.zeros(2), noise=0.1)
    yield Case("random", draw.normal(6), draw.normal(6), noise=0.7)
    yield Case("no pair", torch.zeros(0), torch.zeros(0), noise=1.0)


@bradley_terry.wrong("The wrong way round: a better first answer must make P larger.")
def _(first: Tensor, second: Tensor, *, noise: float) -> Tensor:
    return torch.sigmoid((second - first) / noise)


@bradley_terry.wrong("You did not use the noise.")
def _(first: Tensor, second: Tensor, *, noise: float) -> Tensor:
    return torch.sigmoid(first - second)


@bradley_terry.wrong("You multiplied by the noise; more noise must bring P nearer to ½.")
def _(first: Tensor, second: Tensor, *, noise: float) -> Tensor:
    return torch.sigmoid((first - second) * noise)


@bradley_terry.wrong(
    "That is a share of the sum, first / (first + second). It breaks down for negative worths, and "
    "a constant added to both would change it."
)
def _(first: Tensor, second: Tensor, *, noise: float) -> Tensor:
    return first / (first + second)


@exercise(
    notebook="02",
    title="The loss of stage 2",
    difficulty=3,
    importance=5,
    minutes=10,
    task="""
        Write the mean of $-\\log \\sigma(r_{chosen} - r_{rejected} - margin)$, a scalar. `margin`
        is a number, (B,), or None for 0. It must stay finite, and its gradient right, for
        differences of ±500.
        """,
    hints=(
        "At a difference of −500, σ is 0 in float32, and its logarithm −∞. Which function of "
        "`torch.nn.functional` computes $\\log\\sigma$ in one step?",
        "`torch.nn.functional.logsigmoid(difference)`; −logsigmoid(z) is about −z for very "
        "negative z.",
    ),
    remark="`minirlhf.preference_loss`. log 2 = 0.693 is what guessing costs.",
    gradient_of=("chosen_scores", "rejected_scores"),
)
def preference_loss(
    chosen_scores: Tensor, rejected_scores: Tensor, *, margin: Tensor | float | None = None
) -> Tensor:
    """Mean of −log σ(r_c − r_r − margin): a scalar, nats, from two (B,) scores."""
    difference = chosen_scores - rejected_scores
    if margin is not None:
        difference = difference - margin
    return -torch.nn.functional.logsigmoid(difference).mean()


@preference_loss.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("equal scores", torch.ones(1), torch.ones(1))
    yield Case("a batch", draw.normal(4), draw.normal(4))
    yield Case("very sure and right", torch.tensor([500.0]), torch.zeros(1))
    yield Case("very sure and wrong", torch.tensor([-500.0, 1.0]), torch.zeros(2))
    yield Case("a margin of 1", draw.normal(3), draw.normal(3), margin=1.0)
    yield Case("a margin for each pair", draw.normal(3), draw.normal(3), margin=draw.normal(3))


@preference_loss.wrong("The wrong way round: the loss must fall when the chosen answer gains.")
def _(c: Tensor, r: Tensor, *, margin: Tensor | float | None = None) -> Tensor:
    return -F.logsigmoid(r - c - (0.0 if margin is None else margin)).mean()


@preference_loss.wrong(
    "σ first and the logarithm after it: where σ rounds to 0, the loss is infinite and the "
    "gradient NaN. Both steps belong into one function."
)
def _(c: Tensor, r: Tensor, *, margin: Tensor | float | None = None) -> Tensor:
    return -torch.sigmoid(c - r - (0.0 if margin is None else margin)).log().mean()


@preference_loss.wrong("The margin has the wrong sign: it asks for a larger lead of the chosen.")
def _(c: Tensor, r: Tensor, *, margin: Tensor | float | None = None) -> Tensor:
    return -F.logsigmoid(c - r + (0.0 if margin is None else margin)).mean()


@preference_loss.wrong("You did not use the margin.")
def _(c: Tensor, r: Tensor, *, margin: Tensor | float | None = None) -> Tensor:
    return -F.logsigmoid(c - r).mean()


@preference_loss.wrong("That is the sum over the pairs; take the mean.")
def _(c: Tensor, r: Tensor, *, margin: Tensor | float | None = None) -> Tensor:
    return -F.logsigmoid(c - r - (0.0 if margin is None else margin)).sum()


@preference_loss.wrong("A loss is to be made small: the minus before the logarithm is missing.")
def _(c: Tensor, r: Tensor, *, margin: Tensor | float | None = None) -> Tensor:
    return F.logsigmoid(c - r - (0.0 if margin is None else margin)).mean()


question(
    "changed_by_a_constant",
    notebook="02",
    title="Add 5 to every score",
    difficulty=2,
    importance=4,
    minutes=3,
    task="""
        Somebody adds 5 to every score that the reward model gives. Which of these change? Write a
        set of some of the names `"loss"`, `"gradient"`, `"accuracy"`, `"gap"` (of each pair) and
        `"mean score"`.
        """,
    hints=(
        "Write $r_{chosen} + 5 - (r_{rejected} + 5)$, and simplify.",
        "Whatever is made of differences stays. Which of the five is not made of differences?",
    ),
    answer={"mean score"},
    form='a set of names, such as {"loss", "gap"}',
    wrong=[
        (
            {"mean score", "loss"},
            "The loss sees differences only, and the 5 goes out of every difference.",
        ),
        (
            {"mean score", "loss", "gradient"},
            "Loss and gradient are made of differences; the 5 goes out of each.",
        ),
        ({"mean score", "gap"}, "A gap is a difference of two scores. Both have the 5."),
        (
            {"loss", "gradient", "accuracy", "gap", "mean score"},
            "Not all of them: some are made of differences, from which the 5 goes out.",
        ),
        (set(), "One does change: it is made of scores, not of differences."),
    ],
    remark="""
        So stage 2 leaves the level of the scores open. It is fixed afterwards: mean 0 over answers
        of the SFT model.
        """,
)
