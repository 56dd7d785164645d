"""masked_mean and masked_whiten: token means, biased variance, nothing read under the mask."""

import math

import pytest
import torch
from hypothesis import given
from strategies import RaggedBatch, assert_same, ragged_batches

from minirlhf import masked_mean, masked_whiten
from minirlhf.masks import response_mask_from_lengths

NAN, INF = math.nan, math.inf


def test_a_response_mask_counts_the_first_tokens_of_each_row() -> None:
    mask = response_mask_from_lengths(torch.tensor([0, 2, 3]), 3)
    assert mask.tolist() == [[False] * 3, [True, True, False], [True] * 3]
    for impossible in ([-1, 2], [4, 2]):
        with pytest.raises(ValueError, match=str(impossible[0])):
            response_mask_from_lengths(torch.tensor(impossible), 3)


def test_mean_is_over_tokens_not_over_rows() -> None:
    x = torch.tensor([[1.0, NAN], [2.0, 4.0]])
    mask = torch.tensor([[True, False], [True, True]])
    # (1 + 2 + 4) / 3, where a mean of row means would say (1 + 3) / 2 = 2
    assert masked_mean(x, mask).item() == pytest.approx(7 / 3)
    assert masked_mean(x, mask).shape == ()


def test_mean_of_nothing_is_zero_and_so_is_its_gradient() -> None:
    x = torch.tensor([[NAN, INF]], requires_grad=True)
    mean = masked_mean(x, torch.zeros(1, 2, dtype=torch.bool))
    mean.backward()
    assert mean.item() == 0.0
    assert x.grad is not None and x.grad.tolist() == [[0.0, 0.0]]
    assert masked_mean(torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool)).item() == 0.0


@pytest.mark.parametrize("poison", [NAN, INF, -INF])
def test_mean_gradient_is_one_over_n_and_never_reads_under_the_mask(poison: float) -> None:
    x = torch.tensor([[3.0, poison, 5.0, poison]], requires_grad=True)
    mask = torch.tensor([[True, False, True, False]])  # a gap is allowed in masked_* functions
    mean = masked_mean(x, mask)
    mean.backward()
    assert mean.item() == 4.0
    assert x.grad is not None and x.grad.tolist() == [[0.5, 0.0, 0.5, 0.0]]


def test_mean_does_not_hide_a_nan_that_counts() -> None:
    x = torch.tensor([[1.0, NAN]])
    assert masked_mean(x, torch.ones(1, 2, dtype=torch.bool)).isnan()


def test_half_precision_is_summed_in_float32() -> None:
    x = torch.full((4, 1024), 100.0, dtype=torch.float16)  # the sum, 409600, is inf in float16
    mean = masked_mean(x, torch.ones(4, 1024, dtype=torch.bool))
    assert mean.dtype == torch.float32
    assert mean.item() == 100.0


def test_float64_stays_float64() -> None:
    x = torch.tensor([[1.0, 1.0 + 2e-12]], dtype=torch.float64)
    mean = masked_mean(x, torch.ones(1, 2, dtype=torch.bool))
    assert mean.dtype == torch.float64
    assert mean.item() == pytest.approx(1.0 + 1e-12, rel=0, abs=1e-15)


def test_whiten_by_hand_with_one_mean_for_the_whole_batch() -> None:
    x = torch.tensor([[0.0, NAN, NAN], [4.0, 4.0, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True, False, False], [True, True, True]])
    # mean 2, biased variance 4 (unbiased would be 16/3): each entry is ±1
    expected = [[-1.0, 0.0, 0.0], [1.0, 1.0, -1.0]]
    assert masked_whiten(x, mask).tolist() == [pytest.approx(row, abs=1e-8) for row in expected]


def test_whiten_without_shift_adds_the_mean_back() -> None:
    x = torch.tensor([[0.0, 4.0, NAN]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False]])
    # mean 2, standard deviation 2: −1 + 2 and 1 + 2; the masked entry stays 0
    white = masked_whiten(x, mask, shift_mean=False)
    assert white.tolist() == [pytest.approx([1.0, 3.0, 0.0], abs=1e-7)]


