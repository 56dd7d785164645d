"""Exercises of notebook 03: RLOO, which baselines are harmless, and what noise costs."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise, question


@exercise(
    notebook="03",
    title="RLOO in three lines",
    difficulty=3,
    importance=4,
    minutes=9,
    task="""
        Rows g·K … g·K + K − 1 answer the same prompt (K = `group_size`). An answer's return is the
        sum of its counted rewards. Its advantage is its return, less the mean return of the
        *other* K − 1 answers; every counted token gets it, masked places get 0.
        """,
    hints=(
        "`returns.view(-1, group_size)` puts each group into a row of its own.",
        "The sum of the others is the sum of the group, less one's own.",
        "`others = (returns.sum(1, keepdim=True) - returns) / (group_size - 1)`",
    ),
    remark="`minirlhf.rloo_advantages` says the same (Ahmadian et al. 2024, arXiv:2402.14740).",
)
def rloo_advantages(rewards: Tensor, response_mask: Tensor, *, group_size: int) -> Tensor:
    """Return less the others' mean return; both (B, R). Returns (B, R), 0 where masked."""
    returns = rewards.where(response_mask, 0.0).sum(dim=1).view(-1, group_size)
    others = (returns.sum(dim=1, keepdim=True) - returns) / (group_size - 1)
    return (returns - others).view(-1, 1).where(response_mask, 0.0)


@rloo_advantages.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("two answers", torch.tensor([[1.0], [3.0]]), draw.mask(1, 1), group_size=2)
    six = torch.tensor([[1.0], [2.0], [6.0]])
    yield Case("three answers", six, draw.mask(1, 1, 1), group_size=3)
    yield Case("all alike", torch.full((4, 1), 2.0), draw.mask(1, 1, 1, 1), group_size=4)
    yield Case("two prompts", draw.normal(4, 2), draw.mask(2, 2, 2, 2), group_size=2)
    mask = draw.mask(3, 1, 2, 3)
    holes = draw.normal(4, 3).where(mask, torch.nan)
    yield Case("NaN in the padding", holes, mask, group_size=4)
    yield Case("an answer without a token", draw.normal(2, 3), draw.mask(0, 3), group_size=2)


@rloo_advantages.wrong(
    "The answer's own return is in its baseline. On average that makes the gradient smaller by "
    "(K−1)/K; leave one out."
)
def _(rewards: Tensor, response_mask: Tensor, *, group_size: int) -> Any:
    returns = rewards.where(response_mask, 0.0).sum(dim=1).view(-1, group_size)
    less = returns - returns.mean(dim=1, keepdim=True)
    return less.view(-1, 1).where(response_mask, 0.0)


@rloo_advantages.wrong("There are K − 1 others, and you divide their sum by K.")
def _(rewards: Tensor, response_mask: Tensor, *, group_size: int) -> Any:
    returns = rewards.where(response_mask, 0.0).sum(dim=1).view(-1, group_size)
    others = (returns.sum(dim=1, keepdim=True) - returns) / group_size
    return (returns - others).view(-1, 1).where(response_mask, 0.0)


@rloo_advantages.wrong(
    "You compare with answers to *other* prompts: a group is K rows that lie next to each other."
)
def _(rewards: Tensor, response_mask: Tensor, *, group_size: int) -> Any:
    returns = rewards.where(response_mask, 0.0).sum(dim=1).view(group_size, -1)
    others = (returns.sum(dim=0, keepdim=True) - returns) / (group_size - 1)
    return (returns - others).view(-1, 1).where(response_mask, 0.0)


@rloo_advantages.wrong(
    "You compare token with token. An answer is one action here: add up its rewards first."
)
def _(rewards: Tensor, response_mask: Tensor, *, group_size: int) -> Any:
    returns = rewards.where(response_mask, 0.0).view(-1, group_size, rewards.shape[1])
    others = (returns.sum(dim=1, keepdim=True) - returns) / (group_size - 1)
    return (returns - others).view(rewards.shape).where(response_mask, 0.0)


question(
    "harmless_baselines",
    notebook="03",
    title="Which baselines are harmless?",
    difficulty=3,
    importance=5,
    minutes=5,
    task="""
        The weight of token $A_t$ is $G_t - b$. Which of these $b$ leave the gradient as it is, on
        average?

        - 1: the mean score of the previous batch
        - 2: $V(S_t)$, what is to be expected before the token is known
        - 3: this answer's own score
        - 4: $V(S_{t+1})$, what is to be expected once the token is known
        - 5: the mean score of other answers to the same prompt
        - 6: the number of tokens of the prompt
        - 7: the number of tokens of this answer
        """,
    hints=(
        "Ask of each number: would it be another one, had another token been drawn at t?",
        "Silly is not the same as harmful.",
    ),
    answer={1, 2, 5, 6},
    form="a set of numbers, such as {1, 3}",
    wrong=(
        (
            {1, 2, 4, 5, 6},
            "V(S_{t+1}) has read the token: it is a different number after a "
            "different token. What is left of the token's merit then?",
        ),
        (
            {1, 2, 5, 6, 7},
            "The length of this answer is not known before its tokens are: after "
            "another token it might end sooner.",
        ),
        (
            {1, 2, 5},
            "Those three, yes. But the prompt's length is useless, not harmful: is it "
            "affected by the token?",
        ),
        (
            {2, 5},
            "Those two, yes. What about a number that was there before this answer was begun?",
        ),
        ({2}, "V(S_t) is a good one. Any other number that ignores the token is unbiased, too."),
        ({1, 2, 3, 5, 6}, "With its own score as a baseline, nothing is left of the score."),
    ),
    remark="""
        Harmless means: right on average. Whether a baseline helps is another question: a silly one
        can add noise.
        """,
)

question(
    "answers_needed",
    notebook="03",
    title="What noise costs",
    difficulty=1,
    importance=3,
    minutes=3,
    task="""
        One answer gives the gradient with an error of 8 (eight times the length of the gradient
        itself). How many answers does it take to bring the error down to 0.5?
        """,
    hints=("The error of a mean falls as one over the root of n.", "8 / √n = 0.5"),
    answer=256,
    form="a whole number",
    wrong=(
        (16, "That would be so if the error fell as 1/n. It falls as 1/√n."),
        (4, "You took the root of 16; it has to be squared."),
        (64, "8² answers bring it down to 1. You need half of that."),
    ),
    remark="Halving the noise of one answer saves three quarters of the answers.",
)
