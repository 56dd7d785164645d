"""GRPO's fixed points: its expected step, through our own formulas, is zero exactly there."""

import pytest
import torch
from torch import Tensor

from minirlhf import PPOConfig, actor_loss, masked_mean, per_token_kl
from minirlhf.worlds import exact
from minirlhf.worlds.exact.fixed_points import grpo_fixed_point, optimum_divided_by_std, spread
from minirlhf.worlds.exact.tree import Tree

TREE = Tree(words=3, steps=3)


def tables(tree: Tree = TREE) -> tuple[Tensor, Tensor]:
    """A reference that is not uniform, and scores between −1 and 1."""
    generator = torch.Generator().manual_seed(1)
    shape = (tree.n_states, tree.n_tokens)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    scores = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    return torch.log_softmax(logits, dim=-1), exact.final_scores(scores, tree)


def expected_step(log_pi: Tensor, ref_log_pi: Tensor, scores: Tensor, kl_coef: float, sigma: float):
    """GRPO's expected gradient by the logits, summed over all answers through our own losses."""
    config = PPOConfig(kl_coef=0.0, missing_eos_penalty=0.0, score_clip=None)
    values = torch.zeros(TREE.n_states, dtype=torch.float64)
    rollout, probability = exact.every_answer(log_pi, ref_log_pi, scores, values, config, TREE)
    mask, ids = rollout.response_mask, rollout.response_ids
    mean = (probability * rollout.scores).sum()
    advantages = ((rollout.scores - mean) / sigma)[:, None].expand_as(mask)
    logits = log_pi.detach().clone().requires_grad_()
    new = torch.log_softmax(logits, dim=-1)[TREE.states_of(ids, mask), ids]
    weight = probability[:, None]
    surrogate = actor_loss(new, rollout.old_log_probs, advantages * weight, mask)
    toll = masked_mean(per_token_kl(new, rollout.ref_log_probs, estimator="k3") * weight, mask)
    loss = (surrogate + kl_coef * toll) * mask.sum()
    return torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize("divide_by_std", [True, False])
@pytest.mark.parametrize("kl_coef", [0.2, 1.0])
def test_grpos_expected_step_is_zero_there_and_not_at_the_optimum(
    divide_by_std: bool, kl_coef: float
) -> None:
    ref_log_pi, scores = tables()
    rest = grpo_fixed_point(ref_log_pi, scores, TREE, kl_coef=kl_coef, divide_by_std=divide_by_std)
    sigma = spread(rest, scores) if divide_by_std else 1.0
    step = expected_step(rest.log_pi, ref_log_pi, scores, kl_coef, sigma)
    assert float(step.abs().max()) < 1e-8
    best = exact.optimal_policy(ref_log_pi, scores, TREE, kl_coef=kl_coef)
    truth = exact.exact_truth(best.log_pi, ref_log_pi, scores, TREE, kl_coef=kl_coef)
    sigma = spread(truth, scores) if divide_by_std else 1.0
    away = expected_step(best.log_pi, ref_log_pi, scores, kl_coef, sigma)
    assert float(away.abs().max()) > 1e-3


def test_k3_in_the_loss_alone_already_misses_the_optimum() -> None:
    ref_log_pi, scores = tables()
    best = exact.optimal_policy(ref_log_pi, scores, TREE, kl_coef=0.3)
    rest = grpo_fixed_point(ref_log_pi, scores, TREE, kl_coef=0.3, divide_by_std=False)
    assert float(best.objective - rest.objective) > 1e-3
    assert float((rest.log_pi.exp().sum(dim=1) - 1).abs().max()) < 1e-12


def test_dividing_by_the_spread_is_a_toll_of_beta_times_sigma() -> None:
    ref_log_pi, scores = tables()
    rest = optimum_divided_by_std(ref_log_pi, scores, TREE, kl_coef=1.0)
    sigma = spread(rest, scores)
    assert 0.0 < sigma < 1.0
    same = exact.optimal_policy(ref_log_pi, scores, TREE, kl_coef=1.0 * sigma)
    assert torch.allclose(rest.log_pi, same.log_pi, atol=1e-6)
    asked = exact.optimal_policy(ref_log_pi, scores, TREE, kl_coef=1.0)
    assert float(rest.kl) > float(asked.kl)  # scores spread by less than 1: the toll is weaker


def test_a_small_toll_divided_by_the_spread_runs_away_to_the_best_answers() -> None:
    """Narrower scores make the toll smaller, which narrows the scores, until none is left."""
    ref_log_pi, scores = tables()
    rest = optimum_divided_by_std(ref_log_pi, scores, TREE, kl_coef=0.05)
    assert spread(rest, scores) < 1e-3
    assert float(rest.score) == pytest.approx(float(scores[TREE.is_last].max()), abs=1e-3)


def test_spread_is_the_standard_deviation_over_answers() -> None:
    ref_log_pi, scores = tables()
    truth = exact.exact_truth(ref_log_pi, ref_log_pi, scores, TREE, kl_coef=0.1)
    p, r = truth.answer_probability[TREE.is_last], scores[TREE.is_last]
    assert spread(truth, scores) == pytest.approx(
        float(((p * r**2).sum() - (p * r).sum() ** 2).sqrt())
    )
