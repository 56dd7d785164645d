"""gather_log_probs: log π(A_t | S_t) of aligned logits, at any temperature."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import VOCABULARY, RaggedBatch, assert_same, ragged_batches
from torch.autograd import gradcheck

from minirlhf import gather_log_probs
from minirlhf.log_probs import before_each_response_token, entropy

LOG3 = math.log(3.0)


def test_log_probs_by_hand() -> None:
    logits = torch.tensor([[[0.0, LOG3], [LOG3, 0.0]]])  # (¼, ¾), then (¾, ¼)
    log_probs = gather_log_probs(logits, torch.tensor([[1, 1]]))
    assert log_probs.tolist() == [pytest.approx([math.log(0.75), math.log(0.25)], rel=1e-6)]


def test_logits_are_already_aligned_with_their_tokens() -> None:
    """Slot t of the logits is sure of token t: no second shift by one happens here."""
    token_ids = torch.tensor([[2, 0, 1, 1]])
    logits = 100.0 * torch.nn.functional.one_hot(token_ids, 3).float()
    assert gather_log_probs(logits, token_ids).abs().max() < 1e-6
    assert (gather_log_probs(logits, token_ids.roll(1, 1))[0, :3] < -50).all()


@pytest.mark.parametrize("prompt", [1, 2, 5])
@pytest.mark.parametrize("response", [0, 1, 3])
def test_the_shift_picks_what_was_said_just_before_each_token(prompt: int, response: int) -> None:
    """Slot P + t − 1 predicts token P + t; the last token, slot P + R − 1, is never an input."""
    slots = torch.arange(prompt + response - 1.0).repeat(2, 1)
    picked = before_each_response_token(slots, response)
    assert picked.tolist() == [[prompt + t - 1.0 for t in range(response)]] * 2
    assert before_each_response_token(slots[..., None], response).shape == (2, response, 1)


def test_entropy_by_hand() -> None:
    logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1e4, -1e4], [1e4, 0.0, 0.0, 0.0]]])
    expected = [math.log(4), math.log(2), 0.0]
    assert entropy(logits)[0].tolist() == pytest.approx(expected)
    tilted = torch.tensor([0.0, 2 * LOG3], dtype=torch.float64)  # (¼, ¾) at temperature 2
    quarter = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert entropy(tilted, temperature=2.0).item() == pytest.approx(quarter)


def test_temperature_divides_the_logits() -> None:
    logits = torch.tensor([[[0.0, 2 * LOG3]]])
    token_ids = torch.tensor([[1]])
    for temperature, odds in [(1.0, 9.0), (2.0, 3.0), (0.5, 81.0)]:
        log_prob = gather_log_probs(logits, token_ids, temperature=temperature)
        assert log_prob.item() == pytest.approx(math.log(odds / (1 + odds)), rel=1e-5)


@given(batch=ragged_batches(), temperature=st.floats(0.1, 10.0))
def test_probabilities_of_all_tokens_sum_to_one(batch: RaggedBatch, temperature: float) -> None:
    every = [
        gather_log_probs(
            batch.logits, torch.full_like(batch.token_ids, token), temperature=temperature
        )
        for token in range(VOCABULARY)
    ]
    total = torch.stack(every).exp().sum(0)
    assert_same(total, torch.ones_like(total), dtype=batch.logits.dtype)


@given(batch=ragged_batches(), temperature=st.floats(0.2, 5.0))
def test_it_is_the_log_softmax_of_each_slot(batch: RaggedBatch, temperature: float) -> None:
    actual = gather_log_probs(batch.logits, batch.token_ids, temperature=temperature)
    expected = torch.zeros(batch.token_ids.shape, dtype=torch.float64)
    for row, ids in enumerate(batch.token_ids.tolist()):
        for t, token in enumerate(ids):
            scaled = [z / temperature for z in batch.logits[row, t].tolist()]
            expected[row, t] = scaled[token] - math.log(sum(math.exp(z) for z in scaled))
    assert_same(actual, expected, dtype=batch.logits.dtype)


def test_adding_a_constant_to_all_logits_changes_nothing_even_a_large_one() -> None:
    logits = torch.tensor([[[1.0, 2.0, 4.0]]])
    token_ids = torch.tensor([[0]])
    moved = gather_log_probs(logits + 8192.0, token_ids)
    torch.testing.assert_close(moved, gather_log_probs(logits, token_ids))


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[[1e4, -1e4, 0.0]]], requires_grad=True)
    log_probs = gather_log_probs(logits, torch.tensor([[1]]))
    log_probs.sum().backward()
    assert log_probs.item() == pytest.approx(-2e4)
    assert logits.grad is not None
    assert logits.grad[0, 0].tolist() == pytest.approx([-1.0, 1.0, 0.0])


def test_a_forbidden_token_takes_no_probability_and_no_gradient() -> None:
    logits = torch.tensor([[[0.0, -math.inf, LOG3]]], requires_grad=True)
    log_probs = gather_log_probs(logits, torch.tensor([[2]]))
    log_probs.sum().backward()
    assert log_probs.item() == pytest.approx(math.log(0.75))
    assert logits.grad is not None
    assert logits.grad[0, 0].tolist() == pytest.approx([-0.25, 0.0, 0.25])


def test_gradient_is_one_hot_minus_probability_over_temperature() -> None:
    logits = torch.tensor([[[0.0, 2 * LOG3]]], dtype=torch.float64, requires_grad=True)
    gather_log_probs(logits, torch.tensor([[1]]), temperature=2.0).sum().backward()
    assert logits.grad is not None  # probabilities (¼, ¾)
    assert logits.grad[0, 0].tolist() == pytest.approx([-0.25 / 2, 0.25 / 2])


def test_gradient_in_float64_by_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    token_ids = torch.tensor([[0, 3, 1], [2, 2, 0]])
    assert gradcheck(lambda z: gather_log_probs(z, token_ids, temperature=0.7), (logits,))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_half_precision_logits_are_scored_in_float32(half: torch.dtype, temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (10 * torch.randn(2, 8, 50, generator=generator)).to(half)
    token_ids = torch.randint(50, (2, 8), generator=generator)
    actual = gather_log_probs(logits, token_ids, temperature=temperature)
    assert actual.dtype == torch.float32
    assert_same(
        actual,
        gather_log_probs(logits.double(), token_ids, temperature=temperature).float(),
        dtype=torch.float32,
    )


def test_float64_keeps_its_digits() -> None:
    logits = torch.tensor([[[0.0, 1e-12]]], dtype=torch.float64)
    both = [gather_log_probs(logits, torch.tensor([[token]])).item() for token in (0, 1)]
    assert both[1] - both[0] == pytest.approx(1e-12, rel=1e-3)


def test_a_response_of_no_tokens_has_no_log_probs() -> None:
    empty = gather_log_probs(torch.zeros(2, 0, 7), torch.zeros(2, 0, dtype=torch.long))
    assert empty.shape == (2, 0)
