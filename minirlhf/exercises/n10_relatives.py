"""Exercises of notebook 10: advantages without a Critic, and DPO's loss."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="10",
    title="RLOO: compare with the others",
    difficulty=2,
    importance=5,
    minutes=8,
    task="""
        Each of G prompts was answered K times, and $G_i$ is the whole return of answer i (score
        minus toll). Write RLOO's advantage: $G_i$ minus the mean return of the *other* K − 1
        answers to the same prompt. In and out: (G, K).
        """,
    hints=(
        "The sum of the others is the sum of all, minus one's own.",
        "`total = returns.sum(dim=1, keepdim=True)`; then `(total - returns) / (K - 1)` is the "
        "mean of the others.",
    ),
    remark="""
        `minirlhf.rloo_advantages` does this for a whole rollout. Leaving one's own return out is
        what keeps the gradient exact: the baseline must not look at the action (notebook 03).
        """,
)
def leave_one_out(returns: Tensor) -> Tensor:
    """Return minus the mean of the other answers to the prompt; (G, K), reward units."""
    others = (returns.sum(dim=1, keepdim=True) - returns) / (returns.shape[1] - 1)
    return returns - others


@leave_one_out.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("one prompt, three answers", torch.tensor([[1.0, 2.0, 6.0]]))
    yield Case("two answers", torch.tensor([[0.5, 3.5]]))
    yield Case("all answers alike", torch.full((2, 4), 1.7))
    yield Case(
        "three prompts of different worth", draw.normal(3, 4) + torch.tensor([[5.0], [0], [-5]])
    )
    yield Case("as many prompts as answers", draw.normal(4, 4))


@leave_one_out.wrong(
    "You subtract the mean of all answers, one's own included. Then the baseline looks at the "
    "action, and every advantage is (K − 1)/K of what it should be."
)
def _(returns: Tensor) -> Tensor:
    return returns - returns.mean(dim=1, keepdim=True)


@leave_one_out.wrong(
    "The sum of the others is right, but they are K − 1, not K: with two answers the baseline "
    "would be half of the other's return."
)
def _(returns: Tensor) -> Tensor:
    others = (returns.sum(dim=1, keepdim=True) - returns) / returns.shape[1]
    return returns - others


@leave_one_out.wrong(
    "You compare with the answers to all prompts. An easy prompt then makes all of its answers "
    "look good; compare within a row."
)
def _(returns: Tensor) -> Tensor:
    return returns - (returns.sum() - returns) / max(1, returns.numel() - 1)


@leave_one_out.wrong(
    "You compare along the wrong axis: answer i of one prompt with answer i of the others. Rows "
    "are prompts."
)
def _(returns: Tensor) -> Tensor:
    others = (returns.sum(dim=0, keepdim=True) - returns) / max(1, returns.shape[0] - 1)
    return returns - others


@exercise(
    notebook="10",
    title="GRPO: in standard deviations of the group",
    difficulty=2,
    importance=4,
    minutes=8,
    task="""
        The same table of K answers to each of G prompts, now with their *scores*, since GRPO puts
        the toll into the loss. Write its advantage: the score minus the mean of the group (all K
        answers to the prompt), divided by the group's standard deviation plus $10^{-6}$. The
        deviation is to be divided by K, not by K − 1.
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
