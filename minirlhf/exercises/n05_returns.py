"""Exercises of notebook 05: what V is, by hand and by playing on."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise, question

question(
    "return_by_hand",
    notebook="05",
    title="A return by hand",
    difficulty=1,
    importance=4,
    minutes=4,
    task="""
        A response has three tokens with $R_0 = -0.2$, $R_1 = 0.4$, $R_2 = 1.2$, and $\\gamma =
        0.5$. What is the return $G_0$? (With pencil and paper; begin at the end.)
        """,
    hints=(
        "$G_2 = R_2$, since nothing follows. Then $G_1 = R_1 + \\gamma G_2$.",
        "$G_2 = 1.2$ and $G_1 = 0.4 + 0.5 \\cdot 1.2 = 1.0$. One more step of the same kind.",
    ),
    answer=0.3,
    form="a number, in reward units",
    wrong=[
        (1.4, "You added the rewards as they are: with γ = 0.5 a later reward counts for less."),
        (-0.2, "That is R_0 alone. The return also holds what comes later."),
        (0.15, "You discounted R_0, too: what token 0 earns itself counts in full."),
        (0.6, "R_2 lies two tokens ahead, so γ applies to it twice."),
    ],
    remark="Each step back multiplies all that comes later by $\\gamma$ once more.",
)


@exercise(
    notebook="05",
    title="The return from every token on",
    difficulty=2,
    importance=4,
    minutes=8,
    task="""
        Write $G_t = R_t + \\gamma G_{t+1}$ for every counted token; $G$ after the last counted
        token is 0, and the result is 0 where masked. What is masked may hold anything, NaN too.
        """,
    hints=(
        "$G_t$ needs $G_{t+1}$, so it must be there already: begin at the last column.",
        "Set masked rewards to 0 first (`rewards.where(response_mask, 0.0)`, for `0 * NaN` is "
        "NaN). Then `for t in reversed(range(R))`, one column after the other.",
        "`later = rewards[:, t] + gamma * later` and `returns[:, t] = later`, where `later` starts "
        "as zeros of shape (B,).",
    ),
    remark="You will meet this loop again in notebook 06, with $\\delta_t$ in place of $R_t$.",
)
def returns_to_go(rewards: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    """G_t = R_t + γ·G_{t+1}. rewards, response_mask: (B, R). Returns (B, R), 0 where masked."""
    rewards = rewards.where(response_mask, 0.0)
    returns, later = torch.zeros_like(rewards), torch.zeros_like(rewards.sum(dim=1))
    for t in reversed(range(rewards.shape[1])):
        later = rewards[:, t] + gamma * later
        returns[:, t] = later
    return returns.where(response_mask, 0.0)


@returns_to_go.cases
def _(draw: Draw) -> Iterator[Case]:
    three = torch.ones(1, 3, dtype=torch.bool)
    yield Case("three tokens", torch.tensor([[-0.2, 0.4, 1.2]]), three, gamma=0.5)
    yield Case("one token", torch.tensor([[2.0]]), torch.ones(1, 1, dtype=torch.bool), gamma=0.9)
    mask = draw.mask(4, 2, 0)
    rewards = draw.normal(3, 4)
    yield Case("several lengths, γ = 1", rewards, mask, gamma=1.0)
    yield Case("NaN where masked", rewards.where(mask, torch.nan), mask, gamma=0.9)
    yield Case("γ = 0: only what comes at once", rewards, mask, gamma=0.0)


@returns_to_go.wrong("Your sums run over the past: the reward before t is no longer to come.")
def _(rewards: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    rewards = rewards.where(response_mask, 0.0)
    powers = gamma ** torch.arange(rewards.shape[1])
    return (rewards * powers).cumsum(dim=1).where(response_mask, 0.0)


@returns_to_go.wrong("G_t leaves out R_t: the return from t on begins with what token t earns.")
def _(rewards: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    returns = torch.cat([rewards, torch.zeros_like(rewards[:, :1])], dim=1)
    returns = returns.where(torch.nn.functional.pad(response_mask, (0, 1)), 0.0)
    for t in reversed(range(rewards.shape[1])):
        returns[:, t] += gamma * returns[:, t + 1]
    return (gamma * returns[:, 1:]).where(response_mask, 0.0)


@returns_to_go.wrong("γ is missing: a reward one token later counts γ times as much.")
def _(rewards: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    rewards = rewards.where(response_mask, 0.0)
    return rewards.flip(1).cumsum(dim=1).flip(1).where(response_mask, 0.0)


@returns_to_go.wrong(
    "γ is applied once to all that comes later, however far away it is: the reward two "
    "tokens ahead "
    "must count γ², which happens by itself if each step uses the step before it."
)
def _(rewards: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    rewards = rewards.where(response_mask, 0.0)
    later = rewards.flip(1).cumsum(dim=1).flip(1) - rewards
    return (rewards + gamma * later).where(response_mask, 0.0)


@exercise(
    notebook="05",
    title="V by playing on",
    difficulty=2,
    importance=5,
    minutes=8,
    task="""
        From one state the Actor has gone on `n` times. `rewards` (n, W) holds what each
        continuation earned, token by token; where `mask` is False nothing is there. Return two
        scalars: the mean of the n returns ($\\gamma = 1$), which estimates $V$, and its **standard
        error**, $s/\\sqrt{n}$ with $s$ the sample standard deviation (`.std()`, which divides by n
        − 1).
        """,
    hints=(
        "First one number for each continuation: the sum of its counted rewards.",
        "`returns = rewards.where(mask, 0.0).sum(dim=1)`, then a mean and an error of the mean.",
    ),
    remark=(
        "The error shrinks as $1/\\sqrt n$: four times the continuations halve it. "
        "`minirlhf.monte_carlo_values` does this for every prefix of a response."
    ),
)
def value_by_playing_on(rewards: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean return and its standard error. rewards, mask: (n, W). Returns two scalars."""
    returns = rewards.where(mask, 0.0).sum(dim=1)
    return returns.mean(), returns.std() / len(returns) ** 0.5


