"""What must change nothing: junk under the mask, more columns, another row order, another width."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import RaggedBatch, assert_same, make_batch, ragged_batches
from torch import Tensor

from minirlhf import (
    actor_loss,
    critic_loss,
    gae,
    masked_mean,
    masked_whiten,
    per_token_rewards,
    sft_loss,
    td_target,
)


def rewards_of(b: RaggedBatch) -> Tensor:
    return per_token_rewards(b.scores, b.kl, b.response_mask, kl_coef=0.1, score_clip=3.0)


def td_target_of(b: RaggedBatch) -> Tensor:
    return td_target(b.rewards, b.values, b.response_mask, gamma=0.9)


def advantages_of(b: RaggedBatch) -> Tensor:
    return gae(b.rewards, b.values, b.response_mask, gamma=0.9, lam=0.8)[0]


def returns_of(b: RaggedBatch) -> Tensor:
    return gae(b.rewards, b.values, b.response_mask, gamma=0.9, lam=0.8)[1]


def whitened_of(b: RaggedBatch) -> Tensor:
    return masked_whiten(b.advantages, b.response_mask)


def scaled_of(b: RaggedBatch) -> Tensor:
    return masked_whiten(b.advantages, b.response_mask, shift_mean=False)


def mean_of(b: RaggedBatch) -> Tensor:
    return masked_mean(b.kl, b.response_mask)


def actor_loss_of(b: RaggedBatch) -> Tensor:
    return actor_loss(b.log_probs, b.old_log_probs, b.advantages, b.response_mask)


def critic_loss_of(b: RaggedBatch) -> Tensor:
    return critic_loss(b.values, b.old_values, b.targets, b.response_mask)


def unclipped_critic_loss_of(b: RaggedBatch) -> Tensor:
    return critic_loss(b.values, b.old_values, b.targets, b.response_mask, value_clip_range=None)


def sft_loss_of(b: RaggedBatch) -> Tensor:
    return sft_loss(b.logits, b.token_ids, b.response_mask)


Function = Callable[[RaggedBatch], Tensor]
PER_TOKEN = [rewards_of, td_target_of, advantages_of, returns_of, whitened_of, scaled_of]
SCALAR = [mean_of, actor_loss_of, critic_loss_of, unclipped_critic_loss_of, sft_loss_of]
WITH_GRADIENT: list[tuple[Function, str]] = [
    (actor_loss_of, "log_probs"),
    (critic_loss_of, "values"),
    (unclipped_critic_loss_of, "values"),
    (sft_loss_of, "logits"),
    (mean_of, "kl"),
    (whitened_of, "advantages"),
    (scaled_of, "advantages"),
]
POISONS = [math.nan, math.inf, -math.inf, 1e30]


@pytest.mark.parametrize("function", PER_TOKEN + SCALAR)
@given(batch=ragged_batches(), poison=st.sampled_from(POISONS))
def test_nothing_under_the_mask_is_read(
    function: Function, batch: RaggedBatch, poison: float
) -> None:
    clean, spoilt = function(batch), function(batch.poisoned(poison))
    assert clean.isfinite().all()
    assert torch.equal(spoilt, clean)
    assert spoilt.dtype == batch.rewards.dtype
    if spoilt.dim():
        assert not spoilt[~batch.response_mask].any()


@pytest.mark.parametrize(("function", "learns"), WITH_GRADIENT)
@given(batch=ragged_batches(), poison=st.sampled_from(POISONS))
def test_gradients_are_finite_and_exactly_zero_under_the_mask(
    function: Function, learns: str, batch: RaggedBatch, poison: float
) -> None:
    gradients = []
    for version in (batch, batch.poisoned(poison)):
        leaf = getattr(version, learns).requires_grad_(True)
        out = function(version)
        (out * torch.arange(1.0, out.numel() + 1).reshape(out.shape)).sum().backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad)
    clean, spoilt = gradients
    assert clean.isfinite().all()
    assert torch.equal(spoilt, clean)
    assert not spoilt[~batch.response_mask].any()


@pytest.mark.parametrize("function", PER_TOKEN + SCALAR)
@given(batch=ragged_batches(), extra=st.integers(1, 3), fill=st.sampled_from([0.0, 3.0, math.nan]))
def test_more_columns_on_the_right_change_nothing(
    function: Function, batch: RaggedBatch, extra: int, fill: float
) -> None:
    width = batch.response_mask.shape[1]
    narrow, wide = function(batch), function(batch.with_more_columns(extra, fill))
    if wide.dim():
        assert wide.shape[1] == width + extra
        assert not wide[:, width:].any()
        wide = wide[:, :width]
    assert_same(wide, narrow, dtype=narrow.dtype)


@pytest.mark.parametrize("function", PER_TOKEN + SCALAR)
@given(data=st.data(), batch=ragged_batches())
def test_the_order_of_the_rows_does_not_matter(
    function: Function, data: st.DataObject, batch: RaggedBatch
) -> None:
    order = data.draw(st.permutations(range(len(batch.lengths))))
    straight, shuffled = function(batch), function(batch.rows(list(order)))
    assert_same(
        shuffled, straight[list(order)] if straight.dim() else straight, dtype=straight.dtype
    )


ROW_BY_ROW = [rewards_of, td_target_of, advantages_of, returns_of]


@pytest.mark.parametrize("function", ROW_BY_ROW)
@given(batch=ragged_batches())
def test_rows_do_not_know_of_each_other(function: Function, batch: RaggedBatch) -> None:
    together = function(batch)
    for row in range(len(batch.lengths)):
        alone = function(batch.rows([row]))
        assert_same(alone, together[[row]], dtype=together.dtype)


@pytest.mark.parametrize("function", PER_TOKEN + SCALAR)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lengths", [[0], [0, 0], [1], [0, 1], [1, 4], [4, 4]])
@pytest.mark.parametrize("spare", [0, 2])
def test_empty_short_and_full_responses_are_finite(
    function: Function, dtype: torch.dtype, lengths: list[int], spare: int
) -> None:
    batch = make_batch(lengths, max(lengths) + spare, dtype=dtype)
    out = function(batch)
    assert out.isfinite().all() and out.dtype == dtype
    assert out.shape in ((), batch.response_mask.shape)
    if not batch.tokens:
        assert not out.any()


@pytest.mark.parametrize("function", [*SCALAR, td_target_of, advantages_of, whitened_of])
def test_a_nan_that_counts_is_never_hidden(function: Function) -> None:
    """A NaN at a counted token either is refused (ValueError) or shows in the result."""
    batch = make_batch([3, 2], 3, dtype=torch.float32)
    for name in ("kl", "log_probs", "values", "rewards", "advantages", "logits"):
        getattr(batch, name)[0, 1] = math.nan
    try:
        out = function(batch)
    except ValueError as error:
        assert "finite" in str(error) or "nan" in str(error).lower(), error
    else:
        assert out.isnan().any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("function", PER_TOKEN + SCALAR)
def test_a_gpu_gives_the_same_numbers(function: Function) -> None:
    batch = make_batch([5, 2, 0], 6, seed=3)
    assert_same(function(batch.on("cuda")).cpu(), function(batch), dtype=torch.float64)


@pytest.mark.parametrize("function", PER_TOKEN + SCALAR)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_are_computed_in_float32(
    function: Function, half: torch.dtype
) -> None:
    low = make_batch([5, 2, 0], 6, dtype=half, seed=3)
    assert_same(function(low), function(low.to(torch.float64)), dtype=torch.float32)
