"""Exercises of notebook 02: a bias in the labels."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise, question


@exercise(
    notebook="02",
    title="Do the longer ones win?",
    difficulty=2,
    importance=4,
    minutes=6,
    task="""
        Given the lengths in tokens of the chosen and of the rejected answer of each pair, (B,) int,
        return the share of pairs in which the **longer** answer was chosen, as a float. Pairs of
        equal length say nothing about it: leave them out. Without any others, return 0.5.
        """,
    hints=(
        "Count the pairs in which the lengths differ; they are the divisor.",
        "`(chosen_lengths > rejected_lengths).sum() / (chosen_lengths != rejected_lengths).sum()`, "
        "and a way out where the divisor is 0.",
    ),
    remark="Ask this of every set of labels before you train on it: it costs one line.",
)
def longer_wins(chosen_lengths: Tensor, rejected_lengths: Tensor) -> float:
    """Share in [0, 1] of the pairs of unequal length whose chosen answer is the longer one."""
    unequal = int((chosen_lengths != rejected_lengths).sum())
    if unequal == 0:
        return 0.5
    return int((chosen_lengths > rejected_lengths).sum()) / unequal


@longer_wins.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("one pair", torch.tensor([5]), torch.tensor([3]))
    yield Case("one of two", torch.tensor([5, 2]), torch.tensor([3, 6]))
    yield Case("with a pair of equal length", torch.tensor([5, 2, 4]), torch.tensor([3, 1, 4]))
    yield Case("all of equal length", torch.tensor([4, 4]), torch.tensor([4, 4]))
    yield Case("no pair", torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    yield Case("random", draw.ids(5, 40), draw.ids(5, 40))


@longer_wins.wrong("You divided by all pairs. Those of equal length pull the share down.")
def _(chosen_lengths: Tensor, rejected_lengths: Tensor) -> float:
    if len(chosen_lengths) == 0:
        return 0.5
    return float((chosen_lengths > rejected_lengths).float().mean())


@longer_wins.wrong("You counted the pairs of equal length as won by the longer one.")
def _(chosen_lengths: Tensor, rejected_lengths: Tensor) -> float:
    if len(chosen_lengths) == 0:
        return 0.5
    return float((chosen_lengths >= rejected_lengths).float().mean())


@longer_wins.wrong("That is the share won by the shorter one.")
def _(chosen_lengths: Tensor, rejected_lengths: Tensor) -> float:
    return 1.0 - float(longer_wins.solution(chosen_lengths, rejected_lengths))


question(
    "biased_labels",
    notebook="02",
    title="Find the planted bias",
    difficulty=2,
    importance=4,
    minutes=5,
    task="""
        The cell above holds three sets of labels, `label_sets["A"]`, `["B"]` and `["C"]`. In one of
        them somebody was in a hurry, and often took the longer answer unread. Which one?
        """,
    hints=(
        "Agreement with gold does not tell: one of the honest sets is simply noisier.",
        "For each set, count the words of the chosen and of the rejected answers, and ask in which "
        "share of the pairs the longer one won.",
    ),
    answer="B",
    form='"A", "B" or "C"',
    wrong=[
        ("A", "A agrees most with gold, and long and short answers win equally often in it."),
        ("C", "C is noisy, but its mistakes go either way: look at lengths, not at agreement."),
    ],
    remark="""
        A reward model learns whatever tells chosen from rejected. If length does, it learns length.
        """,
)
