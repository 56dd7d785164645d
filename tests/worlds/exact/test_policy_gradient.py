"""The expected gradient of actor_loss is −∇J, exactly: no sample, so no noise to hide a bias.

    Σ_y π(y)·L_y·∇actor_loss(y) = −∇J        (γ = 1, k1 toll in the rewards, at the rollout policy)

`actor_loss` is a mean over an answer's tokens, hence its length L_y; the trainers weight their
minibatches by tokens, which comes to the same. What breaks the equation: test_gradient_biases.
"""

from dataclasses import replace

import pytest
import torch
from exact_tables import (
    CONFIG,
    SMALL,
    actor_and_reference,
    cosine,
    critic_error,
    largest,
    loss_gradient,
    policy_tables,
    random_log_pi,
    random_scores,
    rollout_for,
    truth_for,
)
from torch import Tensor

from minirlhf import Prompts, actor_loss, masked_whiten
from minirlhf.worlds import exact
from minirlhf.worlds.exact import WORLD, every_answer, exact_truth, gold_table


def objective_gradient() -> Tensor:
    """(S, V): ∇J of the world's actor by the logits of every state, by autograd on the truth."""
    logits = policy_tables()[0].clone().requires_grad_()
    objective = truth_for(CONFIG, logits.log_softmax(dim=1)).objective
    return torch.autograd.grad(objective, logits)[0]


def exact_advantages(ids: Tensor, mask: Tensor) -> Tensor:
    """(N, R): the true A(S_t, A_t)."""
    return truth_for(CONFIG).advantages[WORLD.states_of(ids, mask), ids]


def test_the_policy_gradient_theorem_is_the_gradient_of_j() -> None:
    assert largest(truth_for(CONFIG).logit_gradient() - objective_gradient()) < 1e-14
    assert float(objective_gradient().norm()) > 0.1  # there is something to be wrong about


def test_the_theorem_by_finite_differences() -> None:
    ref_log_pi, scores = random_log_pi(SMALL, 1), random_scores(SMALL, 2)

    def objective(logits: Tensor) -> Tensor:
        return exact_truth(logits.log_softmax(1), ref_log_pi, scores, SMALL, kl_coef=0.3).objective

    logits, step = random_scores(SMALL, 0), 1e-5
    truth = exact_truth(logits.log_softmax(1), ref_log_pi, scores, SMALL, kl_coef=0.3)
    for state in range(SMALL.n_states):
        for action in range(SMALL.n_tokens):
            nudge = torch.zeros_like(logits)
            nudge[state, action] = step
            slope = float(objective(logits + nudge) - objective(logits - nudge)) / (2 * step)
            assert truth.logit_gradient()[state, action].item() == pytest.approx(slope, abs=1e-9)


def test_with_the_true_advantages_the_expected_gradient_of_actor_loss_is_minus_that_of_j() -> None:
    rollout, probabilities = rollout_for(CONFIG)
    advantages = exact_advantages(rollout.response_ids, rollout.response_mask)
    gradient = loss_gradient(WORLD, rollout, probabilities, advantages)
    assert largest(gradient + objective_gradient()) < 1e-13


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.95, 1.0])
def test_with_gae_from_an_exact_critic_no_lambda_is_biased(lam: float) -> None:
    rollout, probabilities = rollout_for(replace(CONFIG, lam=lam))
    gradient = loss_gradient(WORLD, rollout, probabilities, rollout.advantages)
    assert largest(gradient + objective_gradient()) < 1e-13


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_with_lambda_one_not_even_a_wrong_critic_biases(error: float) -> None:
    wrong = truth_for(CONFIG).values + error * critic_error()
    rollout, probabilities = rollout_for(CONFIG, values=wrong)
    gradient = loss_gradient(WORLD, rollout, probabilities, rollout.advantages)
    assert largest(gradient + objective_gradient()) < 1e-13


def test_at_the_rollout_policy_the_clip_does_nothing() -> None:
    rollout, probabilities = rollout_for(CONFIG)
    gradients = [
        loss_gradient(WORLD, rollout, probabilities, rollout.advantages, clip_range=clip)
        for clip in (1e-6, 0.2, float("inf"))
    ]
    assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[1], gradients[2])


@pytest.mark.parametrize("shift_mean", [True, False])
def test_whitening_rescales_the_gradient_and_does_not_turn_it(shift_mean: bool) -> None:
    """It takes one number from all advantages, a baseline, and divides them by another."""
    rollout, probabilities = rollout_for(replace(CONFIG, lam=0.95))
    mask, advantages = rollout.response_mask, rollout.advantages
    whitened = masked_whiten(advantages, mask, shift_mean=shift_mean)
    deviation = advantages[mask].std(correction=0)
    assert abs(float(advantages[mask].mean())) > 0.1
    gradient = loss_gradient(WORLD, rollout, probabilities, whitened)
    assert largest(gradient * deviation + objective_gradient()) < 1e-8  # rsqrt(var + 1e-8)
    assert cosine(gradient, -objective_gradient()) == pytest.approx(1.0, abs=1e-12)


