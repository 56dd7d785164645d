"""KL estimators, their means and their gradients: in the reward and in the loss, exactly.

Two cases: one decision (an answer of one token), and whole answers of the exact world. Means are
over all answers, through `per_token_kl`, `per_token_rewards`, `gae` and `actor_loss`.

    where      one decision         whole answers (sum over tokens)
    k1 reward  ∇KL(π‖ref)           ∇KL(π‖ref)
    k1 loss    0                    0
    k2 loss    ∇KL(π‖ref)           Σ_s reach(s)·∇KL(π(·|s)‖ref(·|s)), reach held fixed
    k3 loss    ∇KL(ref‖π)           Σ_s reach(s)·∇KL(ref(·|s)‖π(·|s)), reach held fixed
    k2, k3 reward                   ∇E[Σ_t k] less their own gradient in the loss
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from exact_tables import (
    CONFIG,
    SMALL,
    by_logits,
    cosine,
    largest,
    loss_gradient,
    policy_tables,
    random_log_pi,
)
from torch import Tensor

from minirlhf import masked_mean, per_token_kl
from minirlhf.kl import KL_ESTIMATORS, KLEstimator
from minirlhf.worlds.exact import WORLD, Tree, Truth, every_answer, exact_truth

DECISION = Tree(words=11, steps=1)


class Case(NamedTuple):
    tree: Tree
    log_pi: Tensor
    ref_log_pi: Tensor

    def truth(self, log_pi: Tensor) -> Truth:
        no_score = torch.zeros_like(log_pi)
        return exact_truth(log_pi, self.ref_log_pi, no_score, self.tree, kl_coef=0.0)

    def gradient_of(self, name: str) -> Tensor:
        """(S, V): of "kl" or "reverse_kl" of whole answers, by the logits."""
        logits = self.log_pi.clone().requires_grad_()
        return torch.autograd.grad(getattr(self.truth(logits.log_softmax(1)), name), logits)[0]

    def held(self, reverse: bool) -> Tensor:
        """(S, V): each state's own ∇KL, weighed by how often the actor comes there."""
        pi, ref = self.log_pi.exp(), self.ref_log_pi.exp()
        of_state = pi - ref if reverse else by_logits(pi, self.log_pi - self.ref_log_pi)
        return self.truth(self.log_pi).reach[:, None] * of_state


def one_decision() -> Case:
    return Case(DECISION, random_log_pi(DECISION, 0, spread=2.0), random_log_pi(DECISION, 1))


def whole_answers() -> Case:
    return Case(WORLD, *policy_tables())


def near_the_reference(distance: float) -> Case:
    ref_log_pi = random_log_pi(SMALL, 1)
    return Case(SMALL, (ref_log_pi + distance * random_log_pi(SMALL, 2)).log_softmax(1), ref_log_pi)


MakeCase = Callable[[], Case]
CASES = pytest.mark.parametrize("make_case", [one_decision, whole_answers])


def in_the_reward(case: Case, estimator: KLEstimator, gamma: float = 1.0) -> tuple[float, Tensor]:
    """E[Σ_t k_t], and the expected gradient of actor_loss when all that is earned is −k_t."""
    config = replace(
        CONFIG, kl_coef=1.0, kl_estimator=estimator, gamma=gamma, missing_eos_penalty=0.0
    )
    nothing = torch.zeros_like(case.log_pi)
    rollout, chances = every_answer(
        case.log_pi, case.ref_log_pi, nothing, nothing[:, 0], config, case.tree
    )
    mean = (chances * rollout.kl.where(rollout.response_mask, 0.0).sum(dim=1)).sum()
    return float(mean), loss_gradient(case.tree, rollout, chances, rollout.advantages)


def in_the_loss(case: Case, estimator: KLEstimator, of_answer: bool = False) -> Tensor:
    """E[Σ_t ∇k_t] of answers already drawn; or of one k of the whole answer's log-ratio."""
    ids, mask = case.tree.answers()
    states = case.tree.states_of(ids, mask)
    logits = case.log_pi.clone().requires_grad_()
    log_probs = logits.log_softmax(dim=1)[states, ids].where(mask, 0.0)
    ref_log_probs = case.ref_log_pi[states, ids].where(mask, 0.0)
    chances = log_probs.detach().sum(dim=1).exp()
    if of_answer:
        log_probs, ref_log_probs = (x.sum(1, keepdim=True) for x in (log_probs, ref_log_probs))
        mask = mask[:, :1]
    kl = per_token_kl(log_probs, ref_log_probs, estimator=estimator)
    total = masked_mean(kl * chances[:, None], mask) * mask.sum()
    return torch.autograd.grad(total, logits)[0]


def apart(x: Tensor, y: Tensor) -> float:
    """How far x is from y, in lengths of y."""
    return float((x - y).norm() / y.norm())


