"""Goodhart's law, made: the proxy can only rise, gold peaks and falls, more pairs postpone it."""

from functools import cache

import pytest
import torch

from minirlhf import Actor
from minirlhf.worlds import exact
from minirlhf.worlds.exact.frontier import PENALTY, goal_for
from minirlhf.worlds.exact.overoptimisation import KL_COEFS, Curve, fit_reward_model, follow


@cache
def sft_actor() -> Actor:
    return exact.sft_actor().freeze()


@cache
def gold_curve() -> Curve:
    goal = goal_for(sft_actor(), 1.0)
    return follow(goal.gold, goal.ref_log_pi, goal.gold)


@cache
def curve(pairs: int, seed: int) -> Curve:
    goal = goal_for(sft_actor(), 1.0)
    reward_model = fit_reward_model(sft_actor(), exact.gold_table(), pairs, seed=seed, steps=300)
    scores = exact.score_table(reward_model).double()
    scores = exact.final_scores(scores, missing_eos_penalty=PENALTY)
    return follow(scores, goal.ref_log_pi, goal.gold)


def gold_at(curve: Curve, kl: float) -> float:
    """Gold where the curve passes a distance, by the straight line between its neighbours."""
    place = next((i for i, x in enumerate(curve.kl) if x >= kl), len(curve.kl) - 1)
    if place == 0 or curve.kl[place] < kl:
        return curve.gold[place]
    left, right = curve.kl[place - 1], curve.kl[place]
    weight = (kl - left) / (right - left)
    return (1 - weight) * curve.gold[place - 1] + weight * curve.gold[place]


def test_gold_followed_for_its_own_sake_never_falls() -> None:
    best = gold_curve()
    assert best.proxy == best.gold and best.gold == sorted(best.gold)
    assert best.peak == len(KL_COEFS) - 1


def test_no_proxy_beats_gold_at_the_same_distance() -> None:
    """The exact frontier is above every other policy, so also above this one."""
    for kl, gold in zip(curve(100, 0).kl, curve(100, 0).gold, strict=True):
        if kl < gold_curve().kl[-1]:
            assert gold <= gold_at(gold_curve(), kl) + 1e-3


@pytest.mark.parametrize("pairs", [100, 1000])
def test_the_proxy_and_the_distance_only_rise_as_beta_falls(pairs: int) -> None:
    followed = curve(pairs, 0)
    assert followed.kl_coef == sorted(followed.kl_coef, reverse=True)
    assert all(b >= a - 1e-9 for a, b in zip(followed.kl, followed.kl[1:], strict=False))
    assert all(b >= a - 1e-9 for a, b in zip(followed.proxy, followed.proxy[1:], strict=False))


@pytest.mark.slow
def test_gold_peaks_and_falls_while_the_proxy_rises() -> None:
    """In at least one of three reward models of 1000 pairs gold loses more than half its gain."""
    lost = []
    for seed in range(3):
        followed = curve(1000, seed)
        top, end = followed.gold[followed.peak], followed.gold[-1]
        assert followed.proxy[-1] > followed.proxy[followed.peak] or followed.peak + 1 == len(
            followed.gold
        )
        lost.append((top - end) / (top - followed.gold[0]))
    assert max(lost) > 0.5


@pytest.mark.slow
def test_more_pairs_give_more_gold_at_the_same_distance() -> None:
    few = sum(gold_at(curve(100, seed), 1.0) for seed in range(3)) / 3
    many = sum(gold_at(curve(10_000, seed), 1.0) for seed in range(3)) / 3
    assert many > few + 0.15
    assert many < gold_at(gold_curve(), 1.0)


def test_the_peak_is_the_largest_gold() -> None:
    assert Curve([1, 0.5, 0.1], [0, 1, 2], [0, 1, 2], [0.0, 3.0, -1.0]).peak == 1


def test_a_reward_model_depends_on_its_seed_and_is_frozen() -> None:
    one = fit_reward_model(sft_actor(), exact.gold_table(), 40, steps=3, seed=1)
    same = fit_reward_model(sft_actor(), exact.gold_table(), 40, steps=3, seed=1)
    other = fit_reward_model(sft_actor(), exact.gold_table(), 40, steps=3, seed=2)
    head = [rm.model.score.weight for rm in (one, same, other)]
    assert torch.equal(head[0], head[1]) and not torch.equal(head[0], head[2])
    assert not one.trainable
