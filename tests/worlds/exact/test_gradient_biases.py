"""What bends the policy gradient, and by how much: each bias equals its formula, exactly.

A wrong critic with λ < 1, a mean over each answer's own tokens, and γ < 1. All sums over the
177,156 answers go through `gae` and `actor_loss`; the formulas here are sums over states.
"""

from dataclasses import replace

import pytest
import torch
from exact_tables import (
    CONFIG,
    after,
    by_logits,
    cosine,
    critic_error,
    expected_sum,
    largest,
    loss_gradient,
    rollout_for,
    truth_for,
)
from torch import Tensor

from minirlhf.worlds.exact import WORLD, Tree, every_answer, exact_truth, final_scores, gold_table


def followed(gamma: float, lam: float, error: Tensor) -> Tensor:
    """(S, V): the expected direction of an update whose critic says V + error."""
    config = replace(CONFIG, gamma=gamma, lam=lam)
    rollout, probabilities = rollout_for(config, values=truth_for(config).values + error)
    return -loss_gradient(WORLD, rollout, probabilities, rollout.advantages)


def wrong_critic_bias(gamma: float, lam: float, error: Tensor) -> Tensor:
    """(S, V): what a critic's error e adds to the policy gradient.

        E[Â_t given S_t, A_t] = A(S_t, A_t) − e(S_t) + γ(1 − λ)·Σ_{k≥0} (γλ)^k·E[e(S_{t+1+k})]

    −e(S_t) is a baseline and vanishes; errors after the token stay, less of them as λ grows.
    """
    truth = truth_for(CONFIG)
    pi = truth.log_pi.exp()
    ahead = after(WORLD, expected_sum(WORLD, pi, error, gamma * lam))
    return truth.reach[:, None] * by_logits(pi, gamma * (1 - lam) * ahead)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("lam", [0.0, 0.3, 0.95, 1.0])
def test_a_wrong_critic_bends_the_gradient_by_the_errors_still_ahead(
    gamma: float, lam: float
) -> None:
    truth = truth_for(replace(CONFIG, gamma=gamma))
    unbiased = truth.logit_gradient()  # Σ reach·π·A·∇log π, whatever γ is
    bias = wrong_critic_bias(gamma, lam, critic_error())
    assert largest(followed(gamma, lam, critic_error()) - (unbiased + bias)) < 1e-13


def test_the_bias_is_as_large_as_the_gradient_at_lambda_0_and_gone_at_lambda_1() -> None:
    gradient = truth_for(CONFIG).logit_gradient()
    sizes = [
        float(wrong_critic_bias(1.0, lam, critic_error()).norm() / gradient.norm())
        for lam in (0.0, 0.3, 0.95, 1.0)
    ]
    assert sizes == pytest.approx([1.152, 0.715, 0.045, 0.0], abs=0.01)


def test_at_lambda_0_only_the_error_after_the_token_counts() -> None:
    """E[δ_t given s, a] = A + γE[e(s')] − e(s): an error at the root alone does no harm."""
    truth = truth_for(CONFIG)
    at_root = torch.zeros(WORLD.n_states, dtype=torch.float64)
    at_root[0] = 3.0
    assert largest(followed(1.0, 0.0, at_root) - truth.logit_gradient()) < 1e-13
    pi, error = truth.log_pi.exp(), critic_error()
    bias = truth.reach[:, None] * by_logits(pi, after(WORLD, error))
    assert largest(wrong_critic_bias(1.0, 0.0, error) - bias) < 1e-16


def test_an_error_that_is_equal_within_a_step_bends_only_the_choice_to_end() -> None:
    """EOS leads to no state, so its error is 0: a critic too high everywhere makes answers longer.

    Between the words that go on, such an error changes nothing; were the length fixed, it would be
    a baseline and change nothing at all.
    """
    truth = truth_for(CONFIG)
    pi, reach = truth.log_pi.exp(), truth.reach[:, None]
    shift = followed(1.0, 0.0, torch.full_like(truth.values, 0.5)) - truth.logit_gradient()
    goes_on = (~WORLD.is_last).double()
    chance = (pi * goes_on).sum(dim=1, keepdim=True)
    assert largest(shift - 0.5 * reach * pi * (goes_on - chance)) < 1e-13
    assert float(shift[:, WORLD.eos].sum()) < -0.04  # away from EOS

    no_eos = truth.log_pi.clone()
    no_eos[:, WORLD.eos] -= 60.0  # e⁻⁶⁰: every answer has five words
    no_eos = no_eos.log_softmax(dim=1)
    settled = exact_truth(no_eos, truth.ref_log_pi, gold_table(), kl_coef=0.1)
    values = settled.values + 0.5 * (1.0 + WORLD.depth)
    rollout, chances = every_answer(
        no_eos, truth.ref_log_pi, gold_table(), values,
        replace(CONFIG, lam=0.0, missing_eos_penalty=0.0),
    )  # fmt: skip
    gradient = -loss_gradient(WORLD, rollout, chances, rollout.advantages)
    assert largest(gradient - settled.logit_gradient()) < 1e-12


