"""Where one sampled target R_t + γV̂_{t+1} beats V̂_t, and where it loses: by step and by critic.

A good critic loses by its own targets: they add luck to what it knows. A bad one wins by them
first at the last tokens, where R_t is a fact and nothing has to be predicted.
"""

import pytest
import torch
from exact_critics import (
    WORLD,
    close,
    critics,
    policies,
    signs,
    truth_at,
)

from minirlhf.worlds import exact
from minirlhf.worlds.exact import targets


def test_a_good_critic_beats_its_own_sampled_target_and_a_bad_one_does_not() -> None:
    truth = truth_at(1.0)
    never = targets.target_errors(truth, truth.values, gamma=1.0)
    assert never.luck.min() > 1e-5 and not never.target_is_nearer.any()
    assert close(never.target, never.luck) and never.value.max() == 0.0
    bound = targets.crossover(truth, signs(), gamma=1.0)
    nearer = []
    for c in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0):
        errors = targets.target_errors(truth, truth.values + c * signs(), gamma=1.0)
        assert errors.target_is_nearer.tolist() == (c > bound).tolist()
        assert close(errors.target[-1], errors.luck[-1])  # after the last token V̂ = V = 0
        nearer.append(errors.target_is_nearer)
    wins = torch.stack(nearer).sum(dim=0)  # at how many of the six critics, step by step
    assert wins[-1] == 5 and wins[0] == 0 and wins[3] >= 3, wins


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_the_crossover_is_where_both_err_alike(gamma: float) -> None:
    truth = truth_at(gamma)
    for error in (signs(), -truth.values, exact.gold_table()[:, WORLD.eos] - truth.values):
        bound = targets.crossover(truth, error, gamma=gamma)
        assert bound.isfinite().sum() >= 3
        for t in range(WORLD.steps):
            at = [0.25, 0.5, 0.999, 1.001] if bound[t].isfinite() else []
            tries = [float(c * bound[t]) for c in at] or [0.1, 1.0, 10.0, 100.0]
            nearer = [
                bool(
                    targets.target_errors(
                        truth, truth.values + c * error, gamma=gamma
                    ).target_is_nearer[t]
                )
                for c in tries
            ]
            assert nearer == [False, False, False, bool(at)]


def test_at_the_optimum_no_token_is_luck_so_the_target_never_loses_over_whole_answers() -> None:
    ref_log_pi, _ = policies()
    scores = exact.final_scores(exact.gold_table(), missing_eos_penalty=1.0)
    best = exact.optimal_policy(ref_log_pi, scores, kl_coef=0.5)
    truth = exact.exact_truth(best.log_pi, ref_log_pi, scores, kl_coef=0.5)
    assert truth.advantages.abs().max() < 1e-12
    going_on = torch.stack([truth.reach[WORLD.level(t)].sum() for t in range(WORLD.steps)])
    for values in critics(truth).values():
        errors = targets.target_errors(truth, values, gamma=1.0)
        assert close(going_on @ errors.target, going_on[1:] @ errors.value[1:])


def test_a_reward_model_is_a_bad_critic_until_the_last_token() -> None:
    truth = truth_at(1.0)
    errors = targets.target_errors(truth, critics(truth)["reward model"], gamma=1.0)
    assert errors.target_is_nearer.tolist() == [True, True, True, True, False]
