"""The closed-form optimum: against whole answers, against every other policy, and at its limits."""

import math
from functools import cache

import pytest
import torch
from exact_tables import CONFIG, SMALL, largest, policy_tables, random_log_pi, random_scores
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from minirlhf.worlds.exact import (
    WORLD,
    Optimum,
    Tree,
    exact_truth,
    final_scores,
    gold_table,
    kl_coef_for,
    optimal_policy,
)


@cache
def final_gold() -> Tensor:
    """Gold less the penalty of answers that were cut."""
    return final_scores(gold_table(), missing_eos_penalty=CONFIG.missing_eos_penalty)


@cache
def world_optimum(kl_coef: float) -> Optimum:
    return optimal_policy(policy_tables()[1], final_gold(), kl_coef=kl_coef)


def log_probabilities(tree: Tree, log_pi: Tensor) -> Tensor:
    """(N,) nats: log π(y) of every answer, a plain sum over its tokens."""
    ids, mask = tree.answers()
    return log_pi[tree.states_of(ids, mask), ids].where(mask, 0.0).sum(dim=1)


def assert_tilted(tree: Tree, ref_log_pi: Tensor, scores: Tensor, optimum: Optimum) -> None:
    """π*(y) = π_ref(y)·exp(r(y)/β)/Z, answer by answer, and J* = β·log Z."""
    tilted = log_probabilities(tree, ref_log_pi) + scores[tree.is_last] / optimum.kl_coef
    log_z = torch.logsumexp(tilted, dim=0)
    assert largest(log_probabilities(tree, optimum.log_pi) - (tilted - log_z)) < 1e-10
    assert largest(torch.logsumexp(optimum.log_pi, dim=1)) < 1e-12  # a policy in every state
    assert float(optimum.objective) == pytest.approx(optimum.kl_coef * float(log_z), abs=1e-12)
    chance = (tilted - log_z).exp()
    assert float(optimum.score) == pytest.approx(float(chance @ scores[tree.is_last]), abs=1e-12)
    in_kl = chance * (tilted - log_z - log_probabilities(tree, ref_log_pi))
    assert float(optimum.kl) == pytest.approx(float(in_kl.sum()), abs=1e-12)


@pytest.mark.parametrize("kl_coef", [0.05, 0.3, 2.0])
def test_the_world_s_optimum_is_the_reference_tilted_by_the_reward_answer_by_answer(
    kl_coef: float,
) -> None:
    assert_tilted(WORLD, policy_tables()[1], final_gold(), world_optimum(kl_coef))


@given(seed=st.integers(0, 2**31 - 2), kl_coef=st.floats(0.05, 20.0), steps=st.integers(1, 3))
def test_the_same_for_any_reference_and_any_scores(seed: int, kl_coef: float, steps: int) -> None:
    tree = Tree(words=3, steps=steps)
    ref_log_pi, scores = random_log_pi(tree, seed), random_scores(tree, seed + 1)
    optimum = optimal_policy(ref_log_pi, scores, tree, kl_coef=kl_coef)
    assert_tilted(tree, ref_log_pi, scores, optimum)


def test_one_decision_by_hand() -> None:
    """Two answers, equally likely before; one is worth log 3 more, at β = 1: it gets ¾."""
    tree = Tree(words=1, steps=1)
    scores = torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64)
    half = torch.full((1, 2), -math.log(2.0), dtype=torch.float64)
    optimum = optimal_policy(half, scores, tree, kl_coef=1.0)
    assert optimum.log_pi.exp().tolist() == [pytest.approx([0.75, 0.25])]
    assert optimum.objective.item() == pytest.approx(math.log(2.0))
    assert optimum.kl.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def gap_and_distance(
    log_pi: Tensor, ref_log_pi: Tensor, scores: Tensor, optimum: Optimum, tree: Tree
) -> tuple[float, float]:
    """J* − J(π), and β·KL(π‖π*): two sums that must agree."""
    beta = optimum.kl_coef
    truth = exact_truth(log_pi, ref_log_pi, scores, tree, kl_coef=beta)
    away = exact_truth(log_pi, optimum.log_pi, scores, tree, kl_coef=beta).kl
    return float(optimum.objective - truth.objective), beta * float(away)


