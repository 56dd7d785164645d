"""Regression on td_target finds the exact V: a table of numbers, and a real Critic network."""

from functools import cache

import pytest
import torch
from exact_critics import WORLD, all_answers, sampled_targets, signs, truth_at
from torch import Tensor

from minirlhf import Critic, RewardModel, critic_loss
from minirlhf.batch import Prompts
from minirlhf.worlds import exact
from minirlhf.worlds.exact import chains, targets


def regress(table: Tensor, gamma: float, lam: float | None, learning_rate: float) -> Tensor:
    """One step of gradient descent on `critic_loss` over all answers; a new table (S,).

    Each token weighs P(answer)/P(pass its state), so that the loss is the sum over all states of
    the mean at the state; a weight w goes into the square as √w.
    """
    rollout, p, states = all_answers()
    mask = rollout.response_mask
    root = (p[:, None] / truth_at(gamma).reach[states]).sqrt()
    table = table.clone().requires_grad_(True)
    old, target = table.detach()[states], sampled_targets(table.detach(), gamma, lam)
    loss = critic_loss(root * table[states], root * old, root * target, mask, value_clip_range=None)
    (slope,) = torch.autograd.grad(loss * mask.sum(), table)
    return table.detach() - learning_rate * slope


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_five_full_regressions_on_td_targets_give_the_exact_values(gamma: float) -> None:
    truth = truth_at(gamma)
    table = truth.values + 3 * signs()
    for _ in range(WORLD.steps - 1):
        table = regress(table, gamma, None, 1.0)
    assert (table - truth.values).abs()[0] > 1e-3
    table = regress(table, gamma, None, 1.0)
    assert (table - truth.values).abs().max() < 1e-12


def test_half_regressions_get_there_as_fast_as_the_chain_says() -> None:
    truth = truth_at(1.0)
    table = truth.values + signs()
    for update in range(1, 31):
        table = regress(table, 1.0, None, 0.5)
        bound = chains.predicted_error(WORLD.steps, update, lam=0.0, learning_rate=0.5)
        assert (table - truth.values).abs().max() <= bound + 1e-12
    assert bound < 1e-4


def test_gae_returns_need_fewer_regressions_than_td_targets() -> None:
    truth = truth_at(1.0)
    for lam, needed in ((None, 5), (0.95, 2), (1.0, 1)):
        table, fits = torch.zeros_like(truth.values), 0
        while (table - truth.values).abs().max() >= 0.05:
            table, fits = regress(table, 1.0, lam, 1.0), fits + 1
        assert fits == needed, f"λ = {lam}"


# ---------------------------------------------------------------------- a real Critic


OFTEN = 1e-5  # states that at least one answer in 100,000 passes: 99.9 % of all visits


@cache
def common_answers() -> tuple[Tensor, Tensor, Tensor]:
    """Answers that pass every state with reach > OFTEN: ids, mask, and the states on their way."""
    reach = truth_at(1.0).reach
    followed = targets.values_after(WORLD, (reach > OFTEN).double()).any(dim=1)
    tips = (reach > OFTEN) & ~followed
    rows = tips[WORLD.is_last.nonzero()[:, 0]] & (WORLD.is_last.nonzero()[:, 1] == WORLD.eos)
    ids, mask = (x[rows] for x in WORLD.answers())
    return ids, mask, WORLD.states_of(ids, mask)


def visit_error(values: Tensor) -> float:
    """Root of the mean squared error, over the visits of answers to common states."""
    truth = truth_at(1.0)
    weights = truth.reach.where(truth.reach > OFTEN, 0.0)
    return float((weights @ (values - truth.values) ** 2 / weights.sum()).sqrt())


@cache
def train(lam: float, rollouts: int = 16, seed: int = 0) -> list[Tensor]:
    """The critic's values (S,) at the start and after each rollout: 20 steps of AdamW on targets.

    Each state weighs as many answers as pass it; states that are not common keep the value 0.
    """
    truth = truth_at(1.0)
    critic = Critic.from_reward_model(RewardModel.from_actor(exact.sft_actor(), seed=seed))
    optimiser = torch.optim.AdamW(critic.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0)
    ids, mask, states = common_answers()
    prompt = torch.full((len(ids), 1), WORLD.eos)
    prompts = Prompts(prompt, torch.ones_like(prompt, dtype=torch.bool))
    answers_through = torch.bincount(states[mask], minlength=WORLD.n_states)
    root = (truth.reach / answers_through.clamp(min=1))[states].sqrt().float()
    tables = []
    for _ in range(rollouts + 1):
        old = critic.values(prompts, ids).detach()
        tables.append(torch.zeros_like(truth.values))
        tables[-1][states[mask]] = old[mask].double()
        target = targets.expected_target(truth, tables[-1], gamma=1.0, lam=lam)[states].float()
        for _ in range(20 if len(tables) <= rollouts else 0):
            values = critic.values(prompts, ids)
            loss = critic_loss(
                root * values, root * old, root * target, mask, value_clip_range=None
            )
            optimiser.zero_grad()
            (loss * mask.sum()).backward()
            optimiser.step()
    return tables


@pytest.mark.parametrize(("lam", "visits", "worst"), [(0.0, 0.1, 0.6), (0.95, 0.06, 0.4)])
def test_a_real_critic_ends_near_the_exact_values(lam: float, visits: float, worst: float) -> None:
    truth = truth_at(1.0)
    common = truth.reach > 0.01
    start, *_, end = train(lam)
    assert visit_error(start) > 1.0 > visit_error(torch.zeros_like(start)) > 0.5
    assert visit_error(end) < visits
    assert (end - truth.values)[common].abs().max() < worst


def test_a_real_critic_is_nearer_after_one_rollout_of_gae_returns_than_of_td_targets() -> None:
    """It begins as a random head; "td" then learns mostly from its own wrong guesses."""
    assert visit_error(train(0.0)[1]) > 1.3 * visit_error(train(0.95)[1])


def test_a_trained_critic_loses_by_a_sampled_target_everywhere_but_at_the_last_token() -> None:
    truth = truth_at(1.0)
    start, *_, end = (targets.target_errors(truth, v, gamma=1.0) for v in train(0.0))
    assert start.target_is_nearer[-2:].all()
    assert end.target_is_nearer.tolist() == [False, False, False, False, True]
    assert (end.target > 4 * end.value)[:-1].all()
    assert torch.equal(start.target[-1:], end.target[-1:])  # A is all that is left there
