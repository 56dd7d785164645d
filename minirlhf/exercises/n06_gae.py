"""Exercises of notebook 06: surprises, and how GAE adds them up."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="06",
    title="The surprises",
    difficulty=2,
    importance=5,
    minutes=6,
    task="""
        Write $\\delta_t = R_t + \\gamma V_{t+1} - V_t$ for every counted token, with $V = 0$ after
        the last one, 0 where masked. All (B, R); what is masked may hold anything, NaN too.
        """,
    hints=(
        "It is the target of notebook 05, minus what the Critic said.",
        "`.where(response_mask, 0.0)` on both inputs first; then move `values` to the left.",
    ),
    remark="`gae(…, lam=0.0)` gives exactly this as the advantages.",
)
def surprises(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    """δ_t = R_t + γ·V_{t+1} − V_t. All (B, R). Returns (B, R), 0 where masked."""
    rewards, values = (x.where(response_mask, 0.0) for x in (rewards, values))
    next_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    return (rewards + gamma * next_values - values).where(response_mask, 0.0)


def _inputs(draw: Draw) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Names and (rewards, values, mask), the simplest first."""
    three = torch.ones(1, 3, dtype=torch.bool)
    yield "three tokens", torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.2, 0.6, 0.4]]), three
    yield "one token", torch.tensor([[1.0]]), torch.tensor([[0.3]]), three[:, :1]
    mask = draw.mask(4, 2, 0)
    rewards, values = draw.normal(3, 4), draw.normal(3, 4)
    yield "several lengths", rewards, values, mask
    yield "NaN where masked", rewards.where(mask, torch.nan), values.where(mask, torch.nan), mask


@surprises.cases
def _(draw: Draw) -> Iterator[Case]:
    for name, *tensors in _inputs(draw):
        yield Case(name, *tensors, gamma=0.9)
    yield Case("γ = 0", draw.normal(2, 3), draw.normal(2, 3), draw.mask(3, 1), gamma=0.0)


@surprises.wrong("The sign: δ is what came out minus what was said. Good news is positive.")
def _(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    delta: Tensor = surprises.solution(rewards, values, response_mask, gamma=gamma)
    return -delta


@surprises.wrong("That is the target. δ says how far the Critic was from it: V_t is missing.")
def _(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    rewards, values = (x.where(response_mask, 0.0) for x in (rewards, values))
    next_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    return (rewards + gamma * next_values).where(response_mask, 0.0)


@surprises.wrong(
    "V_{t+1} is missing: R_t alone is no surprise, most of the reward is still to come."
)
def _(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    return (rewards - values).where(response_mask, 0.0)


@surprises.wrong(
    "The first V has come round to the end: `torch.roll` moves in a circle. After the last column "
    "comes nothing, so 0."
)
def _(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    rewards, values = (x.where(response_mask, 0.0) for x in (rewards, values))
    return (rewards + gamma * values.roll(-1, dims=1) - values).where(response_mask, 0.0)


@surprises.wrong("You read V behind the end of the shorter rows; nothing is to be earned there.")
def _(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    next_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    return (rewards + gamma * next_values - values).where(response_mask, 0.0)


@exercise(
    notebook="06",
    title="Generalised advantage estimation",
    difficulty=3,
    importance=5,
    minutes=15,
    task="""
        Write GAE: $\\hat A_t = \\delta_t + \\gamma\\lambda\\,\\hat A_{t+1}$ for every counted
        token, and the returns $\\hat A_t + V_t$. Return both, (B, R) each, raw (not whitened), 0
        where masked. Rows have different lengths; what is masked may hold anything.
        """,
    hints=(
        "First all $\\delta_t$ at once, 0 where masked. Then a loop over the columns "
        "that begins with "
        "the last.",
        "In a short row the masked columns come first in this loop, and they have "
        "$\\delta = 0$. So "
        "$\\hat A$ is still 0 when the loop reaches the row's last counted token: no special case.",
        "`for t in reversed(range(R)): later = delta[:, t] + gamma * lam * later; "
        "advantages[:, t] = later`, with `later` starting as zeros of shape (B,).",
    ),
    remark="`minirlhf.gae` is this loop, and checks its inputs.",
)
def gae(
    rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns. All (B, R). Returns two (B, R), 0 where masked."""
    rewards, values = (x.where(response_mask, 0.0) for x in (rewards, values))
    next_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    delta = (rewards + gamma * next_values - values).where(response_mask, 0.0)
    advantages, later = torch.zeros_like(delta), torch.zeros_like(delta.sum(dim=1))
    for t in reversed(range(delta.shape[1])):
        later = delta[:, t] + gamma * lam * later
        advantages[:, t] = later
    return advantages, (advantages + values).where(response_mask, 0.0)


@gae.cases
def _(draw: Draw) -> Iterator[Case]:
    for name, *tensors in _inputs(draw):
        yield Case(name, *tensors, gamma=0.9, lam=0.5)
    mask = draw.mask(4, 3)
    tensors = [draw.normal(2, 4), draw.normal(2, 4), mask]
    for gamma, lam in ((1.0, 0.0), (1.0, 1.0), (0.0, 0.95), (1.0, 0.95)):
        yield Case(f"γ = {gamma:g}, λ = {lam:g}", *tensors, gamma=gamma, lam=lam)


@gae.wrong(
    "Your loop runs forwards. Â_t contains Â_{t+1}, which is not there yet: you add the "
    "past instead."
)
def _(
    rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    delta: Tensor = surprises.solution(rewards, values, response_mask, gamma=gamma)
    advantages, before = torch.zeros_like(delta), torch.zeros_like(delta.sum(dim=1))
    for t in range(delta.shape[1]):
        before = delta[:, t] + gamma * lam * before
        advantages[:, t] = before.where(response_mask[:, t], 0.0)
    return advantages, (advantages + values).where(response_mask, 0.0)


def _summed(delta: Tensor, factor: float) -> Tensor:
    advantages, later = torch.zeros_like(delta), torch.zeros_like(delta.sum(dim=1))
    for t in reversed(range(delta.shape[1])):
        later = delta[:, t] + factor * later
        advantages[:, t] = later
    return advantages


@gae.wrong("γ is missing in the sum: a surprise one token later counts γ·λ times as much.")
def _(
    rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    advantages = _summed(surprises.solution(rewards, values, response_mask, gamma=gamma), lam)
    return advantages, (advantages + values).where(response_mask, 0.0)


@gae.wrong("λ is missing: you added all later surprises, which is the case λ = 1.")
def _(
    rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    advantages = _summed(surprises.solution(rewards, values, response_mask, gamma=gamma), gamma)
    return advantages, (advantages + values).where(response_mask, 0.0)


@gae.wrong(
    "You read V behind the end of the shorter rows; nothing is to be earned there, so their last "
    "δ_t has no V_{t+1}."
)
def _(
    rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    next_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    delta = (rewards + gamma * next_values - values).where(response_mask, 0.0)
    advantages = _summed(delta, gamma * lam)
    return advantages, (advantages + values).where(response_mask, 0.0)


@gae.wrong("Your returns are Â_t + R_t. What must be added is what the Critic said: V_t.")
def _(
    rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    advantages = gae.solution(rewards, values, response_mask, gamma=gamma, lam=lam)[0]
    return advantages, (advantages + rewards).where(response_mask, 0.0)
