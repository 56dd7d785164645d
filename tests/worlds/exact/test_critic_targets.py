"""The seed's claim, "R_t + γV_{t+1} is nearer the truth than V_t", on all 177,156 answers.

What holds: the *expected* target is nearer, by γ in the worst state, and exact at the end. One
sampled target also carries the luck of its token; it wins where that is less than what it saves.
"""

from itertools import pairwise

import pytest
import torch
from exact_critics import (
    WORLD,
    all_answers,
    close,
    critics,
    mean_by_state,
    mean_by_step,
    sampled_targets,
    signs,
    truth_at,
)

from minirlhf.worlds.exact import targets

# ---------------------------------------------------------------- (i) the expected target


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("lam", [None, 0.0, 0.95, 1.0])
def test_the_mean_of_all_sampled_targets_is_the_expected_target(
    gamma: float, lam: float | None
) -> None:
    truth = truth_at(gamma)
    for values in critics(truth).values():
        mean = mean_by_state(sampled_targets(values, gamma, lam))
        assert close(mean, targets.expected_target(truth, values, gamma=gamma, lam=lam or 0.0))


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_the_expected_td_target_is_the_mean_reward_and_the_mean_value_after_it(
    gamma: float,
) -> None:
    truth = truth_at(gamma)
    values, pi = signs(), truth.log_pi.exp()
    mean_reward = (pi * truth.rewards).sum(dim=1)
    inner = int((WORLD.depth < WORLD.steps - 1).sum())
    mean_after = torch.zeros_like(values)
    for word in range(WORLD.words):  # state s and a word lead to state s·words + 1 + word
        mean_after[:inner] += pi[:inner, word] * values[1 + word :: WORLD.words]
    mean = mean_by_state(sampled_targets(values, gamma))
    assert close(mean, mean_reward + gamma * mean_after)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_the_expected_target_is_nearer_in_the_worst_state_and_over_whole_answers(
    gamma: float,
) -> None:
    truth = truth_at(gamma)
    for values in critics(truth).values():
        before = values - truth.values
        after = mean_by_state(sampled_targets(values, gamma)) - truth.values
        assert after.abs().max() <= gamma * before.abs().max() + 1e-12
        # over whole answers only errors behind the first token are left
        later = truth.reach[1:] @ before[1:] ** 2
        assert truth.reach @ after**2 <= gamma**2 * later + 1e-12
        assert after[WORLD.depth == WORLD.steps - 1].abs().max() < 1e-12


def test_at_one_step_even_the_expected_target_may_be_farther() -> None:
    truth = truth_at(1.0)
    only_later = signs() * (WORLD.depth == 3)
    errors = targets.target_errors(truth, truth.values + only_later, gamma=1.0)
    assert errors.value[2] == 0.0 < errors.bias[2]


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_truth_walks_back_one_token_per_full_fit(gamma: float) -> None:
    truth = truth_at(gamma)
    values = truth.values + signs()
    largest = [1.0]
    for fit in range(1, WORLD.steps + 1):
        values = mean_by_state(sampled_targets(values, gamma))
        error = (values - truth.values).abs()
        learnt = WORLD.depth >= WORLD.steps - fit
        assert error[learnt].max() < 1e-12
        if fit < WORLD.steps:
            each_step = [error[WORLD.level(t)].max() for t in range(WORLD.steps - fit)]
            assert min(each_step) > 1e-3
        largest.append(float(error.max()))
    assert all(b <= gamma * a + 1e-12 for a, b in pairwise(largest))
    assert largest[-1] < 1e-12


