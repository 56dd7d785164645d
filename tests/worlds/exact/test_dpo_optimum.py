"""DPO sees nothing but pairs, and with enough of them comes near the policy that gold asks for."""

from functools import cache

import pytest
import torch
from torch import Tensor

from minirlhf.data import pad_responses
from minirlhf.dpo_loss import dpo_loss, implicit_rewards
from minirlhf.worlds import exact
from minirlhf.worlds.exact.frontier import Goal, goal_for
from minirlhf.worlds.exact.preferences import preference_rows
from minirlhf.worlds.exact.tree import WORLD


@cache
def goal_at(kl: float) -> Goal:
    actor = exact.sft_actor()
    any_goal = goal_for(actor, 1.0)
    return goal_for(actor, exact.kl_coef_for(kl, any_goal.ref_log_pi, any_goal.gold))


def pairs(goal: Goal, n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The different answers among n pairs (ids, mask), and which of them each pair holds."""
    rows = preference_rows(goal.truth(goal.ref_log_pi), goal.gold, n, seed=seed)
    ids, mask = pad_responses(
        [row["chosen"] for row in rows] + [row["rejected"] for row in rows], WORLD.eos
    )
    both = torch.cat([ids, mask.long()], dim=1)
    different, which = torch.unique(both, dim=0, return_inverse=True)
    return different[:, : ids.shape[1]], different[:, ids.shape[1] :].bool(), which


def gap_after_dpo(kl: float, n: int) -> float:
    """Fit a table of logits by DPO, as long as the pairs it does not see (a tenth) gain by it.

    A table has one logit for each state and token, so no network's generalisation is in the way.
    """
    goal = goal_at(kl)
    ids, mask, which = pairs(goal, n)
    states = WORLD.states_of(ids, mask)
    logits = goal.ref_log_pi.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.05)
    held_out, least, gap = n // 10, float("inf"), 1.0
    for step in range(301):
        rewards = implicit_rewards(
            torch.log_softmax(logits, dim=-1)[states, ids],
            goal.ref_log_pi[states, ids],
            mask,
            kl_coef=goal.optimum.kl_coef,
        )
        chosen, rejected = rewards[which].chunk(2)
        if step % 10 == 0:
            loss = float(dpo_loss(chosen[:held_out], rejected[:held_out]).detach())
            if loss > least:
                break
            least = loss
            gap = goal.judge_policy("dpo", step, torch.log_softmax(logits.detach(), -1)).gap
        optimizer.zero_grad()
        dpo_loss(chosen[held_out:], rejected[held_out:]).backward()
        optimizer.step()
    return gap


@pytest.mark.slow
@pytest.mark.parametrize("kl", [0.5, 1.5])
def test_dpo_comes_within_a_tenth_and_nearer_with_more_pairs(kl: float) -> None:
    few, enough = gap_after_dpo(kl, 4000), gap_after_dpo(kl, 256_000)
    assert 0.0 < enough <= 0.10
    assert enough < 0.6 * few


def test_at_the_optimum_the_implicit_reward_is_gold_but_for_a_constant() -> None:
    """Why DPO works at all: β·log(π*/π_ref) = r − β·log Z (Rafailov et al. 2023, eq. 5)."""
    goal = goal_at(1.5)
    ids, mask = WORLD.answers()
    states = WORLD.states_of(ids, mask)
    rewards = implicit_rewards(
        goal.optimum.log_pi[states, ids],
        goal.ref_log_pi[states, ids],
        mask,
        kl_coef=goal.optimum.kl_coef,
    )
    constant = goal.gold[WORLD.is_last] - rewards
    assert float(constant.max() - constant.min()) < 1e-9
    assert float(constant[0]) == pytest.approx(float(goal.optimum.objective), abs=1e-9)
