"""Exercise of notebook 10: advantages without a Critic."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="10",
    title="GRPO: in standard deviations of the group",
    difficulty=2,
    importance=4,
    minutes=8,
    task="""
        Each of G prompts was answered K times: a table (G, K) of *scores*, since GRPO puts the toll
        into the loss. Write its advantage: the score minus the mean of the group (all K answers to
        the prompt), divided by the group's standard deviation plus $10^{-6}$. The deviation is to
        be divided by K, not by K − 1. In and out: (G, K).
        """,
    hints=(
        "`scores.std(dim=1, keepdim=True, correction=0)` divides by K.",
        "Where all answers score alike the result must be 0, not NaN; that is what $10^{-6}$ is "
        "for.",
    ),
    remark="""
        `minirlhf.grpo_advantages` is the same. Dividing makes every prompt weigh alike, whether its
        answers differ by much or by a hair; a prompt whose answers all score alike teaches nothing
        at all.
        """,
)
def group_advantages(scores: Tensor) -> Tensor:
    """(score − mean) / (std + 1e-6) within each row; (G, K), no unit."""
    mean = scores.mean(dim=1, keepdim=True)
    return (scores - mean) / (scores.std(dim=1, correction=0, keepdim=True) + 1e-6)


@group_advantages.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("two answers", torch.tensor([[0.5, 3.5]]))
    yield Case("all answers alike", torch.full((1, 4), 2.0))
    yield Case(
        "prompts of different worth and spread", draw.normal(3, 4) * 3 + torch.arange(3)[:, None]
    )
    yield Case("eight answers", draw.normal(1, 8))
    yield Case("three answers, two alike", torch.tensor([[1.0, 1.0, 4.0]]))


@group_advantages.wrong(
    "Your standard deviation divides by K − 1 (PyTorch's own choice). GRPO's divides by K; with "
    "small groups that is a large difference."
)
def _(scores: Tensor) -> Tensor:
    mean = scores.mean(dim=1, keepdim=True)
    return (scores - mean) / (scores.std(dim=1, keepdim=True) + 1e-6)


@group_advantages.wrong(
    "You compare with the whole batch. The group is the answers to one prompt: a row."
)
def _(scores: Tensor) -> Tensor:
    return (scores - scores.mean()) / (scores.std(correction=0) + 1e-6)


@group_advantages.wrong(
    "The mean is subtracted, but the division by the group's standard deviation is missing (that "
    "is a variant, called Dr. GRPO)."
)
def _(scores: Tensor) -> Tensor:
    return scores - scores.mean(dim=1, keepdim=True)


@group_advantages.wrong(
    "You divide by the variance. The standard deviation is its square root; only then does the "
    "result have no unit."
)
def _(scores: Tensor) -> Tensor:
    mean = scores.mean(dim=1, keepdim=True)
    return (scores - mean) / (scores.var(dim=1, correction=0, keepdim=True) + 1e-6)
