"""PPO and RLOO reach the best policy; GRPO rests where theory says. All is judged exactly."""

from functools import cache

import pytest
import torch

from minirlhf import Actor
from minirlhf.worlds import exact
from minirlhf.worlds.exact.frontier import ALGORITHMS, Goal, goal_for, make_trainer, watch


@cache
def sft_actor() -> Actor:
    return exact.sft_actor()


@cache
def goal_at(kl: float) -> Goal:
    """The goal whose optimum lies `kl` nats away from the reference."""
    any_goal = goal_for(sft_actor(), 1.0)
    return goal_for(sft_actor(), exact.kl_coef_for(kl, any_goal.ref_log_pi, any_goal.gold))


def end_of(algorithm: str, kl: float, steps: int, **settings: object):
    goal = goal_at(kl)
    trainer = make_trainer(algorithm, sft_actor(), goal.optimum.kl_coef, steps=steps, **settings)
    start, *_, end = watch(trainer, goal, every=steps)
    assert start.gap == pytest.approx(1.0, abs=1e-6) and start.kl == pytest.approx(0.0, abs=1e-9)
    return end


def test_the_goals_are_half_a_nat_to_three_nats_away() -> None:
    for kl in (0.5, 1.5, 3.0):
        assert float(goal_at(kl).optimum.kl) == pytest.approx(kl, abs=1e-6)
    assert goal_at(0.5).optimum.kl_coef > goal_at(1.5).optimum.kl_coef > 0.1


def test_the_optimum_has_no_gap_and_no_policy_has_less() -> None:
    goal = goal_at(1.5)
    assert goal.judge_policy("best", 0, goal.optimum.log_pi).gap == pytest.approx(0.0, abs=1e-9)
    assert goal.judge_policy("sft", 0, goal.ref_log_pi).gap == pytest.approx(1.0, abs=1e-9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        noise = torch.randn(goal.ref_log_pi.shape, generator=generator, dtype=torch.float64)
        near = torch.log_softmax(goal.optimum.log_pi + 0.1 * noise, dim=-1)
        assert goal.judge_policy("near", 0, near).gap > 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "kl", "steps"),
    [
        ("ppo", 0.5, 450),
        ("ppo", 1.5, 300),
        ("ppo", 3.0, 200),
        ("rloo", 0.5, 600),
        ("rloo", 1.5, 400),
        ("rloo", 3.0, 250),
    ],
)
def test_ppo_and_rloo_end_within_five_percent(algorithm: str, kl: float, steps: int) -> None:
    """Of the way from reference to optimum, in J computed exactly."""
    end = end_of(algorithm, kl, steps)
    assert -1e-9 < end.gap <= 0.05, end
    assert end.kl == pytest.approx(kl, rel=0.25)


@pytest.mark.slow
def test_grpo_stays_short_and_goes_too_far_because_it_divides_by_the_spread() -> None:
    """Scores spread by less than 1 here, so dividing by their spread weakens the toll."""
    divided = end_of("grpo", 1.5, 250)
    plain = end_of("grpo", 1.5, 250, divide_by_std=False)
    assert divided.gap > 0.15 and plain.gap > 0.05
    assert divided.kl > plain.kl + 0.2 and divided.kl > 1.5 + 0.3


def test_an_unknown_algorithm_is_refused() -> None:
    assert ALGORITHMS == ("ppo", "rloo", "reinforce", "grpo", "dpo")
    with pytest.raises(ValueError, match="one of ppo, rloo, reinforce, grpo, dpo, got 'sarsa'"):
        make_trainer("sarsa", sft_actor(), 0.1, steps=1)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_leaves_the_sft_actor_as_it_was(algorithm: str) -> None:
    before = [p.clone() for p in sft_actor().parameters()]
    trainer = make_trainer(algorithm, sft_actor(), 0.3, steps=2, pairs=200, seed=3)
    points = list(watch(trainer, goal_for(sft_actor(), 0.3), every=1))
    assert [p.step for p in points] == [0, 1, 2] and points[-1].gap != points[0].gap
    assert all(torch.equal(a, b) for a, b in zip(before, sft_actor().parameters(), strict=True))
