"""Exercises of notebook 03: ∇log π, the exact gradient of one decision, and REINFORCE's loss."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="03",
    title="The gradient of a log-probability",
    difficulty=2,
    importance=4,
    minutes=6,
    task="""
        A softmax turns logits $z$ into $\\pi$. Write down the gradient of $\\log\\pi(a)$ by all
        the logits, for one token $a$, without autograd.
        """,
    hints=(
        "$\\log\\pi(a) = z_a - \\log\\sum_b e^{z_b}$. Take the derivative of both parts by $z_c$.",
        "The second part gives $\\pi(c)$ for every token; the first one gives 1 for $c = a$ only.",
    ),
    remark="""
        The push goes up at the drawn token and down at all others, each in proportion to its
        probability; it sums to 0. Where the Actor is sure, it is nearly 0.
        """,
)
def grad_log_softmax(logits: Tensor, action: int) -> Tensor:
    """∂ log π(action) / ∂ logits; logits (V,). Returns (V,)."""
    push = -logits.softmax(dim=0)
    push[action] += 1.0
    return push


@grad_log_softmax.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("two tokens, both alike", torch.zeros(2), 0)
    yield Case("four tokens", torch.tensor([0.3, 0.1, 0.4, 0.2]).log(), 2)
    yield Case("nearly sure", torch.tensor([9.0, 0.0, 0.0]), 0)
    yield Case("nearly sure of another one", torch.tensor([9.0, 0.0, 0.0]), 1)
    yield Case("logits are no log-probs", draw.normal(5) + 3.0, 4)
    yield Case("a vocabulary of one token", torch.tensor([0.7]), 0)


@grad_log_softmax.wrong(
    "You forgot the sum over all tokens: log π(a) is not z_a alone. What does raising another "
    "logit do to the probability of a?"
)
def _(logits: Tensor, action: int) -> Any:
    return torch.nn.functional.one_hot(torch.tensor(action), len(logits)).float()


@grad_log_softmax.wrong(
    "The sign is turned round: this would make the drawn token less likely (it is the gradient of "
    "the cross-entropy loss)."
)
def _(logits: Tensor, action: int) -> Any:
    return -grad_log_softmax.solution(logits, action)


@grad_log_softmax.wrong(
    "That is the gradient of π(a), not of log π(a): it has one factor of π(a) too many."
)
def _(logits: Tensor, action: int) -> Any:
    return logits.softmax(dim=0)[action] * grad_log_softmax.solution(logits, action)


@grad_log_softmax.wrong("You took the logits for log-probabilities: they need not be normalised.")
def _(logits: Tensor, action: int) -> Any:
    push = -logits.exp()
    push[action] += 1.0
    return push


@exercise(
    notebook="03",
    title="The exact gradient of one decision",
    difficulty=3,
    importance=4,
    minutes=8,
    task="""
        One decision, and the score $r(a)$ of each token is known. Write the gradient of
        $J = \\sum_a \\pi(a)\\,r(a)$ by the logits, without autograd and without sampling.
        """,
    hints=(
        "Sum $\\pi(a)\\,r(a)\\,\\nabla\\log\\pi(a)$ over all tokens, with the ∇log π of above.",
        "For logit $c$ that sum is $\\pi(c)\\,r(c) - \\pi(c)\\sum_a \\pi(a)\\,r(a)$.",
    ),
    remark="""
        $\\pi(c)\\,(r(c) - J)$: a token gains if its score is above the *average*. The baseline is
        in the exact gradient already; only samples need to be told of it.
        """,
)
def exact_policy_gradient(logits: Tensor, scores: Tensor) -> Tensor:
    """∇J by the logits; logits and scores are (V,). Returns (V,)."""
    pi = logits.softmax(dim=0)
    return pi * (scores - (pi * scores).sum())


@exact_policy_gradient.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("two tokens", torch.zeros(2), torch.tensor([1.0, 0.0]))
    yield Case("all scores the same", draw.normal(3), torch.full((3,), 2.0))
    yield Case("a rare good token", torch.tensor([3.0, 3.0, -3.0]), torch.tensor([0.0, 0.0, 1.0]))
    yield Case("five tokens", draw.normal(5), draw.normal(5))
    yield Case("one token", torch.zeros(1), torch.tensor([3.0]))


@exact_policy_gradient.wrong(
    "You raise every token by π·r, so that equal scores would still push everything up. What is "
    "missing is what a higher logit takes from the others."
)
def _(logits: Tensor, scores: Tensor) -> Any:
    return logits.softmax(dim=0) * scores


@exact_policy_gradient.wrong(
    "You compare with the plain mean of the scores. J is the mean under the policy: a token that "
    "is never written must not count."
)
def _(logits: Tensor, scores: Tensor) -> Any:
    return logits.softmax(dim=0) * (scores - scores.mean())


@exact_policy_gradient.wrong(
    "The factor π(c) is missing: a token that is hardly ever written can hardly change J."
)
def _(logits: Tensor, scores: Tensor) -> Any:
    return scores - (logits.softmax(dim=0) * scores).sum()


@exact_policy_gradient.wrong("The sign is turned round: J is to be raised; a loss would fall.")
def _(logits: Tensor, scores: Tensor) -> Any:
    return -exact_policy_gradient.solution(logits, scores)
