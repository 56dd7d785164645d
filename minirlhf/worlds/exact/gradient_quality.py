"""How good a sampled policy gradient is, held against the exact one, for three baselines.

One answer y gives an estimate of ∇J by the logits of every state it passes,

    g(y) = Σ_t (G_t − b_t)·∇log π(A_t|S_t)      G_t = all the reward still to come (γ = 1)

and n answers give the mean of theirs. A baseline b_t that does not know the token leaves the
expectation as it is, since Σ_a π(a|s)·b·∇log π(a|s) = 0; what it changes is the noise:

    E‖mean of n − ∇J‖² = (E‖g(y)‖² − ‖∇J‖²)/n

Both sides are here: the left from samples, the right summed over all answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from minirlhf.noise import MONTE_CARLO, uniform_noise
from minirlhf.worlds.exact.preferences import draw_answers
from minirlhf.worlds.exact.targets import values_after
from minirlhf.worlds.exact.truth import Truth

Baseline = Literal["none", "mean", "value"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
BATCH_SIZES = tuple(2**i for i in range(11))  # 1 … 1024 answers


@dataclass(frozen=True)
class GradientQuality:
    """What batches of answers say of ∇J; errors are shares of ‖∇J‖."""

    baseline: Baseline
    batch_sizes: tuple[int, ...]  # n
    relative_error: Tensor  # (sizes, repeats) ‖g − ∇J‖/‖∇J‖ of each batch
    cosine: Tensor  # (sizes, repeats) of the angle between g and ∇J; 1 = the same direction
    error_of_mean: Tensor  # (sizes,) the same error of the mean of all batches
    expected_error: Tensor  # (sizes,) √(E‖g − ∇J‖²)/‖∇J‖, exact

    @property
    def chance_error_of_mean(self) -> Tensor:
        """(sizes,): how far off the mean of so many batches is, in the root mean square, by chance.

        An `error_of_mean` well above it would be a bias.
        """
        by_chance: Tensor = self.expected_error / self.relative_error.shape[1] ** 0.5
        return by_chance


def shifted(truth: Truth, shift: float) -> Truth:
    """The truth if every answer's score were higher by a constant, reward units (γ = 1).

    Advantages and gradient stay as they are: a reward model's scores are known only up to a
    constant. What changes is G_t, and with it the noise where no baseline takes it away again.
    """
    return replace(
        truth,
        rewards=truth.rewards + shift * truth.tree.is_last,
        values=truth.values + shift,
        q_values=truth.q_values + shift,
        score=truth.score + shift,
        objective=truth.objective + shift,
    )


def gradient_quality(
    truth: Truth,
    baseline: Baseline,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    repeats: int = 64,
    seed: int = 0,
) -> GradientQuality:
    """Sample batches of answers, and hold their policy gradients against the exact one.

    Args:
        truth: of the actor that samples, with γ = 1 and the k1 toll.
        baseline: b_t: "none" = 0; "mean" = E[G_0], the mean return of whole answers; "value" = the
            true V(S_t).
        batch_sizes: n, rising; a larger batch begins with the answers of the smaller one.
        repeats: batches of each size, 2 or more.
        seed: the same seed gives the same answers, whatever the baseline.

    Raises:
        ValueError: no such baseline, sizes that do not rise from 1 or more, repeats < 2, the
            gradient is 0, or the truth's γ is not 1.
    """
    sizes = tuple(int(n) for n in batch_sizes)
    if not sizes or min(sizes) < 1 or list(sizes) != sorted(set(sizes)) or repeats < 2:
        raise ValueError(
            f"wanted batch sizes ≥ 1 that rise and repeats ≥ 2, got {sizes} and {repeats}"
        )
    exact = truth.logit_gradient()
    size = float(exact.norm())
    if size == 0.0:
        raise ValueError("the exact gradient is 0, so no error can be a share of it")
    noise = uniform_noise(seed, MONTE_CARLO, 0, rows=repeats, steps=sizes[-1])
    drawn = draw_answers(truth, noise.flatten()).view(repeats, -1)
    pieces = _pieces(truth, baseline)
    error, cosine = (torch.empty(len(sizes), repeats, dtype=torch.float64) for _ in range(2))
    mean = torch.zeros(len(sizes), *exact.shape, dtype=torch.float64)
    for repeat, answers in enumerate(drawn):
        total, done = torch.zeros_like(exact), 0
        for i, n in enumerate(sizes):
            pieces.add(total, answers[done:n])
            done = n
            along, length = float((total * exact).sum()) / n, float(total.norm()) / n
            error[i, repeat] = max(0.0, length**2 - 2 * along + size**2) ** 0.5 / size
            cosine[i, repeat] = along / (length * size) if length else 0.0
            mean[i] += total / (n * repeats)
    one = pieces.mean_square(truth.answer_probability[truth.tree.is_last]) - size**2
    variance = one / torch.tensor(sizes, dtype=torch.float64)
    return GradientQuality(
        baseline=baseline,
        batch_sizes=sizes,
        relative_error=error,
        cosine=cosine,
        error_of_mean=(mean - exact).flatten(1).norm(dim=1) / size,
        expected_error=variance.sqrt() / size,
    )


def expected_gradient(truth: Truth, baseline: Baseline) -> Tensor:
    """(S, V): Σ_y π(y)·g(y) over all answers; it is ∇J, whatever the baseline."""
    pieces = _pieces(truth, baseline)
    total = torch.zeros_like(truth.log_pi, dtype=torch.float64)
    everything = torch.arange(len(pieces.ids))
    pieces.add(total, everything, truth.answer_probability[truth.tree.is_last])
    return total


@dataclass(frozen=True)
class _Pieces:
    """What each answer's gradient is made of, in the order of `Tree.answers`."""

    pi: Tensor  # (S, V) probabilities
    ids: Tensor  # (N, R) A_t
    mask: Tensor  # (N, R)
    states: Tensor  # (N, R) S_t
    weights: Tensor  # (N, R) G_t − b_t, 0 where masked

    def add(self, total: Tensor, answers: Tensor, factors: Tensor | None = None) -> None:
        """Add Σ factor·g(y) of these answers to (S, V).

        By the logits of its state, ∇log π(a|s) is 1 at a, less π(·|s).
        """
        weights = self.weights[answers]
        weights = weights if factors is None else weights * factors[:, None]
        mask = self.mask[answers]
        states, ids, weights = self.states[answers][mask], self.ids[answers][mask], weights[mask]
        total.index_put_((states, ids), weights, accumulate=True)
        total.index_add_(0, states, self.pi[states] * weights[:, None], alpha=-1)

    def mean_square(self, probability: Tensor) -> float:
        """E‖g(y)‖²; an answer passes no state twice, so its tokens' squares just add up."""
        pi = self.pi[self.states, self.ids]
        squares = 1.0 - 2.0 * pi + (self.pi**2).sum(dim=1)[self.states]
        return float((probability[:, None] * self.weights**2 * squares).sum())


def _pieces(truth: Truth, baseline: Baseline) -> _Pieces:
    if baseline not in BASELINES:
        raise ValueError(f"baseline must be one of {', '.join(BASELINES)}, got {baseline!r}")
    if not torch.allclose(truth.rewards + values_after(truth.tree, truth.values), truth.q_values):
        raise ValueError("wanted a truth with γ = 1: only then is its gradient that of J")
    ids, mask = truth.tree.answers()
    states = truth.tree.states_of(ids, mask)
    rewards = truth.rewards.double()[states, ids].where(mask, 0.0)
    to_go = rewards.flip(1).cumsum(dim=1).flip(1)  # G_t = R_t + G_{t+1}
    if baseline == "mean":
        to_go = to_go - truth.values[0]
    elif baseline == "value":
        to_go = to_go - truth.values[states]
    return _Pieces(truth.log_pi.exp().double(), ids, mask, states, to_go.where(mask, 0.0))