def test_by_the_parameters_of_the_model_the_gradients_agree_too() -> None:
    """Through the table of the whole world: the loss's gradient, pulled back into the network."""
    actor, _ = actor_and_reference()
    log_pi = exact.policy_table(actor)
    parameters = list(actor.parameters())
    by_truth = torch.autograd.grad(
        truth_for(CONFIG, log_pi).objective, parameters, retain_graph=True
    )
    rollout, probabilities = rollout_for(CONFIG)
    mask, ids = rollout.response_mask, rollout.response_ids
    log_probs = log_pi[WORLD.states_of(ids, mask), ids]
    folded = rollout.advantages * probabilities[:, None]
    loss = actor_loss(log_probs, rollout.old_log_probs, folded, mask) * mask.sum()
    by_loss = torch.autograd.grad(loss, parameters)
    assert max(largest(x + y) for x, y in zip(by_truth, by_loss, strict=True)) < 1e-12
    assert max(largest(x) for x in by_truth) > 0.01


def test_through_the_actor_s_own_log_probs_in_microbatches_weighted_by_their_tokens() -> None:
    """The trainers' way, answer by answer through the network, in a world of three steps."""
    actor, reference = actor_and_reference()
    tree = exact.Tree(words=11, steps=3)
    scores = gold_table()[: tree.n_states] + random_scores(tree, 5)
    log_pi, ref = exact.policy_table(actor, tree), exact.policy_table(reference, tree).detach()
    parameters = list(actor.parameters())
    truth = exact_truth(log_pi, ref, scores, tree, kl_coef=0.1, missing_eos_penalty=1.0)
    by_truth = torch.autograd.grad(truth.objective, parameters)

    rollout, probabilities = every_answer(log_pi, ref, scores, truth.values, CONFIG, tree)
    tokens = int(rollout.response_mask.sum())
    by_loss = [torch.zeros_like(p) for p in parameters]
    order = torch.randperm(len(probabilities), generator=torch.Generator().manual_seed(0))
    for rows in order.split(500):
        mask, ids = rollout.response_mask[rows], rollout.response_ids[rows]
        prompt = torch.full((len(rows), 1), tree.eos)
        log_probs = actor.log_probs(Prompts(prompt, prompt == tree.eos), ids)
        folded = rollout.advantages[rows] * probabilities[rows, None]
        loss = actor_loss(log_probs, rollout.old_log_probs[rows], folded, mask)
        gradients = torch.autograd.grad(loss * (int(mask.sum()) / tokens), parameters)
        by_loss = [total + part for total, part in zip(by_loss, gradients, strict=True)]
    assert max(largest(x + y * tokens) for x, y in zip(by_truth, by_loss, strict=True)) < 1e-12


def test_weights_folded_into_the_advantages_are_a_weighted_sum_over_answers() -> None:
    """What `loss_gradient` relies on, against a loop with one call for each answer."""
    log_pi, ref = random_log_pi(SMALL, 0), random_log_pi(SMALL, 1)
    rollout, probabilities = every_answer(
        log_pi, ref, random_scores(SMALL, 2), critic_error(SMALL), CONFIG, SMALL
    )
    states = SMALL.states_of(rollout.response_ids, rollout.response_mask)
    logits = log_pi.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for n, chance in enumerate(probabilities):
        row = slice(n, n + 1)
        mask, ids = rollout.response_mask[row], rollout.response_ids[row]
        log_probs = logits.log_softmax(dim=1)[states[row], ids]
        loss = actor_loss(log_probs, rollout.old_log_probs[row], rollout.advantages[row], mask)
        total = total + chance * mask.sum() * loss
    by_hand = torch.autograd.grad(total, logits)[0]
    folded = loss_gradient(SMALL, rollout, probabilities, rollout.advantages)
    assert largest(by_hand - folded) < 1e-15 and largest(by_hand) > 0.01


def test_a_large_sample_in_minibatches_weighted_by_tokens_points_the_same_way() -> None:
    """200,000 answers: the gradient of their token mean is −∇J over the mean length."""
    rollout, probabilities = rollout_for(CONFIG)
    generator = torch.Generator().manual_seed(0)
    rows = torch.multinomial(probabilities, 200_000, replacement=True, generator=generator)
    lengths = rollout.response_mask.sum(dim=1).double()
    total = torch.zeros_like(policy_tables()[0])
    for minibatch in rows.split(50_000):
        counts = torch.bincount(minibatch, minlength=len(probabilities)).double()
        tokens = counts @ lengths
        mean = loss_gradient(WORLD, rollout, counts / tokens, rollout.advantages)
        total += mean * (tokens / lengths[rows].sum())
    expected = -objective_gradient() / (probabilities @ lengths)
    assert cosine(total, expected) > 0.995
    assert float(total.norm() / expected.norm()) == pytest.approx(1.0, abs=0.03)
