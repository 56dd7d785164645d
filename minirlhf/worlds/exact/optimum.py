"""The best that any algorithm could do: the policy that maximises E[score] − β·KL, in closed form.

    π*(y) = π_ref(y)·exp(r(y)/β) / Z       J* = β·log Z

As a policy over tokens it is found from the last token backwards; the value of a state is then
V*(s) = β·log of the exp(·/β) average over what the reference would do next.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from minirlhf.worlds.exact.tree import WORLD, Tree
from minirlhf.worlds.exact.truth import check_tables, exact_truth


@dataclass(frozen=True)
class Optimum:
    """π* for one reference, one reward and one β."""

    kl_coef: float  # β, reward units per nat
    log_pi: Tensor  # (S, V) nats, log π*(a|s)
    values: Tensor  # (S,)   V*(s), reward units
    objective: Tensor  # ()     J* = V* at the root
    score: Tensor  # ()     E[score] under π*
    kl: Tensor  # ()     KL(π*‖reference), nats


def optimal_policy(
    ref_log_pi: Tensor, scores: Tensor, tree: Tree = WORLD, *, kl_coef: float
) -> Optimum:
    """Solve max_π E_π[score] − β·KL(π‖π_ref) exactly.

        Q*(s, a) = score where the answer ends, else V*(s followed by a)
        V*(s) = β·log Σ_a π_ref(a|s)·exp(Q*(s, a)/β)
        log π*(a|s) = log π_ref(a|s) + (Q*(s, a) − V*(s))/β

    Args:
        ref_log_pi: (S, V) nats.
        scores: (S, V) reward units, as `final_scores` gives them.
        tree: which answers there are.
        kl_coef: β > 0.

    Raises:
        ValueError: a table does not have the tree's shape, or β is not positive.

    Reference: Korbak et al. 2022, arXiv:2205.11275; Rafailov et al. 2023, arXiv:2305.18290, eq. 4.
    """
    check_tables(tree, ref_log_pi=ref_log_pi, scores=scores)
    if not 0.0 < kl_coef < float("inf"):
        raise ValueError(f"kl_coef must be a finite number > 0, got {kl_coef}")
    log_pi: list[Tensor] = []
    values: list[Tensor] = []
    for depth in reversed(range(tree.steps)):
        level = tree.level(depth)
        q = scores[level].where(tree.is_last[level], 0.0)
        if values:
            q = q + tree.led_to(values[0])
        tilted = ref_log_pi[level] + q / kl_coef
        log_z = torch.logsumexp(tilted, dim=1)
        values.insert(0, kl_coef * log_z)
        log_pi.insert(0, tilted - log_z[:, None])
    table = torch.cat(log_pi)
    truth = exact_truth(table, ref_log_pi, scores, tree, kl_coef=kl_coef)
    return Optimum(
        kl_coef=kl_coef,
        log_pi=table,
        values=torch.cat(values),
        objective=values[0][0],
        score=truth.score,
        kl=truth.kl,
    )


def kl_coef_for(kl: float, ref_log_pi: Tensor, scores: Tensor, tree: Tree = WORLD) -> float:
    """The β at whose optimum KL(π*‖reference) is `kl` nats; smaller β, larger KL.

    Found by halving an interval of log β. With a spread of scores D = max − min, the KL at β is at
    most D²/(8β²), which gives the interval's upper end; at the lower end, D/2000, hardly anything
    but the best answers is left.

    Args:
        kl: wanted KL of whole answers, nats.
        ref_log_pi: (S, V) nats.
        scores: (S, V) reward units, as `final_scores` gives them.
        tree: which answers there are.

    Raises:
        ValueError: a table does not have the tree's shape; no β gives so large a KL (π* then picks
            the best answers only); or all scores are the same, and π* is the reference for any β.
    """
    check_tables(tree, ref_log_pi=ref_log_pi, scores=scores)
    spread = float(scores[tree.is_last].max() - scores[tree.is_last].min())
    if not spread > 0.0:
        raise ValueError("all scores are the same, so no β moves π* away from the reference")
    low, high = spread / 2000.0, spread / math.sqrt(8.0 * kl) if kl > 0.0 else math.inf
    furthest = float(optimal_policy(ref_log_pi, scores, tree, kl_coef=low).kl)
    if not 0.0 < kl < furthest:
        raise ValueError(f"kl must lie between 0 and {furthest:.3f} nats here, got {kl}")
    for _ in range(50):
        middle = math.sqrt(low * high)
        too_far = float(optimal_policy(ref_log_pi, scores, tree, kl_coef=middle).kl) > kl
        low, high = (middle, high) if too_far else (low, middle)
    return math.sqrt(low * high)