@given(seed=st.integers(0, 2**31 - 3), spread=st.floats(0.0, 3.0), kl_coef=st.floats(0.05, 20.0))
def test_no_policy_does_better_and_what_one_lacks_is_beta_times_its_kl_from_the_optimum(
    seed: int, spread: float, kl_coef: float
) -> None:
    ref_log_pi, scores = random_log_pi(SMALL, seed), random_scores(SMALL, seed + 1)
    log_pi = random_log_pi(SMALL, seed + 2, spread)
    optimum = optimal_policy(ref_log_pi, scores, SMALL, kl_coef=kl_coef)
    gap, distance = gap_and_distance(log_pi, ref_log_pi, scores, optimum, SMALL)
    assert gap >= -1e-12
    assert gap == pytest.approx(distance, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("kl_coef", [0.05, 0.3, 2.0])
def test_what_the_world_s_actor_and_its_reference_lack(kl_coef: float) -> None:
    log_pi, ref_log_pi = policy_tables()
    optimum = world_optimum(kl_coef)
    for policy in (log_pi, ref_log_pi, random_log_pi(WORLD, 0)):
        gap, distance = gap_and_distance(policy, ref_log_pi, final_gold(), optimum, WORLD)
        assert gap > 0.05
        assert gap == pytest.approx(distance, rel=1e-11)


def test_the_optimum_s_values_are_its_own_and_its_advantages_are_zero() -> None:
    """Nothing can be gained at any token: with the toll, all tokens are equally good."""
    optimum = world_optimum(0.3)
    truth = exact_truth(optimum.log_pi, policy_tables()[1], final_gold(), kl_coef=0.3)
    assert largest(truth.values - optimum.values) < 1e-11
    assert largest(truth.advantages) < 1e-10
    assert float(truth.objective) == pytest.approx(float(optimum.objective), abs=1e-12)


def test_a_dear_kl_leaves_the_reference_and_a_cheap_one_the_best_answer_only() -> None:
    ref_log_pi, scores = policy_tables()[1], final_gold()
    dear = optimal_policy(ref_log_pi, scores, kl_coef=1e7)
    assert largest(dear.log_pi - ref_log_pi) < 1e-6 and float(dear.kl) < 1e-12
    plain = exact_truth(ref_log_pi, ref_log_pi, scores, kl_coef=0.0).score
    assert float(dear.objective) == pytest.approx(float(plain), abs=1e-6)

    best = scores[WORLD.is_last].max()
    cheap = optimal_policy(ref_log_pi, scores, kl_coef=1e-3)
    assert float(cheap.score) == pytest.approx(float(best), abs=1e-9)
    # J* = max r + β·log π_ref(best answers) then
    among = log_probabilities(WORLD, ref_log_pi)[scores[WORLD.is_last] == best]
    assert float(cheap.kl) == pytest.approx(-float(torch.logsumexp(among, dim=0)), abs=1e-6)


@pytest.mark.parametrize("kl", [0.5, 1.5, 3.0])
def test_the_beta_for_a_wanted_kl_gives_that_kl(kl: float) -> None:
    beta = kl_coef_for(kl, policy_tables()[1], final_gold())
    optimum = optimal_policy(policy_tables()[1], final_gold(), kl_coef=beta)
    assert float(optimum.kl) == pytest.approx(kl, abs=1e-9)
    assert 0.1 < beta < 1.0


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e5])
@pytest.mark.parametrize("kl", [1e-6, 0.3])
def test_the_beta_for_a_wanted_kl_is_in_the_units_of_the_scores(unit: float, kl: float) -> None:
    ref_log_pi, scores = random_log_pi(SMALL, 0), random_scores(SMALL, 1)
    beta = kl_coef_for(kl, ref_log_pi, scores * unit, SMALL)
    assert beta / unit == pytest.approx(kl_coef_for(kl, ref_log_pi, scores, SMALL), rel=1e-6)
    optimum = optimal_policy(ref_log_pi, scores * unit, SMALL, kl_coef=beta)
    assert float(optimum.kl) == pytest.approx(kl, rel=1e-6)


@pytest.mark.parametrize("kl", [0.0, -1.0, 5.0, math.nan, math.inf])
def test_a_kl_that_no_beta_gives_is_refused(kl: float) -> None:
    with pytest.raises(ValueError, match=r"kl must lie between 0 and \d\.\d+ nats here, got"):
        kl_coef_for(kl, random_log_pi(SMALL, 0), random_scores(SMALL, 1), SMALL)


def test_scores_that_do_not_vary_are_refused() -> None:
    """Numbers where an answer goes on do not count."""
    scores = random_scores(SMALL, 0).masked_fill(SMALL.is_last, 0.7)
    with pytest.raises(ValueError, match="all scores are the same"):
        kl_coef_for(0.5, random_log_pi(SMALL, 0), scores, SMALL)


@pytest.mark.parametrize("kl_coef", [0.0, -0.1, math.inf, math.nan])
def test_a_beta_that_is_not_positive_and_finite_is_refused(kl_coef: float) -> None:
    with pytest.raises(ValueError, match="kl_coef must be a finite number > 0, got"):
        optimal_policy(random_log_pi(SMALL, 0), random_scores(SMALL, 1), SMALL, kl_coef=kl_coef)


def test_tables_of_the_wrong_shape_are_refused() -> None:
    for log_pi, scores in ((SMALL, WORLD), (WORLD, SMALL)):
        with pytest.raises(ValueError, match="must be "):
            optimal_policy(random_log_pi(log_pi, 0), random_scores(scores, 1), SMALL, kl_coef=1.0)
