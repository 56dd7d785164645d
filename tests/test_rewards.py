"""per_token_rewards: −β·kl_t on every counted token, the clipped score on the last one."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import RaggedBatch, assert_same, mask_of, ragged_batches

from minirlhf import per_token_rewards
from minirlhf.rewards import last_counted

NAN = math.nan


def test_rewards_by_hand() -> None:
    scores = torch.tensor([2.0, -1.0])
    kl = torch.tensor([[0.5, -1.0, NAN], [1.0, 2.0, 4.0]])
    rewards = per_token_rewards(scores, kl, mask_of([2, 3], 3), kl_coef=0.1)
    assert rewards[0].tolist() == pytest.approx([-0.05, 0.1 + 2.0, 0.0])
    assert rewards[1].tolist() == pytest.approx([-0.1, -0.2, -0.4 - 1.0])


def test_the_last_counted_token_of_each_row() -> None:
    marks = last_counted(mask_of([0, 1, 3], 3))
    assert marks.tolist() == [[False] * 3, [True, False, False], [False, False, True]]


def test_the_score_sits_on_the_last_counted_token_of_each_row() -> None:
    scores = torch.tensor([1.0, 2.0, 3.0])
    rewards = per_token_rewards(scores, torch.zeros(3, 3), mask_of([1, 2, 3], 3), kl_coef=0.1)
    assert rewards.tolist() == [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]


def test_a_token_the_actor_likes_more_than_the_reference_costs_reward() -> None:
    rewards = per_token_rewards(
        torch.zeros(1), torch.tensor([[0.7, -0.7]]), mask_of([2], 2), kl_coef=0.5
    )
    assert rewards.tolist() == [pytest.approx([-0.35, 0.35])]


def test_the_clip_holds_the_score_on_both_sides_and_leaves_the_kl_alone() -> None:
    scores = torch.tensor([9.0, -9.0, 4.0])
    kl = torch.full((3, 1), -20.0)
    rewards = per_token_rewards(scores, kl, mask_of([1, 1, 1], 1), kl_coef=1.0, score_clip=5.0)
    assert rewards.tolist() == [[25.0], [15.0], [24.0]]


def test_without_a_clip_the_score_is_used_as_it_is() -> None:
    scores = torch.tensor([1e4, -1e4])
    rewards = per_token_rewards(scores, torch.zeros(2, 1), mask_of([1, 1], 1), kl_coef=0.1)
    assert rewards.tolist() == [[1e4], [-1e4]]


def test_without_a_kl_coefficient_only_the_score_is_left() -> None:
    rewards = per_token_rewards(
        torch.tensor([1.5]), torch.tensor([[3.0, -8.0]]), mask_of([2], 2), kl_coef=0.0
    )
    assert rewards.tolist() == [[0.0, 1.5]]


def test_an_empty_response_drops_its_score_whatever_it_is() -> None:
    scores = torch.tensor([7.0, NAN, 3.0])
    rewards = per_token_rewards(
        scores, torch.full((3, 2), NAN), mask_of([0, 0, 0], 2), kl_coef=0.1, score_clip=5.0
    )
    assert rewards.tolist() == [[0.0, 0.0]] * 3


def test_no_columns_at_all() -> None:
    rewards = per_token_rewards(torch.ones(2), torch.zeros(2, 0), mask_of([0, 0], 0), kl_coef=0.1)
    assert rewards.shape == (2, 0)


@pytest.mark.parametrize("score", [NAN, math.inf])
def test_a_score_that_is_not_finite_shows_on_its_own_token_and_no_other(score: float) -> None:
    rewards = per_token_rewards(
        torch.tensor([score]), torch.zeros(1, 3), mask_of([2], 3), kl_coef=0.1
    )
    assert rewards.isfinite().tolist() == [[True, False, True]]


@given(
    batch=ragged_batches(),
    kl_coef=st.floats(0.0, 2.0),
    score_clip=st.none() | st.floats(0.1, 10.0),
)
def test_rewards_of_a_response_sum_to_its_clipped_score_minus_its_kl(
    batch: RaggedBatch, kl_coef: float, score_clip: float | None
) -> None:
    rewards = per_token_rewards(
        batch.scores, batch.kl, batch.response_mask, kl_coef=kl_coef, score_clip=score_clip
    )
    for row, length in enumerate(batch.lengths):
        score = batch.scores[row].item()
        if score_clip is not None:
            score = min(max(score, -score_clip), score_clip)
        total = score - kl_coef * sum(batch.kl[row, :length].tolist()) if length else 0.0
        assert_same(rewards[row].sum(), total, dtype=batch.kl.dtype)
        assert not rewards[row, length:].any()


@given(batch=ragged_batches(min_tokens=1), kl_coef=st.floats(0.0, 2.0))
def test_each_token_before_the_last_pays_for_its_own_kl_only(
    batch: RaggedBatch, kl_coef: float
) -> None:
    rewards = per_token_rewards(batch.scores, batch.kl, batch.response_mask, kl_coef=kl_coef)
    for row, length in enumerate(batch.lengths):
        before = slice(0, max(length - 1, 0))
        assert_same(rewards[row, before], -kl_coef * batch.kl[row, before], dtype=batch.kl.dtype)


def test_rewards_carry_no_gradient() -> None:
    scores = torch.ones(1, requires_grad=True)
    kl = torch.ones(1, 2, requires_grad=True)
    rewards = per_token_rewards(scores, kl, mask_of([2], 2), kl_coef=0.1)
    assert not rewards.requires_grad


def test_inputs_are_left_as_they_were() -> None:
    scores, kl, mask = torch.tensor([9.0]), torch.tensor([[1.0, 2.0]]), mask_of([1], 2)
    per_token_rewards(scores, kl, mask, kl_coef=0.1, score_clip=5.0)
    assert (scores.tolist(), kl.tolist(), mask.tolist()) == ([9.0], [[1.0, 2.0]], [[True, False]])


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(half: torch.dtype) -> None:
    scores, kl = torch.tensor([3.3]).to(half), torch.tensor([[0.013, 0.37]]).to(half)
    mask = mask_of([2], 2)
    expected = per_token_rewards(scores.double(), kl.double(), mask, kl_coef=0.05)
    assert_same(per_token_rewards(scores, kl, mask, kl_coef=0.05), expected, dtype=torch.float32)
    # A reward model in half precision beside log-probs in float32 is the usual mixture.
    mixed = per_token_rewards(scores, kl.float(), mask, kl_coef=0.05)
    assert_same(mixed, expected, dtype=torch.float32)