@CASES
def test_the_means_of_k1_and_k3_are_the_kl_and_k2_s_is_not(make_case: MakeCase) -> None:
    case = make_case()
    kl = float(case.truth(case.log_pi).kl)
    means = {estimator: in_the_reward(case, estimator)[0] for estimator in KL_ESTIMATORS}
    assert means["k1"] == pytest.approx(kl, abs=1e-12)
    assert means["k3"] == pytest.approx(kl, abs=1e-12)
    wanted = {one_decision: (0.7263, 0.6782), whole_answers: (0.7274, 2.0999)}[make_case]
    assert (kl, means["k2"]) == pytest.approx(wanted, abs=0.001)


@CASES
def test_k1_in_the_reward_to_go_gives_the_gradient_of_the_kl(make_case: MakeCase) -> None:
    kl = make_case().gradient_of("kl")
    assert largest(in_the_reward(make_case(), "k1")[1] - kl) < 1e-13
    assert float(kl.norm()) > 0.1


@CASES
def test_k1_in_the_loss_gives_nothing(make_case: MakeCase) -> None:
    assert largest(in_the_loss(make_case(), "k1")) < 1e-13


def test_for_one_decision_k2_in_the_loss_gives_that_of_the_kl_and_k3_that_of_the_reverse() -> None:
    case = one_decision()
    kl, reverse = case.gradient_of("kl"), case.gradient_of("reverse_kl")
    assert largest(in_the_loss(case, "k2") - kl) < 1e-14
    assert largest(in_the_loss(case, "k3") - reverse) < 1e-14
    assert apart(kl, reverse) > 0.3


def test_for_whole_answers_they_miss_that_the_actor_chooses_the_states_too() -> None:
    case = whole_answers()
    k2, k3 = in_the_loss(case, "k2"), in_the_loss(case, "k3")
    assert largest(k2 - case.held(reverse=False)) < 1e-13
    assert largest(k3 - case.held(reverse=True)) < 1e-13

    kl, reverse = case.gradient_of("kl"), case.gradient_of("reverse_kl")
    assert apart(k2, kl) == pytest.approx(0.909, abs=0.005)
    assert cosine(k2, kl) == pytest.approx(0.416, abs=0.005)
    assert apart(k3, reverse) == pytest.approx(0.263, abs=0.005)
    assert apart(k3, kl) == pytest.approx(0.934, abs=0.005)
    # in the deepest states nothing follows, and k2 is right there
    deepest = WORLD.level(WORLD.steps - 1)
    assert largest(k2[deepest] - kl[deepest]) < 1e-14 < largest(k2[0] - kl[0])


def test_k2_in_the_loss_is_k1_in_a_reward_that_only_the_token_itself_gets() -> None:
    case = whole_answers()
    assert largest(in_the_loss(case, "k2") - in_the_reward(case, "k1", gamma=0.0)[1]) < 1e-13


def test_taken_of_the_whole_answer_at_once_k2_and_k3_are_right_again() -> None:
    """An answer is then one decision: ½·(log π(y)/ref(y))² and its like, not a sum over tokens."""
    case = whole_answers()
    assert largest(in_the_loss(case, "k1", of_answer=True)) < 1e-13
    assert largest(in_the_loss(case, "k2", of_answer=True) - case.gradient_of("kl")) < 1e-13
    assert largest(in_the_loss(case, "k3", of_answer=True) - case.gradient_of("reverse_kl")) < 1e-13


@CASES
@pytest.mark.parametrize("estimator", KL_ESTIMATORS)
def test_in_the_reward_an_estimator_lacks_the_gradient_that_it_has_in_the_loss(
    make_case: MakeCase, estimator: KLEstimator
) -> None:
    """∇E[Σ k] = (samples move) + (k itself moves); a reward is a number and gives the first."""
    case = make_case()
    logits = case.log_pi.clone().requires_grad_()
    log_pi = logits.log_softmax(dim=1)
    k = per_token_kl(log_pi, case.ref_log_pi, estimator=estimator)
    mean = (case.truth(log_pi).reach[:, None] * log_pi.exp() * k).sum()
    whole = torch.autograd.grad(mean, logits)[0]
    expected = whole - in_the_loss(case, estimator)
    assert largest(in_the_reward(case, estimator)[1] - expected) < 1e-13


def test_so_k3_in_the_reward_has_the_right_mean_and_the_wrong_gradient() -> None:
    case = whole_answers()
    k3, kl = in_the_reward(case, "k3")[1], case.gradient_of("kl")
    assert largest(k3 - (kl - case.held(reverse=True))) < 1e-13
    assert apart(k3, kl) == pytest.approx(0.293, abs=0.005)
    assert apart(in_the_reward(case, "k2")[1], kl) == pytest.approx(2.345, abs=0.005)


def test_and_near_the_reference_k2_and_k3_in_the_reward_hold_the_actor_back_hardly_at_all() -> None:
    """Half as far away, k1's pull halves; theirs falls to a quarter."""
    far, near = near_the_reference(0.02), near_the_reference(0.01)
    for estimator, ratio in (("k1", 2.0), ("k2", 4.0), ("k3", 4.0)):
        pulls = [float(in_the_reward(case, estimator)[1].norm()) for case in (far, near)]
        assert pulls[0] / pulls[1] == pytest.approx(ratio, rel=0.05)
