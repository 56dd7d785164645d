"""What a critic target is worth: R_t + γV̂_{t+1} against V̂_t, both held against the true V.

Write e(s) = V̂(s) − V(s) for the critic's error, 0 once the answer is over. Then, exactly,

    V̂_t            misses V(S_t) by   e(S_t)
    R_t + γV̂_{t+1} misses V(S_t) by   A(S_t, A_t) + γ·e(S_{t+1})

The target swaps the critic's error here for γ times its error one token later, of which nothing is
left after the last token; and it pays with A, the luck of the token that was drawn. A is 0 on
average, so the *expected* target has no luck in it, and regression on many sampled targets finds
the expected one.

Two things hold of the expected target whatever the critic is: its largest error over all states is
at most γ times the critic's, and so is its error over whole answers (the root of the squared errors
summed over an answer's tokens, on average over answers). At a single state or step it may be
farther from the truth than V̂_t.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from minirlhf.worlds.exact.tree import Tree
from minirlhf.worlds.exact.truth import Truth, backward_values


@dataclass(frozen=True)
class TargetErrors:
    """Mean squared errors at each step t, over the answers that are still going on there.

    All are (R,), reward units squared; e is the critic's error, A the true advantage.

        target = luck + cross + later      what the target's error is made of
        target = bias + variance           what regression cannot, and can, average away

    The cross term changes its sign with e, so it is 0 on average for errors that are as likely up
    as down. It is 0 at the last step, and in a state where e(S_{t+1}) is the same whatever token is
    drawn (where EOS may come it is not: nothing is left of e after EOS). Else it can be as large as
    the others: V̂ = 0 errs by −V, which is lowest just where A is highest.
    """

    value: Tensor  # E[e(S_t)²]: of V̂_t
    target: Tensor  # E[(R_t + γV̂_{t+1} − V(S_t))²]: of one sampled target
    luck: Tensor  # E[A(S_t, A_t)²]: the variance of A
    cross: Tensor  # 2γ·E[A(S_t, A_t)·e(S_{t+1})], of either sign
    later: Tensor  # γ²·E[e(S_{t+1})²]
    bias: Tensor  # E[(γ·E[e(S_{t+1}) given S_t])²]: of the expected target
    variance: Tensor  # E[Var(R_t + γV̂_{t+1} given S_t)]

    @property
    def target_is_nearer(self) -> Tensor:
        """(R,) bool: whether one sampled target beats V̂_t, in the mean square."""
        return self.target < self.value

    def of_mean(self, samples: int) -> Tensor:
        """(R,): of the mean of so many independent targets of the same state."""
        return self.bias + self.variance / samples


def target_errors(truth: Truth, values: Tensor, *, gamma: float) -> TargetErrors:
    """How far V̂_t and R_t + γV̂_{t+1} are from the true V(S_t), at each step t.

    Args:
        truth: of the actor that writes the answers.
        values: (S,) reward units, the critic V̂.
        gamma: γ in [0, 1], the truth's own.

    Raises:
        ValueError: the truth was computed with another γ.
    """
    own = truth.rewards + gamma * values_after(truth.tree, truth.values)
    if not torch.allclose(own, truth.q_values):
        raise ValueError(f"wanted the γ that the truth was computed with, got {gamma}")
    pi = truth.log_pi.exp()
    error = values - truth.values
    next_error = gamma * values_after(truth.tree, error)
    missed = truth.advantages + next_error
    mean_missed = (pi * missed).sum(dim=1, keepdim=True)

    def at_each_step(of_action: Tensor) -> Tensor:
        return mean_at_each_step(truth, (pi * of_action).sum(dim=1))

    return TargetErrors(
        value=mean_at_each_step(truth, error**2),
        target=at_each_step(missed**2),
        luck=at_each_step(truth.advantages**2),
        cross=at_each_step(2 * truth.advantages * next_error),
        later=at_each_step(next_error**2),
        bias=mean_at_each_step(truth, (pi * next_error).sum(dim=1) ** 2),
        variance=at_each_step((missed - mean_missed) ** 2),
    )


def crossover(truth: Truth, error: Tensor, *, gamma: float) -> Tensor:
    """How wrong a critic V + c·error must be before one sampled target beats it, at each step.

        c²·E[e_t²] = E[A²] + c·2γ·E[A·e_{t+1}] + c²·γ²·E[e_{t+1}²]      (e = error)

    Args:
        truth: of the actor.
        error: (S,) reward units, the shape of the critic's error.
        gamma: γ in [0, 1], the truth's own.

    Returns:
        (R,) the smallest c ≥ 0 above which the target is nearer, inf where it never is. (Where
        errors grow from one token to the next, it may lose again at some larger c.)

    Raises:
        ValueError: see `target_errors`.
    """
    at_one = target_errors(truth, truth.values + error, gamma=gamma)
    gain = at_one.value - at_one.later  # gain·c² − cross·c − luck = 0
    root = (at_one.cross**2 + 4 * gain * at_one.luck).sqrt()  # NaN: no c solves it
    # the usual formula multiplied out, so that gain may be 0
    below = root - at_one.cross
    c = torch.where(below > 0, 2 * at_one.luck / below, torch.inf)
    return torch.where((at_one.luck == 0) & (gain > 0), 0.0, c)


def expected_target(truth: Truth, values: Tensor, *, gamma: float, lam: float = 0.0) -> Tensor:
    """What regression on sampled targets finds: their mean at every state.

        G(s) = Σ_a π(a|s)·[R(s, a) + γ·((1 − λ)·V̂(s') + λ·G(s'))]      s' = s followed by a

    Args:
        truth: of the actor; its γ does not matter.
        values: (S,) reward units, the critic V̂ inside the targets.
        gamma: γ in [0, 1].
        lam: λ in [0, 1]. 0 is `td_target`; any λ gives the returns of `gae`.

    Returns:
        (S,) reward units.
    """
    rewards = truth.rewards + gamma * (1 - lam) * values_after(truth.tree, values)
    return backward_values(truth.tree, truth.log_pi.exp(), rewards, gamma * lam)[0]


def values_after(tree: Tree, values: Tensor) -> Tensor:
    """(S, V) from (S,): of the state that each action leads to; 0 where the answer ends."""
    after = torch.zeros(tree.n_states, tree.n_tokens, dtype=values.dtype, device=values.device)
    children = values[1:].view(-1, tree.words)  # a heap: in the order of their parents
    after[: len(children), : tree.words] = children
    return after


def mean_at_each_step(truth: Truth, of_state: Tensor) -> Tensor:
    """(R,) from (S,): the mean over the answers that are still going on at step t."""
    levels = [truth.tree.level(t) for t in range(truth.tree.steps)]
    means = [(truth.reach[x] * of_state[x]).sum() / truth.reach[x].sum() for x in levels]
    return torch.stack(means)
