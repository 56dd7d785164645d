"""Exercises of notebook 05: R_t + γV_{t+1}, on average and for one token."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="05",
    title="One step of Bellman's equation",
    difficulty=2,
    importance=5,
    minutes=6,
    task="""
        For one state: `pi` (V,) are the probabilities of the next token, `rewards` (V,) what each
        token earns at once, and `next_values` (V,) what is to be expected after it (0 after an
        EOS). Return $V(s) = \\sum_a \\pi(a|s)\\,[R(s, a) + \\gamma V(s')]$, a scalar.
        """,
    hints=(
        "A mean over the tokens in which each weighs as much as it is likely.",
        "Put $R(s, a) + \\gamma V(s')$ for all tokens into one tensor; multiply by `pi` and sum.",
    ),
    remark=(
        "It says how $V$ at one state hangs on $V$ one token later. All of this notebook is in it."
    ),
)
def bellman(pi: Tensor, rewards: Tensor, next_values: Tensor, *, gamma: float) -> Tensor:
    """Σ_a π(a|s)·(R(s, a) + γ·V(s')). All (V,). Returns a scalar, reward units."""
    return (pi * (rewards + gamma * next_values)).sum()


@bellman.cases
def _(draw: Draw) -> Iterator[Case]:
    two = torch.tensor([0.75, 0.25])
    yield Case("two tokens", two, torch.tensor([0.0, 1.0]), torch.tensor([2.0, 0.0]), gamma=1.0)
    pi = draw.normal(5).softmax(dim=0)
    yield Case("five tokens, γ = 0.9", pi, draw.normal(5), draw.normal(5), gamma=0.9)
    yield Case("γ = 0", pi, draw.normal(5), draw.normal(5), gamma=0.0)
    last = torch.zeros(5)
    yield Case("every token ends the response", pi, draw.normal(5), last, gamma=1.0)
    sure = torch.tensor([0.0, 1.0, 0.0])
    yield Case("one token is certain", sure, draw.normal(3), draw.normal(3), gamma=1.0)


@bellman.wrong(
    "You took the best token. That is the value of an Actor that always chooses best (Q-learning); "
    "V belongs to the Actor as it is."
)
def _(pi: Tensor, rewards: Tensor, next_values: Tensor, *, gamma: float) -> Tensor:
    return (rewards + gamma * next_values).max()


@bellman.wrong("You took a plain mean: a token that is never written must not count.")
def _(pi: Tensor, rewards: Tensor, next_values: Tensor, *, gamma: float) -> Tensor:
    return (rewards + gamma * next_values).mean()


@bellman.wrong("You discounted R, too: only what comes one token later counts γ times.")
def _(pi: Tensor, rewards: Tensor, next_values: Tensor, *, gamma: float) -> Tensor:
    return gamma * (pi * (rewards + next_values)).sum()


@bellman.wrong("Something is missing that is earned at once, with the token itself.")
def _(pi: Tensor, rewards: Tensor, next_values: Tensor, *, gamma: float) -> Tensor:
    return gamma * (pi * next_values).sum()


@exercise(
    notebook="05",
    title="The Critic's target",
    difficulty=2,
    importance=5,
    minutes=8,
    task="""
        Write $R_t + \\gamma V_{t+1}$ for every counted token. $V$ after the last counted token is
        0, and the result is 0 where masked. All tensors are (B, R); what is masked may hold
        anything.
        """,
    hints=(
        "$V_{t+1}$ is `values` moved one place to the left. What comes in from the right?",
        "`torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)` moves it. "
        "Look at the "
        "last counted token of a short row: which number stands beside it now?",
        "A masked $V_{t+1}$ must count as 0: `values.where(response_mask, 0.0)` before moving.",
    ),
    remark="`minirlhf.td_target` says the same, and refuses masks with gaps.",
)
def td_target(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    """R_t + γ·V_{t+1}; V after the last counted token is 0. Returns (B, R), 0 where masked."""
    values = values.where(response_mask, 0.0)  # a masked V counts as 0
    next_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    return (rewards + gamma * next_values).where(response_mask, 0.0)


@td_target.cases
def _(draw: Draw) -> Iterator[Case]:
    two = torch.ones(1, 2, dtype=torch.bool)
    yield Case("two tokens", torch.tensor([[0.0, 1.0]]), torch.tensor([[0.2, 0.5]]), two, gamma=1.0)
    one = torch.ones(1, 1, dtype=torch.bool)
    yield Case("one token", torch.tensor([[1.0]]), torch.tensor([[0.5]]), one, gamma=1.0)
    mask = draw.mask(4, 2, 0)
    rewards, values = draw.normal(3, 4), draw.normal(3, 4)
    yield Case("padding, γ = 0.9", rewards, values, mask, gamma=0.9)
    nothing = torch.tensor(torch.nan)
    hidden = rewards.where(mask, nothing), values.where(mask, nothing)
    yield Case("NaN where masked", *hidden, mask, gamma=0.9)
    yield Case("γ = 0", rewards, values, mask, gamma=0.0)


@td_target.wrong("You read V_t where V_{t+1} belongs: the target looks one token ahead.")
def _(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    return (rewards + gamma * values).where(response_mask, 0.0)


@td_target.wrong("You moved V the wrong way: beside token t now stands V of the token before it.")
def _(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    before = torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], dim=1)
    return (rewards + gamma * before).where(response_mask, 0.0)


@td_target.wrong(
    "You read V behind the end: in a short row the number after the last counted token is padding, "
    "and nothing more can be earned there."
)
def _(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    next_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    return (rewards + gamma * next_values).where(response_mask, 0.0)


@td_target.wrong(
    "At the last token you go on with its own V. The response is over there: what is left to earn?"
)
def _(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    after = torch.cat([values[:, 1:], values[:, -1:]], dim=1)
    counted = torch.cat([response_mask[:, 1:], torch.zeros_like(response_mask[:, :1])], dim=1)
    after = torch.where(counted, after, values)
    return (rewards + gamma * after).where(response_mask, 0.0)


@td_target.wrong(
    "The first V has come round to the end: `torch.roll` moves in a circle. After the last column "
    "comes nothing, so 0."
)
def _(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    next_values = values.where(response_mask, 0.0).roll(-1, dims=1)
    return (rewards + gamma * next_values).where(response_mask, 0.0)


@td_target.wrong("γ is missing: what comes one token later counts γ times.")
def _(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    target: Tensor = td_target.solution(rewards, values, response_mask, gamma=1.0)
    return target