# ---------------------------------------------------------------- (ii) one sampled target


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_one_sampled_target_misses_by_luck_and_the_next_error(gamma: float) -> None:
    truth = truth_at(gamma)
    rollout, _, states = all_answers()
    for values in critics(truth).values():
        missed = sampled_targets(values, gamma) - truth.values[states]
        error = (values - truth.values)[states] * rollout.response_mask
        luck = truth.advantages[states, rollout.response_ids]
        after = torch.cat([error[:, 1:], torch.zeros_like(error[:, :1])], dim=1)
        difference = (missed - luck - gamma * after)[rollout.response_mask]
        assert difference.abs().max() < 1e-12


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_mean_squared_errors_are_those_of_all_sampled_targets(gamma: float) -> None:
    truth = truth_at(gamma)
    _, _, states = all_answers()
    luck = mean_by_step((sampled_targets(truth.values, gamma) - truth.values[states]) ** 2)
    for values in critics(truth).values():
        errors = targets.target_errors(truth, values, gamma=gamma)
        sampled = sampled_targets(values, gamma)
        expected = mean_by_state(sampled)
        assert close(errors.value, mean_by_step((values - truth.values)[states] ** 2))
        assert close(errors.target, mean_by_step((sampled - truth.values[states]) ** 2))
        assert close(errors.bias, mean_by_step((expected - truth.values)[states] ** 2))
        assert close(errors.variance, mean_by_step((sampled - expected[states]) ** 2))
        assert close(errors.luck, luck)
        assert close(errors.target, errors.luck + errors.cross + errors.later)
        assert close(errors.target, errors.bias + errors.variance)


def test_luck_plus_later_error_is_not_enough_where_both_depend_on_the_token() -> None:
    truth = truth_at(1.0)
    zero = targets.target_errors(truth, torch.zeros_like(truth.values), gamma=1.0)
    assert (zero.luck + zero.later)[2] > 2.5 * zero.target[2]
    # an error and its opposite: the cross term cancels
    up, down = (
        targets.target_errors(truth, truth.values + s * signs(), gamma=1.0) for s in (1, -1)
    )
    assert close((up.target + down.target) / 2, up.luck + up.later)
    assert up.cross.abs()[:-1].min() > 1e-6 and up.cross[-1] == 0.0
    # an error that depends on the step alone: EOS is left, behind which there is no error
    same = targets.target_errors(truth, truth.values + 2.0, gamma=1.0)
    eos_luck = truth.log_pi[:, WORLD.eos].exp() * truth.advantages[:, WORLD.eos]
    assert close(same.cross[:-1], -4 * targets.mean_at_each_step(truth, eos_luck)[:-1])


def test_the_mean_of_many_targets_keeps_the_bias_and_loses_the_noise() -> None:
    truth = truth_at(1.0)
    values = truth.values + signs()
    errors = targets.target_errors(truth, values, gamma=1.0)
    missed = truth.rewards[0] + targets.values_after(WORLD, values)[0] - truth.values[0]
    pi = truth.log_pi[0].exp()  # at the first token: all pairs of two draws
    of_two = (torch.outer(pi, pi) * ((missed[:, None] + missed) / 2) ** 2).sum()
    assert float(errors.of_mean(2)[0]) == pytest.approx(float(of_two), rel=1e-12)
    assert close(errors.of_mean(1), errors.target) and close(errors.of_mean(10**15), errors.bias)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
def test_with_an_exact_critic_a_return_holds_the_luck_of_every_later_token(
    gamma: float, lam: float
) -> None:
    """What "td" has over "gae": Var(return_t) = Σ_l (γλ)^{2l}·E[A²_{t+l}], and "td" is l = 0."""
    truth = truth_at(gamma)
    _, _, states = all_answers()
    missed = sampled_targets(truth.values, gamma, lam) - truth.values[states]
    going_on = torch.stack([truth.reach[WORLD.level(t)].sum() for t in range(WORLD.steps)])
    luck = going_on * targets.target_errors(truth, truth.values, gamma=gamma).luck
    for t in range(WORLD.steps - 1, 0, -1):
        luck[t - 1] += (gamma * lam) ** 2 * luck[t]
    assert close(mean_by_step(missed**2), luck / going_on)


def test_a_truth_of_another_gamma_is_refused() -> None:
    with pytest.raises(ValueError, match=r"γ.* got 0\.9"):
        targets.target_errors(truth_at(1.0), truth_at(1.0).values, gamma=0.9)
