"""Ensembles in the exact world: the curves are those of their scores, and equal models agree."""

import pytest
import torch
from torch.testing import assert_close

from minirlhf import RewardEnsemble
from minirlhf.worlds.exact import WORLD, overoptimisation, score_table, sft_actor
from minirlhf.worlds.exact import ensembles as module
from minirlhf.worlds.exact.ensembles import compare_ensembles, follow_model, gold_at, standardised
from minirlhf.worlds.exact.frontier import goal_for
from minirlhf.worlds.exact.overoptimisation import Curve


@pytest.fixture(scope="module")
def actor():
    return sft_actor()


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overoptimisation, "KL_COEFS", (3.0, 0.3, 0.03))


def test_four_ways_from_the_same_models(actor, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    fit = module.fit_reward_model

    def watched(*args, **settings):
        seen.append((args[2], settings["seed"]))
        return fit(*args, **settings)

    monkeypatch.setattr(module, "fit_reward_model", watched)
    curves = compare_ensembles(actor, 40, 2, seed=3, steps=2)
    assert list(curves) == ["one model", "mean", "min", "one model of all pairs"]
    assert seen == [(40, 3000), (40, 3001), (80, 3999)]
    assert len({curve.gold[-1] for curve in curves.values()}) > 1


def test_the_minimum_is_followed_as_the_minimum(actor) -> None:
    models = module.members_for(actor, 60, 2, steps=3)
    least = torch.minimum(score_table(models[0]), score_table(models[1]))
    assert_close(score_table(RewardEnsemble(models, "min")), least)
    twice = RewardEnsemble([models[0], models[0]], "min")
    assert follow_model(actor, twice) == follow_model(actor, models[0])


def test_scores_are_standardised_under_the_reference(actor) -> None:
    goal = goal_for(actor, kl_coef=1.0)
    p = goal.truth(goal.ref_log_pi).answer_probability
    scores = torch.where(WORLD.is_last, torch.randn(p.shape, generator=torch.Generator()), 0.0)
    scores = standardised(3.0 * scores.double() + 7.0, p)
    assert_close((p * scores).sum(), torch.tensor(0.0, dtype=torch.float64), atol=1e-6, rtol=0)
    assert_close((p * scores**2).sum(), torch.tensor(1.0, dtype=torch.float64), atol=1e-6, rtol=0)


def test_gold_between_two_points_of_a_curve() -> None:
    curve = Curve([1.0, 0.5, 0.1], [0.5, 1.5, 3.5], [0, 0, 0], [0.0, 1.0, -1.0])
    assert gold_at(curve, 1.0) == pytest.approx(0.5)
    assert gold_at(curve, 3.0) == pytest.approx(-0.5)
    with pytest.raises(ValueError, match=r"from 0.50 to 3.50 nats, not to 4"):
        gold_at(curve, 4.0)
