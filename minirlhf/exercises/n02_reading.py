"""Exercises of notebook 02: where a score is read, and how good a reward model is."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise

NAN = float("nan")


@exercise(
    notebook="02",
    title="Where is the score?",
    difficulty=3,
    importance=5,
    minutes=8,
    task="""
        A reward model gives a number at every slot of prompt and response: `per_slot` (B, P+R). The
        score of a response is the number at its **last counted token**. Return the scores, (B,). A
        response without tokens is read at the last slot of the prompt. Slots behind the last
        counted token may hold NaN.
        """,
    hints=(
        "At which slot stands $A_0$? And the last of `n` counted tokens?",
        "Slot `prompt_width - 1 + n`, with `n = response_mask.sum(dim=1)`. One number of each row: "
        "index with `torch.arange(B)` and the slots.",
    ),
    remark="`RewardModel.scores` reads there. What it says at earlier slots was never trained.",
)
def read_score(per_slot: Tensor, prompt_width: int, response_mask: Tensor) -> Tensor:
    """(B,) scores from per_slot (B, P+R), P = prompt_width ≥ 1, and response_mask (B, R)."""
    last = prompt_width - 1 + response_mask.sum(dim=1)
    return per_slot[torch.arange(len(last)), last]


@read_score.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("one token", draw.normal(1, 3), 2, draw.mask(1))
    yield Case("full rows", draw.normal(2, 5), 2, draw.mask(3, 3))
    yield Case("padding", draw.normal(3, 6), 2, draw.mask(4, 2, 1))
    mask = draw.mask(1, 3)
    known = torch.cat([torch.ones(2, 2, dtype=torch.bool), mask], dim=1)
    yield Case("NaN in the padding", draw.normal(2, 5).where(known, NAN), 2, mask)
    yield Case("no token", draw.normal(2, 4), 1, draw.mask(0, 3))


@read_score.wrong(
    "You read at the last slot of the rectangle. In all rows but the longest, padding stands there."
)
def _(per_slot: Tensor, prompt_width: int, response_mask: Tensor) -> Tensor:
    return per_slot[:, -1]


@read_score.wrong("One slot too late: there the padding begins (or the rectangle has ended).")
def _(per_slot: Tensor, prompt_width: int, response_mask: Tensor) -> Tensor:
    last = prompt_width + response_mask.sum(dim=1)
    return per_slot[torch.arange(len(last)), last]


@read_score.wrong(
    "One slot too early: you read before the last token. A log-prob is read before its token, a "
    "score after it: the model must have seen the whole answer."
)
def _(per_slot: Tensor, prompt_width: int, response_mask: Tensor) -> Tensor:
    last = prompt_width - 2 + response_mask.sum(dim=1)
    return per_slot[torch.arange(len(last)), last]


@read_score.wrong("You forgot that the prompt comes first: the count begins behind it.")
def _(per_slot: Tensor, prompt_width: int, response_mask: Tensor) -> Tensor:
    last = (response_mask.sum(dim=1) - 1).clamp(min=0)
    return per_slot[torch.arange(len(last)), last]


@read_score.wrong("That is a mean over the response. Only the last token has seen all of it.")
def _(per_slot: Tensor, prompt_width: int, response_mask: Tensor) -> Tensor:
    numbers = per_slot[:, prompt_width:].where(response_mask, 0.0)
    return numbers.sum(dim=1) / response_mask.sum(dim=1).clamp(min=1)


@exercise(
    notebook="02",
    title="Mean 0, standard deviation 1",
    difficulty=2,
    importance=3,
    minutes=4,
    task="""
        After stage 2 the scores get a fixed level and a fixed unit. Shift and scale `scores` (N,)
        so that their mean is 0 and their standard deviation 1; the variance is divided by $N$, not
        by $N - 1$.
        """,
    hints=(
        "First the mean is taken off, then the spread divides.",
        "`scores.std(correction=0)` divides by N.",
    ),
    remark="""
        So β, the price of a nat of KL, means the same from one reward model to the next. The same
        shift and scale are then used for all later scores.
        """,
)
def standardised(scores: Tensor) -> Tensor:
    """(N,) scores with mean 0 and standard deviation 1 (divided by N)."""
    return (scores - scores.mean()) / scores.std(correction=0)


@standardised.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("two scores", torch.tensor([1.0, 3.0]))
    yield Case("four", torch.tensor([1.0, 1.0, 1.0, 5.0]))
    yield Case("random", 3 * draw.normal(20) + 7)
    yield Case("tiny spread", 0.001 * draw.normal(20) - 50)
    yield Case("standard already", standardised.solution(draw.normal(9)))


@standardised.wrong("You divided the variance by N − 1, which is torch's default.")
def _(scores: Tensor) -> Tensor:
    return (scores - scores.mean()) / scores.std()


@standardised.wrong("You divided by the variance. Its root has the unit of a score.")
def _(scores: Tensor) -> Tensor:
    return (scores - scores.mean()) / scores.var(correction=0)


@standardised.wrong("The unit is right, the level is not: take the mean off as well.")
def _(scores: Tensor) -> Tensor:
    return scores / scores.std(correction=0)


@standardised.wrong("The level is right, the unit is not: divide by the standard deviation.")
def _(scores: Tensor) -> Tensor:
    return scores - scores.mean()


@exercise(
    notebook="02",
    title="The best possible accuracy",
    difficulty=3,
    importance=4,
    minutes=8,
    task="""
        People's labels are noisy, so even a model that knows the true worths cannot foresee all of
        them. Given `gaps` (N,), the true worth of one answer of each pair minus that of the other,
        and the `noise` of the people, what share of the labels does it foresee on average, if it
        always bets on the better answer? Return a scalar.
        """,
    hints=(
        "For one pair with gap $g$: it bets on the better one. With which probability do people "
        "choose that one?",
        "$\\sigma(|g| / noise)$, and then the mean. Why the absolute value?",
    ),
    remark="Before you call 80 % bad, ask how often people agree with themselves.",
)
def best_accuracy(gaps: Tensor, *, noise: float) -> Tensor:
    """Expected share of labels foreseen: a scalar in [½, 1], from gaps (N,)."""
    return torch.sigmoid(gaps.abs() / noise).mean()


@best_accuracy.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("a tie", torch.zeros(1), noise=1.0)
    yield Case("better by 1", torch.tensor([1.0]), noise=1.0)
    yield Case("worse by 1", torch.tensor([-1.0]), noise=1.0)
    yield Case("clear cases", torch.tensor([50.0, -50.0]), noise=0.5)
    yield Case("random", draw.normal(30), noise=0.5)


@best_accuracy.wrong(
    "You took the sign along: where the second answer is the better one, the bet goes on the "
    "second."
)
def _(gaps: Tensor, *, noise: float) -> Tensor:
    return torch.sigmoid(gaps / noise).mean()


@best_accuracy.wrong("The mean comes last: σ of the mean gap is not the mean of σ.")
def _(gaps: Tensor, *, noise: float) -> Tensor:
    return torch.sigmoid(gaps.abs().mean() / noise)


@best_accuracy.wrong("You did not use the noise.")
def _(gaps: Tensor, *, noise: float) -> Tensor:
    return torch.sigmoid(gaps.abs()).mean()