@value_by_playing_on.cases
def _(draw: Draw) -> Iterator[Case]:
    all_count = torch.ones(4, 1, dtype=torch.bool)
    yield Case(
        "four continuations of one token", torch.tensor([[1.0], [2.0], [3.0], [6.0]]), all_count
    )
    mask = draw.mask(3, 1, 2, 3, 1, 2)
    rewards = draw.normal(6, 3)
    yield Case("several lengths", rewards, mask)
    yield Case("NaN where masked", rewards.where(mask, torch.nan), mask)
    yield Case("two continuations", draw.normal(2, 3), draw.mask(3, 3))
    yield Case("one that ends at once", draw.normal(3, 2), draw.mask(2, 0, 1))


@value_by_playing_on.wrong(
    "Your second number is the spread of single returns. That does not shrink with more "
    "continuations; how far off their mean may be, does."
)
def _(rewards: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    returns = rewards.where(mask, 0.0).sum(dim=1)
    return returns.mean(), returns.std()


@value_by_playing_on.wrong(
    "You took means over tokens. V is a mean over continuations, of the sum of all that each earns."
)
def _(rewards: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    returns = rewards.where(mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    return returns.mean(), returns.std() / len(returns) ** 0.5


@value_by_playing_on.wrong(
    "You averaged over all tokens of all continuations. First add up what each continuation "
    "earned; V is the mean of these sums."
)
def _(rewards: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return rewards[mask].mean(), rewards[mask].std() / len(rewards) ** 0.5


@value_by_playing_on.wrong(
    "You took the best continuation. V is what this Actor earns on average, its bad luck included."
)
def _(rewards: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    returns = rewards.where(mask, 0.0).sum(dim=1)
    return returns.max(), returns.std() / len(returns) ** 0.5


@value_by_playing_on.wrong("You divided by n where the standard error has the root of n.")
def _(rewards: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    returns = rewards.where(mask, 0.0).sum(dim=1)
    return returns.mean(), returns.std() / len(returns)