def test_epsilon_is_1e8_and_is_added_to_the_variance() -> None:
    x = torch.tensor([[-1e-4, 1e-4]], dtype=torch.float64)  # variance 1e-8, as large as ε
    white = masked_whiten(x, torch.ones(1, 2, dtype=torch.bool))
    assert white.tolist() == [pytest.approx([-math.sqrt(0.5), math.sqrt(0.5)], rel=1e-9)]


@pytest.mark.parametrize("shift_mean", [True, False])
def test_whiten_of_one_token_is_its_distance_from_itself(shift_mean: bool) -> None:
    x = torch.tensor([[5.0, NAN]], requires_grad=True)
    white = masked_whiten(x, torch.tensor([[True, False]]), shift_mean=shift_mean)
    white.sum().backward()
    assert white.tolist() == [[0.0 if shift_mean else 5.0, 0.0]]
    assert x.grad is not None and x.grad.isfinite().all()


@pytest.mark.parametrize("shift_mean", [True, False])
@pytest.mark.parametrize("width", [0, 2])
def test_whiten_of_nothing_is_zero(shift_mean: bool, width: int) -> None:
    x = torch.full((3, width), NAN)
    mask = torch.zeros(3, width, dtype=torch.bool)
    assert torch.equal(masked_whiten(x, mask, shift_mean=shift_mean), torch.zeros(3, width))


def test_whiten_of_a_constant_is_near_zero_not_noise() -> None:
    x = torch.full((1, 7), 0.1)
    assert masked_whiten(x, torch.ones(1, 7, dtype=torch.bool)).abs().max() < 1e-2


def test_whiten_is_accurate_far_from_zero() -> None:
    """E[x²] − E[x]² would lose every digit here; Σ(x − mean)² does not."""
    spread = torch.tensor([[-1.5, -0.5, 0.5, 1.5]])
    white = masked_whiten(spread + 4096.0, torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(white, spread / math.sqrt(1.25), rtol=1e-3, atol=1e-3)


def test_whiten_computes_half_precision_in_float32() -> None:
    x = torch.tensor([[300.0, -300.0]], dtype=torch.float16)  # 300² is inf in float16
    white = masked_whiten(x, torch.ones(1, 2, dtype=torch.bool))
    assert white.dtype == torch.float32
    assert white.tolist() == [pytest.approx([1.0, -1.0], abs=1e-6)]


@given(batch=ragged_batches(min_tokens=2))
def test_whitened_tokens_have_mean_zero_and_variance_one(batch: RaggedBatch) -> None:
    white = masked_whiten(batch.rewards, batch.response_mask)
    counted = white[batch.response_mask]
    assert white.dtype == batch.rewards.dtype
    assert abs(counted.mean().item()) < 1e-4
    variance = batch.rewards[batch.response_mask].double().var(correction=0).item()
    assert counted.var(correction=0).item() == pytest.approx(variance / (variance + 1e-8), rel=1e-3)
    assert not white[~batch.response_mask].any()


@given(batch=ragged_batches(min_tokens=2, dtypes=(torch.float64,)))
def test_the_two_ways_to_whiten_differ_by_the_mean(batch: RaggedBatch) -> None:
    mask = batch.response_mask
    shifted = masked_whiten(batch.rewards, mask)
    kept = masked_whiten(batch.rewards, mask, shift_mean=False)
    mean = batch.rewards[mask].mean()
    assert_same(kept, torch.where(mask, shifted + mean, 0.0), dtype=torch.float64)


@given(batch=ragged_batches(min_tokens=2, dtypes=(torch.float64,)))
def test_whitening_forgets_shift_and_scale(batch: RaggedBatch) -> None:
    mask = batch.response_mask
    moved = masked_whiten(3.0 * batch.rewards + 7.0, mask)
    torch.testing.assert_close(moved, masked_whiten(batch.rewards, mask), rtol=1e-3, atol=1e-5)
