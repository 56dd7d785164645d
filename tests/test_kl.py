"""per_token_kl: three estimators of KL(π‖π_ref), their values, expectations and gradients.

One decision with few tokens can be enumerated, so every expectation here is exact: no sampling.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import RaggedBatch, assert_same, ragged_batches
from torch import Tensor

from minirlhf import per_token_kl
from minirlhf.kl import AdaptiveKL

ESTIMATORS = ["k1", "k2", "k3"]
HALF = torch.tensor([0.5, 0.5], dtype=torch.float64)
TILTED = torch.tensor([0.25, 0.75], dtype=torch.float64)
ACTOR_TO_REF = 0.5 * math.log(4 / 3)  # KL(½,½ ‖ ¼,¾) = ½·log 2 + ½·log ⅔ = 0.1438
REF_TO_ACTOR = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)  # the other direction, 0.1308


def expectation(probs: Tensor, ref_probs: Tensor, estimator: str) -> float:
    """E[estimate] with the token drawn from `probs`, by adding up all tokens."""
    kl = per_token_kl(probs.log()[None], ref_probs.log()[None], estimator=estimator)
    return float((probs * kl[0]).sum())


def test_the_three_estimators_by_hand() -> None:
    log_probs, ref_log_probs = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-2.0, -1.5]])

    def kl(estimator: str) -> list[float]:
        return per_token_kl(log_probs, ref_log_probs, estimator=estimator)[0].tolist()

    assert kl("k1") == pytest.approx([1.0, -0.5])
    assert kl("k2") == pytest.approx([0.5, 0.125])
    assert kl("k3") == pytest.approx([math.exp(-1), math.exp(0.5) - 1.5], rel=1e-5)


def test_no_estimate_is_capped() -> None:
    """Some systems clamp to ±10 nats; here a token pays for all of its distance."""
    log_probs, ref_log_probs = torch.tensor([[-1.0, -31.0]]), torch.tensor([[-31.0, -1.0]])
    assert per_token_kl(log_probs, ref_log_probs).tolist() == [[30.0, -30.0]]
    k2 = per_token_kl(log_probs, ref_log_probs, estimator="k2")
    assert k2.tolist() == [[450.0, 450.0]]


def test_k1_is_the_default() -> None:
    log_probs, ref_log_probs = torch.tensor([[-1.0]]), torch.tensor([[-4.0]])
    assert per_token_kl(log_probs, ref_log_probs).tolist() == [[3.0]]


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_k1_and_k3_are_unbiased_for_kl_of_the_actor_from_the_reference(estimator: str) -> None:
    assert expectation(HALF, TILTED, estimator) == pytest.approx(ACTOR_TO_REF, abs=1e-12)
    assert expectation(TILTED, HALF, estimator) == pytest.approx(REF_TO_ACTOR, abs=1e-12)


def test_k2_is_biased() -> None:
    exact = 0.25 * (math.log(2) ** 2 + math.log(2 / 3) ** 2)  # 0.1612, not 0.1438
    assert expectation(HALF, TILTED, "k2") == pytest.approx(exact, abs=1e-12)
    assert exact > ACTOR_TO_REF + 0.01


def test_k2_is_nearly_unbiased_for_close_policies() -> None:
    near = torch.tensor([0.501, 0.499], dtype=torch.float64)
    exact = expectation(near, HALF, "k1")
    assert expectation(near, HALF, "k2") == pytest.approx(exact, rel=1e-2)


@given(seed=st.integers(0, 2**31 - 1), vocabulary=st.integers(1, 8))
def test_expectations_of_k1_and_k3_agree_for_any_policies(seed: int, vocabulary: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, vocabulary, generator=generator, dtype=torch.float64)
    probs, ref_probs = logits.softmax(-1)
    exact = float((probs * (probs / ref_probs).log()).sum())
    assert expectation(probs, ref_probs, "k1") == pytest.approx(exact, abs=1e-10)
    assert expectation(probs, ref_probs, "k3") == pytest.approx(exact, abs=1e-10)


def test_k1_is_positive_where_the_actor_likes_a_token_more_than_the_reference() -> None:
    k1 = per_token_kl(HALF.log()[None], TILTED.log()[None], estimator="k1")[0]
    assert k1[0] > 0 > k1[1]


@given(batch=ragged_batches())
def test_k2_and_k3_are_never_negative(batch: RaggedBatch) -> None:
    for estimator in ("k2", "k3"):
        kl = per_token_kl(batch.log_probs, batch.ref_log_probs, estimator=estimator)
        assert (kl >= -1e-9).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_policies_have_no_kl(estimator: str) -> None:
    log_probs = torch.tensor([[-0.1, -3.0, -20.0]])
    assert per_token_kl(log_probs, log_probs.clone(), estimator=estimator).tolist() == [[0.0] * 3]


def test_k3_keeps_its_digits_when_the_policies_almost_agree() -> None:
    """exp(x) − 1 − x loses all digits in float32 at x = 1e-3; expm1(x) − x does not.

    The contract gives the formula only; that float32 must be accurate is this test's reading of it.
    """
    log_probs = torch.zeros(1, 4)
    ref_log_probs = torch.tensor([[1e-3, -1e-3, 1e-2, -1e-2]])
    exact = [math.expm1(x) - x for x in ref_log_probs.double()[0].tolist()]
    k3 = per_token_kl(log_probs, ref_log_probs, estimator="k3")
    assert k3[0].tolist() == pytest.approx(exact, rel=1e-2)


def expected_gradient(estimator: str) -> list[float]:
    """Σ_a π(a)·∇k(a): the mean gradient that the estimator gives as a loss on samples."""
    logits = HALF.log().clone().requires_grad_(True)
    log_probs = logits.log_softmax(-1)
    kl = per_token_kl(log_probs[None], TILTED.log()[None], estimator=estimator)[0]
    (HALF * kl).sum().backward()  # HALF as plain numbers: the sampling itself has no gradient
    assert logits.grad is not None
    return logits.grad.tolist()


def gradient_of_exact_kl(forward: bool) -> list[float]:
    logits = HALF.log().clone().requires_grad_(True)
    log_probs, ref = logits.log_softmax(-1), TILTED.log()
    kl = log_probs.exp() * (log_probs - ref) if forward else ref.exp() * (ref - log_probs)
    kl.sum().backward()
    assert logits.grad is not None
    return logits.grad.tolist()


def test_as_a_loss_k1_has_no_gradient_k2_that_of_kl_and_k3_that_of_the_reverse_kl() -> None:
    assert expected_gradient("k1") == pytest.approx([0.0, 0.0], abs=1e-12)
    assert expected_gradient("k2") == pytest.approx(gradient_of_exact_kl(True), abs=1e-12)
    assert expected_gradient("k3") == pytest.approx(gradient_of_exact_kl(False), abs=1e-12)
    assert gradient_of_exact_kl(True) != pytest.approx(gradient_of_exact_kl(False), abs=1e-3)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradient_by_finite_differences(estimator: str) -> None:
    log_probs = torch.tensor([[-1.0, -2.0]], dtype=torch.float64, requires_grad=True)
    ref_log_probs = torch.tensor([[-1.7, -1.4]], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda lp: per_token_kl(lp, ref_log_probs, estimator=estimator), (log_probs,)
    )


@given(batch=ragged_batches())
def test_estimators_follow_their_formulas(batch: RaggedBatch) -> None:
    difference = batch.ref_log_probs.double() - batch.log_probs.double()
    exact = {"k1": -difference, "k2": difference**2 / 2, "k3": torch.expm1(difference) - difference}
    for estimator, expected in exact.items():
        actual = per_token_kl(batch.log_probs, batch.ref_log_probs, estimator=estimator)
        assert_same(actual, expected, dtype=batch.log_probs.dtype)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_half_precision_is_computed_in_float32(half: torch.dtype, estimator: str) -> None:
    log_probs = torch.tensor([[-3.3, -11.1]]).to(half)
    ref_log_probs = torch.tensor([[-3.4, -0.7]]).to(half)
    actual = per_token_kl(log_probs, ref_log_probs, estimator=estimator)
    expected = per_token_kl(log_probs.double(), ref_log_probs.double(), estimator=estimator)
    assert_same(actual, expected, dtype=torch.float32)


@pytest.mark.parametrize(
    ("kl", "factor"),
    [
        (6.0, 1.0),  # on target: β stays
        (6.6, 1 + 0.1 * 512 / 10_000),  # 10 % above: e = 0.1
        (60.0, 1 + 0.2 * 512 / 10_000),  # far above: e is clipped at 0.2
        (0.0, 1 - 0.2 * 512 / 10_000),  # far below: e is clipped at −0.2
    ],
)
def test_the_adaptive_coefficient_moves_towards_its_target(kl: float, factor: float) -> None:
    """Ziegler et al. 2019: e = clip(KL/target − 1, ±0.2), β ← β·(1 + e·n/horizon)."""
    controller = AdaptiveKL(target=6.0, horizon=10_000)
    assert controller.update(0.15, kl, 512) == pytest.approx(0.15 * factor)