def mean_over_own_tokens(kl_coef: float, values: Tensor | None) -> Tensor:
    """(S, V): −Σ_y π(y)·∇actor_loss(y), each answer's mean counted once whatever its length."""
    rollout, probabilities = rollout_for(replace(CONFIG, kl_coef=kl_coef), values=values)
    lengths = rollout.response_mask.sum(dim=1).double()
    advantages = rollout.advantages
    if values is None:
        states = WORLD.states_of(rollout.response_ids, rollout.response_mask)
        advantages = truth_for(CONFIG).advantages[states, rollout.response_ids]
    return -loss_gradient(WORLD, rollout, probabilities / lengths, advantages)


def test_a_mean_over_each_answer_s_own_tokens_weighs_advantages_by_one_over_the_length() -> None:
    """Σ reach·π·E[1/L given s, a]·A·∇log π: a token counts less if a long answer may follow."""
    truth = truth_for(CONFIG)
    pi = truth.log_pi.exp()
    share = WORLD.is_last / (1.0 + WORLD.depth[:, None].double())  # 1/L where the answer ends
    share = share + after(WORLD, expected_sum(WORLD, pi, (pi * share).sum(dim=1)))
    weighed = truth.reach[:, None] * by_logits(pi, share * truth.advantages)
    gradient = mean_over_own_tokens(0.1, None)
    assert largest(gradient - weighed) < 1e-14

    mean_length = float(truth.reach.sum())
    right = truth.logit_gradient()
    assert mean_length == pytest.approx(4.015, abs=0.01)
    assert float((gradient * mean_length - right).norm() / right.norm()) == pytest.approx(
        0.249, abs=0.005
    )
    assert cosine(gradient, right) == pytest.approx(0.990, abs=0.001)  # 14 % points elsewhere


def test_without_critic_and_toll_that_mean_maximises_the_score_per_token_instead() -> None:
    """Σ_y π(y)·(r(y)/L_y)·Σ_t ∇log π is the gradient of E[r(y)/L_y], not of E[r(y)]."""
    logits = truth_for(CONFIG).log_pi.clone().requires_grad_()
    truth = truth_for(replace(CONFIG, kl_coef=0.0), logits.log_softmax(dim=1))
    final = final_scores(gold_table(), missing_eos_penalty=1.0)
    per_token = truth.answer_probability * final / (1.0 + WORLD.depth[:, None])
    wrong, right = (
        torch.autograd.grad(x, logits, retain_graph=True)[0]
        for x in (per_token.sum(), truth.objective)
    )
    gradient = mean_over_own_tokens(0.0, torch.zeros(WORLD.n_states, dtype=torch.float64))
    assert largest(gradient - wrong) < 1e-14
    assert cosine(gradient, right) == pytest.approx(0.977, abs=0.001)


def test_score_per_token_can_turn_the_gradient_round() -> None:
    """Ending at once is worth 1.0, two tokens 1.2: J wants the longer answer, that mean the short.

    At an even chance, ∂J/∂z(EOS) = ¼·(1 − 1.2); by tokens it is ¼·(1/1 − 1.2/2).
    """
    tree = Tree(words=1, steps=2)
    half = torch.full((2, 2), -torch.log(torch.tensor(2.0)).item(), dtype=torch.float64)
    scores = torch.tensor([[0.0, 1.0], [1.2, 1.2]], dtype=torch.float64)
    config = replace(CONFIG, kl_coef=0.0, missing_eos_penalty=0.0)
    rollout, chances = every_answer(half, half, scores, torch.zeros(2).double(), config, tree)
    lengths = rollout.response_mask.sum(dim=1)
    by_answer, by_token = (
        -loss_gradient(tree, rollout, weights, rollout.advantages)[0, tree.eos]
        for weights in (chances, chances / lengths)
    )
    assert float(by_answer) == pytest.approx(-0.05)
    assert float(by_token) == pytest.approx(+0.10)


@pytest.mark.parametrize(
    ("gamma", "to_discounted", "to_j"), [(0.9, 0.995, 0.997), (0.5, 0.83, 0.82)]
)
def test_a_discount_gives_the_gradient_neither_of_the_discounted_value_nor_of_j(
    gamma: float, to_discounted: float, to_j: float
) -> None:
    """Ours is Σ reach·π·A_γ·∇log π; the gradient of the discounted V(root) has γ^t more."""
    logits = truth_for(CONFIG).log_pi.clone().requires_grad_()
    truth = truth_for(replace(CONFIG, gamma=gamma), logits.log_softmax(dim=1))
    discounted = torch.autograd.grad(truth.values[0], logits)[0]
    ours = followed(gamma, 1.0, torch.zeros(WORLD.n_states, dtype=torch.float64))
    assert largest(ours - truth.logit_gradient()) < 1e-13
    assert largest(gamma ** WORLD.depth[:, None].double() * ours - discounted) < 1e-13
    assert cosine(ours, discounted) == pytest.approx(to_discounted, abs=0.001)
    assert cosine(ours, truth_for(CONFIG).logit_gradient()) == pytest.approx(to_j, abs=0.002)
