"""Exercises of notebook 03: the reward still to come, and REINFORCE as a loss."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

import minirlhf
from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="03",
    title="The reward still to come",
    difficulty=2,
    importance=4,
    minutes=7,
    task="""
        Write $G_t = R_t + \\gamma R_{t+1} + \\gamma^2 R_{t+2} + \\dots$ for each counted token:
        what came at this token and after it. With $\\gamma = 1$ it is the sum above; a smaller
        $\\gamma$ makes later rewards count less. 0 where masked; `rewards` may hold NaN there.
        """,
    hints=(
        "From the end backwards: $G_t = R_t + \\gamma\\,G_{t+1}$.",
        "Set masked rewards to 0 with `torch.where` first, then loop over `reversed(range(R))`.",
    ),
    remark="""
        Backwards, since $G_t$ is made of $G_{t+1}$. Notebook 06 runs the same loop for GAE.
        """,
)
def reward_to_go(rewards: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    """G_t; both (B, R). Returns (B, R), 0 where masked."""
    rewards = torch.where(response_mask, rewards, 0.0)
    to_go = torch.zeros_like(rewards)
    after = torch.zeros_like(rewards[:, :0].sum(dim=1))
    for t in reversed(range(rewards.shape[1])):
        after = rewards[:, t] + gamma * after
        to_go[:, t] = after
    return to_go.where(response_mask, 0.0)


@reward_to_go.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("one token", torch.tensor([[2.0]]), draw.mask(1), gamma=1.0)
    yield Case("three tokens", torch.tensor([[1.0, 2.0, 4.0]]), draw.mask(3), gamma=1.0)
    yield Case("γ = ½", torch.tensor([[1.0, 2.0, 4.0]]), draw.mask(3), gamma=0.5)
    yield Case("γ = 0", torch.tensor([[1.0, 2.0, 4.0]]), draw.mask(3), gamma=0.0)
    yield Case("all of it at the end", torch.tensor([[0.0, 0.0, 3.0]]), draw.mask(3), gamma=1.0)
    mask = draw.mask(4, 2, 0)
    holes = draw.normal(3, 4).where(mask, torch.nan)
    yield Case("NaN in the padding", holes, mask, gamma=0.9)
    yield Case("no place at all", draw.normal(2, 0), draw.mask(0, 0), gamma=1.0)


@reward_to_go.wrong(
    "You add up from the left: that is the reward received so far. A token cannot change the past."
)
def _(rewards: Tensor, response_mask: Tensor, *, gamma: float) -> Any:
    flipped = torch.where(response_mask, rewards, 0.0).flip(1)
    mask = torch.ones_like(response_mask)
    return reward_to_go.solution(flipped, mask, gamma=gamma).flip(1).where(response_mask, 0.0)


@reward_to_go.wrong(
    "Every token gets the whole return. That is not biased, but noisier than it need be: rewards "
    "from before the token do not belong to it."
)
def _(rewards: Tensor, response_mask: Tensor, *, gamma: float) -> Any:
    whole = reward_to_go.solution(rewards, response_mask, gamma=gamma)[:, :1]
    return whole.expand(rewards.shape).where(response_mask, 0.0)


@reward_to_go.wrong("γ is missing: a reward that comes k tokens later counts γ to the power k.")
def _(rewards: Tensor, response_mask: Tensor, *, gamma: float) -> Any:
    return reward_to_go.solution(rewards, response_mask, gamma=1.0)


@reward_to_go.wrong("You left out R_t itself: the sum begins at this token, not at the next one.")
def _(rewards: Tensor, response_mask: Tensor, *, gamma: float) -> Any:
    right = reward_to_go.solution(rewards, response_mask, gamma=gamma)
    return right - torch.where(response_mask, rewards, 0.0)


@reward_to_go.wrong(
    "You discount by the place in the answer. The power of γ counts tokens from t on, not from the "
    "beginning."
)
def _(rewards: Tensor, response_mask: Tensor, *, gamma: float) -> Any:
    powers = gamma ** torch.arange(rewards.shape[1])
    right = reward_to_go.solution(rewards * powers, response_mask, gamma=1.0)
    return right


@exercise(
    notebook="03",
    title="REINFORCE as a loss",
    difficulty=2,
    importance=5,
    minutes=7,
    task="""
        Write a loss whose gradient is minus the sampled policy gradient: the mean over all counted
        tokens of $-\\hat{A}_t\\,\\log\\pi(A_t \\mid S_t)$, and 0 if none counts. $\\hat{A}_t$ is
        the token's weight: $G_t$, or from the next section on something better. The check looks at
        the gradient by `log_probs`, too; masked places may hold NaN.
        """,
    hints=(
        "One mean over all counted tokens of the batch: sum over the mask, divided by the mask's "
        "sum (or by 1, if that is 0).",
        "`minirlhf.masked_mean(x, mask)` is that mean, and reads no masked place.",
    ),
    remark="""
        For the first step on fresh samples, `minirlhf.actor_loss` has the same gradient (and
        another value).
        """,
    gradient_of=("log_probs",),
)
def reinforce_loss(log_probs: Tensor, advantages: Tensor, response_mask: Tensor) -> Tensor:
    """A scalar; all three are (B, R)."""
    return minirlhf.masked_mean(-advantages * log_probs, response_mask)


@reinforce_loss.cases
def _(draw: Draw) -> Iterator[Case]:
    one = torch.tensor([[-0.5]])
    yield Case("one good token", one, torch.tensor([[2.0]]), draw.mask(1))
    yield Case("one bad token", one, torch.tensor([[-2.0]]), draw.mask(1))
    yield Case("three tokens", draw.log_probs(1, 3), draw.normal(1, 3), draw.mask(3))
    mask = draw.mask(4, 1)
    yield Case("rows of different lengths", draw.log_probs(2, 4), draw.normal(2, 4), mask)
    log_probs = draw.log_probs(2, 4).where(mask, torch.nan)
    yield Case("NaN in the padding", log_probs, draw.normal(2, 4).where(mask, torch.nan), mask)
    yield Case("nothing counted", draw.log_probs(1, 2), draw.normal(1, 2), draw.mask(0, width=2))


@reinforce_loss.wrong(
    "The sign is turned round: an optimiser makes a loss smaller, and this one gets smaller when "
    "good tokens become less likely."
)
def _(log_probs: Tensor, advantages: Tensor, response_mask: Tensor) -> Any:
    return -reinforce_loss.solution(log_probs, advantages, response_mask)


@reinforce_loss.wrong("Padding is in your mean: it makes the loss smaller, the wider the batch is.")
def _(log_probs: Tensor, advantages: Tensor, response_mask: Tensor) -> Any:
    counted = torch.where(response_mask, -advantages * log_probs, 0.0)
    return counted.mean()


@reinforce_loss.wrong(
    "You take a mean within each answer first, then over answers. So a token of a long answer "
    "counts less, and the gradient leans towards short answers."
)
def _(log_probs: Tensor, advantages: Tensor, response_mask: Tensor) -> Any:
    counted = torch.where(response_mask, -advantages * log_probs, 0.0)
    return (counted.sum(dim=1) / response_mask.sum(dim=1).clamp(min=1)).mean()


@reinforce_loss.wrong(
    "You use probabilities: ∇π instead of ∇log π. A rare token is rarely drawn already, and would "
    "now be pushed less as well."
)
def _(log_probs: Tensor, advantages: Tensor, response_mask: Tensor) -> Any:
    return reinforce_loss.solution(log_probs.exp(), advantages, response_mask)


@reinforce_loss.wrong("That is the sum. A batch with more tokens would push harder; take the mean.")
def _(log_probs: Tensor, advantages: Tensor, response_mask: Tensor) -> Any:
    return torch.where(response_mask, -advantages * log_probs, 0.0).sum()


@reinforce_loss.wrong("Where nothing is counted you divide 0 by 0. There the loss is 0.")
def _(log_probs: Tensor, advantages: Tensor, response_mask: Tensor) -> Any:
    counted = torch.where(response_mask, -advantages * log_probs, 0.0)
    return counted.sum() / response_mask.sum()


@reinforce_loss.wrong(
    "The value is right and the gradient is 0: log_probs was detached (or put through no_grad). "
    "Such a loss trains nothing."
)
def _(log_probs: Tensor, advantages: Tensor, response_mask: Tensor) -> Any:
    return reinforce_loss.solution(log_probs.detach(), advantages, response_mask)
