"""Exercises of notebook 06: what λ = 1 is, and what is done with advantages afterwards."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="06",
    title="λ = 1 without a loop over δ",
    difficulty=3,
    importance=4,
    minutes=8,
    task="""
        For $\\lambda = 1$ and $\\gamma = 1$ all the $V$ in between cancel. Write $\\hat A_t$ for
        this case **without** computing any $\\delta_t$: only from sums of rewards and from $V_t$.
        All (B, R), 0 where masked; what is masked may hold anything.
        """,
    hints=(
        "Write out $\\delta_0 + \\delta_1 + \\delta_2$ for a response of three tokens. "
        "Which $V$ are left?",
        "All the reward from $t$ on, minus $V_t$. Sums from the end are "
        "`x.flip(1).cumsum(dim=1).flip(1)`.",
    ),
    remark=(
        "So with $\\lambda = 1$ the Critic is a plain baseline, as in notebook 03: no "
        "error of it can "
        "bend the gradient, but all the luck of the future is in $\\hat A_t$."
    ),
)
def advantage_at_lambda_1(rewards: Tensor, values: Tensor, response_mask: Tensor) -> Tensor:
    """All the reward from t on, minus V_t. All (B, R). Returns (B, R), 0 where masked."""
    rewards, values = (x.where(response_mask, 0.0) for x in (rewards, values))
    return rewards.flip(1).cumsum(dim=1).flip(1) - values


@advantage_at_lambda_1.cases
def _(draw: Draw) -> Iterator[Case]:
    three = torch.ones(1, 3, dtype=torch.bool)
    rewards, values = torch.tensor([[0.0, -0.1, 1.0]]), torch.tensor([[0.2, 0.6, 0.4]])
    yield Case("three tokens", rewards, values, three)
    yield Case("one token", torch.tensor([[1.0]]), torch.tensor([[0.3]]), three[:, :1])
    mask = draw.mask(4, 2, 0)
    rewards, values = draw.normal(3, 4), draw.normal(3, 4)
    yield Case("several lengths", rewards, values, mask)
    yield Case(
        "NaN where masked", rewards.where(mask, torch.nan), values.where(mask, torch.nan), mask
    )
    yield Case("a perfect Critic", torch.tensor([[0.0, 0.0, 1.0]]), torch.ones(1, 3), three)


@advantage_at_lambda_1.wrong(
    "You left out R_t itself: what token t earns is part of what follows it."
)
def _(rewards: Tensor, values: Tensor, response_mask: Tensor) -> Tensor:
    rewards, values = (x.where(response_mask, 0.0) for x in (rewards, values))
    return rewards.flip(1).cumsum(dim=1).flip(1) - rewards - values


@advantage_at_lambda_1.wrong("That is the return. How much better is it than what the Critic said?")
def _(rewards: Tensor, values: Tensor, response_mask: Tensor) -> Tensor:
    return rewards.where(response_mask, 0.0).flip(1).cumsum(dim=1).flip(1)


@advantage_at_lambda_1.wrong("You summed from the front: the reward before t is past.")
def _(rewards: Tensor, values: Tensor, response_mask: Tensor) -> Tensor:
    rewards, values = (x.where(response_mask, 0.0) for x in (rewards, values))
    return (rewards.cumsum(dim=1) - values).where(response_mask, 0.0)


@advantage_at_lambda_1.wrong(
    "That is λ = 0: one step, then V again. With λ = 1 no later V is left."
)
def _(rewards: Tensor, values: Tensor, response_mask: Tensor) -> Tensor:
    rewards, values = (x.where(response_mask, 0.0) for x in (rewards, values))
    return rewards + torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1) - values


@exercise(
    notebook="06",
    title="Whitening",
    difficulty=2,
    importance=4,
    minutes=8,
    task="""
        Shift the counted entries to mean 0 and scale them to variance 1: $(x -
        \\text{mean})/\\sqrt{\\text{var} + 10^{-8}}$, mean and variance over **all counted tokens of
        the batch**, the variance divided by n (not n − 1). 0 where masked, which may hold anything.
        """,
    hints=(
        "`x[mask]` is a flat tensor of the counted entries; `.var(unbiased=False)` divides by n.",
        "`((x - mean) * torch.rsqrt(variance + 1e-8)).where(mask, 0.0)`.",
    ),
    remark=(
        "The $10^{-8}$ is for the case that all entries are equal. "
        "`minirlhf.masked_whiten` is this "
        "function; PPO whitens once per rollout."
    ),
)
def masked_whiten(x: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the counted entries. x, mask: (B, R). Returns (B, R)."""
    counted = x[mask]
    variance = counted.var(unbiased=False)
    return ((x - counted.mean()) * torch.rsqrt(variance + 1e-8)).where(mask, 0.0)


@masked_whiten.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("three tokens", torch.tensor([[1.0, 2.0, 6.0]]), torch.ones(1, 3, dtype=torch.bool))
    mask = draw.mask(4, 2, 3)
    x = 3.0 * draw.normal(3, 4) + 1.0
    yield Case("several lengths", x, mask)
    yield Case("NaN where masked", x.where(mask, torch.nan), mask)
    yield Case("all equal", torch.full((2, 3), 0.7), draw.mask(3, 1))
    yield Case("one token", torch.tensor([[5.0, 1.0]]), draw.mask(1, width=2))


@masked_whiten.wrong("Padding is in your mean and variance: look at the counted tokens only.")
def _(x: Tensor, mask: Tensor) -> Tensor:
    return ((x - x.mean()) * torch.rsqrt(x.var(unbiased=False) + 1e-8)).where(mask, 0.0)


@masked_whiten.wrong(
    "You whitened each response by itself. Then a good response and a bad one look "
    "alike: whether a "
    "token is good shows only beside those of other responses."
)
def _(x: Tensor, mask: Tensor) -> Tensor:
    n = mask.sum(dim=1, keepdim=True).clamp(min=1)
    mean = x.where(mask, 0.0).sum(dim=1, keepdim=True) / n
    variance = ((x - mean) ** 2).where(mask, 0.0).sum(dim=1, keepdim=True) / n
    return ((x - mean) * torch.rsqrt(variance + 1e-8)).where(mask, 0.0)


@masked_whiten.wrong(
    "Your variance divides by n − 1, torch's default; asked for is `unbiased=False`, which divides "
    "by n."
)
def _(x: Tensor, mask: Tensor) -> Tensor:
    return ((x - x[mask].mean()) * torch.rsqrt(x[mask].var() + 1e-8)).where(mask, 0.0)


@masked_whiten.wrong("You scaled but did not shift: the mean is still there.")
def _(x: Tensor, mask: Tensor) -> Tensor:
    return (x * torch.rsqrt(x[mask].var(unbiased=False) + 1e-8)).where(mask, 0.0)


@masked_whiten.wrong("You divided by the variance; its root, the standard deviation, is the scale.")
def _(x: Tensor, mask: Tensor) -> Tensor:
    return ((x - x[mask].mean()) / (x[mask].var(unbiased=False) + 1e-8)).where(mask, 0.0)
