"""Where GRPO comes to rest, exactly: not at π*, for two reasons that can be told apart.

GRPO divides each score by σ, the standard deviation within its group, and puts its toll into the
loss as k3. With large groups, its expected gradient by the logit z(s, a) is

    P(pass through s)·[ π(a|s)·A_r(s, a)/σ − β·(π(a|s) − π_ref(a|s)) ]

where A_r is the advantage of the score alone, and the second part is the gradient of KL(π_ref‖π)
in that state, which is what k3 gives in a loss. It is zero where

    π(a|s) = π_ref(a|s)·βσ / (λ(s) − Q_r(s, a))        λ(s) such that the sum over a is 1

So (i) dividing by σ is the same as asking for a toll of β·σ, with the σ of the policy that results;
(ii) k3 in the loss makes π rise like 1/(λ − Q) where π* rises like exp(Q/β).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from minirlhf.worlds.exact.optimum import optimal_policy
from minirlhf.worlds.exact.tree import WORLD, Tree
from minirlhf.worlds.exact.truth import Truth, check_tables, exact_truth

HALVINGS = 60  # of a bracket: to the last digit of float64
ROUNDS = 2000
NO_TOLL_YET = 1e6  # so large that the policy is the reference
SMALLEST_TOLL = 1e-3  # reward units per nat; σ has gone to 0


def grpo_fixed_point(
    ref_log_pi: Tensor,
    scores: Tensor,
    tree: Tree = WORLD,
    *,
    kl_coef: float,
    divide_by_std: bool = True,
) -> Truth:
    """The policy at which GRPO's expected step is zero.

    Args:
        ref_log_pi: (S, V) nats.
        scores: (S, V) reward units, as `final_scores` gives them.
        tree: which answers there are.
        kl_coef: β > 0.
        divide_by_std: False: only the group's mean is subtracted.

    Raises:
        ValueError: a table does not have the tree's shape.
    """
    check_tables(tree, ref_log_pi=ref_log_pi, scores=scores)

    def at(toll: float) -> Truth:
        log_pi = _reverse_kl_policy(ref_log_pi, scores, tree, toll)
        return exact_truth(log_pi, ref_log_pi, scores, tree, kl_coef=kl_coef)

    return _with_own_spread(at, scores, kl_coef) if divide_by_std else at(kl_coef)


def optimum_divided_by_std(
    ref_log_pi: Tensor, scores: Tensor, tree: Tree = WORLD, *, kl_coef: float
) -> Truth:
    """Reason (i) alone: π* for the toll β·σ, where σ is the spread of scores under that very π*.

    It is where a group-normalised algorithm comes to rest that has the right gradient of
    KL(π‖π_ref). Arguments as in `grpo_fixed_point`.
    """
    check_tables(tree, ref_log_pi=ref_log_pi, scores=scores)

    def at(toll: float) -> Truth:
        log_pi = optimal_policy(ref_log_pi, scores, tree, kl_coef=toll).log_pi
        return exact_truth(log_pi, ref_log_pi, scores, tree, kl_coef=kl_coef)

    return _with_own_spread(at, scores, kl_coef)


def spread(truth: Truth, scores: Tensor) -> float:
    """σ: standard deviation of whole answers' scores under a policy, reward units."""
    variance = (truth.answer_probability * (scores - truth.score) ** 2).sum()
    return float(variance.sqrt())


def _with_own_spread(at: Callable[[float], Truth], scores: Tensor, kl_coef: float) -> Truth:
    """The policy `at(β·σ)` whose own spread of scores is σ: the one that training meets first.

    Training begins at the reference, with its spread; a narrower policy pays a smaller toll, which
    makes it narrower still, until that ends at some σ, or at a single score (σ = 0).
    """
    truth = at(NO_TOLL_YET)
    sigma = spread(truth, scores)
    for _ in range(ROUNDS):
        truth = at(max(kl_coef * sigma, SMALLEST_TOLL))
        before, sigma = sigma, spread(truth, scores)
        if abs(before - sigma) < 1e-9:
            break
    return truth


def _reverse_kl_policy(ref_log_pi: Tensor, scores: Tensor, tree: Tree, toll: float) -> Tensor:
    """(S, V) nats: log of π_ref·toll/(λ − Q_r), from the last token backwards."""
    log_pi: list[Tensor] = []
    after: Tensor | None = None
    for depth in reversed(range(tree.steps)):
        level = tree.level(depth)
        q = scores[level].where(tree.is_last[level], 0.0)
        if after is not None:
            q = q + tree.led_to(after)
        pi = _one_state(ref_log_pi[level].exp(), q, toll)
        after = (pi * q).sum(dim=1)
        log_pi.insert(0, pi.log())
    return torch.cat(log_pi)


def _one_state(ref_pi: Tensor, q: Tensor, toll: float) -> Tensor:
    """(n, V) probabilities π_ref·toll/(λ − Q), with λ found by halving.

    At λ = max Q + toll the sum is at most 1; towards max Q it grows without bound.
    """
    top = q.amax(dim=1, keepdim=True)
    low, high = torch.zeros_like(top), torch.full_like(top, toll)  # λ − max Q
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_much = (ref_pi * toll / (middle + top - q)).sum(dim=1, keepdim=True) > 1.0
        low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
    pi = ref_pi * toll / (high + top - q)
    return pi / pi.sum(dim=1, keepdim=True)
