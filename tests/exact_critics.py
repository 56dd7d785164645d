"""Critics in the exact world, and every sampled target that our own formulas would give them."""

from functools import cache

import torch
from torch import Tensor

from minirlhf import PPOConfig, gae, td_target
from minirlhf.batch import Rollout
from minirlhf.worlds import exact

WORLD = exact.WORLD


@cache
def policies() -> tuple[Tensor, Tensor]:
    """The reference, and an actor part of the way from it to π*: log-probabilities (S, V)."""
    ref_log_pi = exact.policy_table(exact.sft_actor()).detach().double()
    scores = exact.final_scores(exact.gold_table(), missing_eos_penalty=1.0)
    return ref_log_pi, exact.optimal_policy(ref_log_pi, scores, kl_coef=1.0).log_pi


@cache
def truth_at(gamma: float) -> exact.Truth:
    ref_log_pi, log_pi = policies()
    config = PPOConfig()
    return exact.exact_truth(
        log_pi,
        ref_log_pi,
        exact.gold_table(),
        kl_coef=config.kl_coef,
        gamma=gamma,
        missing_eos_penalty=config.missing_eos_penalty,
        score_clip=config.score_clip,
    )


@cache
def all_answers() -> tuple[Rollout, Tensor, Tensor]:
    """Every answer, how likely it is, and the states (N, R) that it passes."""
    ref_log_pi, log_pi = policies()
    values = torch.zeros(WORLD.n_states, dtype=torch.float64)
    rollout, p = exact.every_answer(log_pi, ref_log_pi, exact.gold_table(), values, PPOConfig())
    return rollout, p, WORLD.states_of(rollout.response_ids, rollout.response_mask)


def sampled_targets(values: Tensor, gamma: float, lam: float | None = None) -> Tensor:
    """(N, R) from our own formulas: "td", or the returns of "gae" at some λ."""
    rollout, _, states = all_answers()
    rewards, mask = rollout.rewards, rollout.response_mask
    if lam is None:
        return td_target(rewards, values[states], mask, gamma=gamma)
    return gae(rewards, values[states], mask, gamma=gamma, lam=lam)[1]


def mean_by_state(of_token: Tensor) -> Tensor:
    """(S,) from (N, R): the mean over the answers that pass a state, by their probabilities."""
    rollout, p, states = all_answers()
    mask = rollout.response_mask
    weights = p[:, None].expand(mask.shape)[mask]
    of_states = torch.zeros(2, WORLD.n_states, dtype=torch.float64)
    of_states[0].index_add_(0, states[mask], weights * of_token[mask])
    of_states[1].index_add_(0, states[mask], weights)
    return of_states[0] / of_states[1]


def mean_by_step(of_token: Tensor) -> Tensor:
    """(R,) from (N, R): the mean over the answers that are still going on."""
    rollout, p, _ = all_answers()
    weights = p[:, None] * rollout.response_mask
    return (weights * of_token).sum(dim=0) / weights.sum(dim=0)


def signs() -> Tensor:
    """(S,) an error of +1 or −1 that changes from state to state, also within a step."""
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 2, (WORLD.n_states,), generator=generator).double() * 2 - 1


def critics(truth: exact.Truth) -> dict[str, Tensor]:
    """(S,) each: right, wrong at random, knowing nothing, and a perfect reward model's start."""
    return {
        "exact": truth.values,
        "signs": truth.values + signs(),
        "zero": torch.zeros_like(truth.values),
        # a critic made from a reward model reads an unfinished answer as if it ended here
        "reward model": exact.gold_table()[:, WORLD.eos],
    }


def close(one: Tensor, other: Tensor, tolerance: float = 1e-12) -> bool:
    return torch.allclose(one, other, rtol=0.0, atol=tolerance)
