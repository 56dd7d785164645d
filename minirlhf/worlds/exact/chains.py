"""How many updates a critic needs on a chain: R tokens, no choice, a score of 1 with the last.

Nothing here is random and the true V is 1 everywhere, so all there is to learning V is to carry the
score back from the last token to the first. "td" looks one token ahead, and carries it one token
per update. "gae" looks ahead over a random number of tokens, 1/(1 − λ) on average (20 at λ = 0.95),
and carries it that much faster. Where answers are random it pays for this: its targets hold the
luck of all those tokens instead of one.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from minirlhf.advantages import gae, td_target
from minirlhf.config import CriticTarget

SLACK = 1e-12  # an error equal to the tolerance but for rounding is not below it


@dataclass(frozen=True)
class ChainFit:
    """One chain, learnt from V̂ = 0 with either target."""

    length: int  # R, tokens
    td: int  # updates until every error is below the tolerance, targets R_t + γV̂_{t+1}
    gae: int  # the same, targets Â_t + V̂_t

    @property
    def ratio(self) -> float:
        """How many times as many updates "td" needs."""
        return self.td / self.gae


def td_against_gae(
    lengths: Iterable[int] = range(2, 25),
    *,
    lam: float = 0.95,
    learning_rate: float = 1.0,
    value_clip_range: float | None = None,
    tolerance: float = 0.05,
) -> tuple[ChainFit, ...]:
    """Updates until |V̂ − V| < tolerance at every token, for chains of several lengths.

    Args:
        lengths: R of each chain, tokens.
        lam: λ of "gae"; γ is 1.
        learning_rate: see `chain_values`.
        value_clip_range: see `chain_values`.
        tolerance: reward units, > 0; the score is 1.

    Returns:
        One entry for each length, in their order.
    """

    def needed(length: int, critic_target: CriticTarget) -> int:
        updates = chain_values(
            length,
            critic_target,
            lam=lam,
            learning_rate=learning_rate,
            value_clip_range=value_clip_range,
        )
        wrong = (float((values - 1.0).abs().max()) >= tolerance - SLACK for values in updates)
        return next(count for count, still_wrong in enumerate(wrong) if not still_wrong)

    return tuple(
        ChainFit(length, needed(length, "td"), needed(length, "gae")) for length in lengths
    )


def chain_values(
    length: int,
    critic_target: CriticTarget,
    *,
    lam: float = 0.95,
    learning_rate: float = 1.0,
    value_clip_range: float | None = None,
) -> Iterator[Tensor]:
    """The critic after 0, 1, 2, … updates, without end.

        V̂ ← V̂ + clip(α·(target − V̂), ±ε_v)      with targets made anew from V̂ each time

    Args:
        length: R, tokens, ≥ 1.
        critic_target: "td" or "gae".
        lam: λ of "gae"; γ is 1.
        learning_rate: α in (0, 1], how much of the way to its targets an update goes; 1 = all.
        value_clip_range: ε_v, reward units: beyond it `critic_loss` has no slope. None = no clip.

    Yields:
        (R,) float64, reward units; zeros first. The true values are all 1.

    Raises:
        ValueError: length or learning_rate is out of range.
    """
    if length < 1 or not 0.0 < learning_rate <= 1.0:
        raise ValueError(
            f"wanted length ≥ 1 and learning_rate in (0, 1], got {length} and {learning_rate}"
        )
    rewards = torch.zeros(1, length, dtype=torch.float64)
    rewards[0, -1] = 1.0
    mask = torch.ones(1, length, dtype=torch.bool)
    values = torch.zeros_like(rewards)
    while True:
        yield values[0]
        if critic_target == "td":
            target = td_target(rewards, values, mask, gamma=1.0)
        else:
            target = gae(rewards, values, mask, gamma=1.0, lam=lam)[1]
        step = learning_rate * (target - values)
        if value_clip_range is not None:
            step = step.clamp(-value_clip_range, value_clip_range)
        values = values + step


def predicted_error(
    tokens_left: int, updates: int, *, lam: float, learning_rate: float = 1.0
) -> float:
    """V − V̂ after some updates, in closed form.

    A return is a mix of looks ahead over 1, 2, 3, … tokens with weights (1 − λ), (1 − λ)λ, … : as
    if, at each token passed, it stopped to ask the critic with probability 1 − λ. An error survives
    k updates only if one can stop k times before the last token is passed:

        V − V̂ = P(stops ≥ k),      stops ~ Binomial(tokens_left − 1, 1 − λ)

    With learning rate α, only Binomial(updates, α) of the updates count. "td" is λ = 0: it stops at
    every token, so k = tokens_left updates are needed, and enough.

    Args:
        tokens_left: from this token to the last, both counted: R for the first token, 1 for the
            last.
        updates: since V̂ = 0.
        lam: λ; 0 for "td".
        learning_rate: α, see `chain_values`. There is no value clip.

    Returns:
        Reward units, between 0 and 1.
    """
    stops = _binomial(tokens_left - 1, 1.0 - lam)
    full_updates = _binomial(updates, learning_rate)
    return sum(chance * sum(stops[k:]) for k, chance in enumerate(full_updates))


def _binomial(trials: int, chance: float) -> list[float]:
    """P(0), …, P(trials): how many of so many trials succeed."""
    return [
        math.comb(trials, hits) * chance**hits * (1.0 - chance) ** (trials - hits)
        for hits in range(trials + 1)
    ]
