"""td_target and gae: one step and λ-weighted steps of bootstrapping, V after the end being 0."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import RaggedBatch, assert_same, mask_of, ragged_batches, unit_interval
from torch import Tensor

from minirlhf import gae, td_target

NAN = math.nan
# One response of three tokens, one junk column; every expectation below is worked out by hand.
REWARDS = torch.tensor([[0.1, -0.2, 1.0, NAN]], dtype=torch.float64)
VALUES = torch.tensor([[0.5, 0.4, 0.8, NAN]], dtype=torch.float64)
MASK = mask_of([3], 4)


def rows_of(batch: RaggedBatch) -> list[tuple[list[float], list[float]]]:
    """Rewards and values of the counted tokens as plain numbers, row by row."""
    return [
        (batch.rewards[row, :length].tolist(), batch.values[row, :length].tolist())
        for row, length in enumerate(batch.lengths)
    ]


def filled(rows: list[list[float]], like: Tensor) -> Tensor:
    """Rows of counted numbers with zeros after them, shaped as `like`."""
    out = torch.zeros(like.shape, dtype=torch.float64)
    for row, numbers in enumerate(rows):
        out[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.float64)
    return out


def test_td_target_by_hand() -> None:
    target = td_target(REWARDS, VALUES, MASK, gamma=0.9)
    # 0.1 + 0.9·0.4,  −0.2 + 0.9·0.8,  1.0 + 0.9·0 (nothing follows the last token)
    assert target.tolist() == [pytest.approx([0.46, 0.52, 1.0, 0.0])]


def test_gae_by_hand() -> None:
    advantages, returns = gae(REWARDS, VALUES, MASK, gamma=0.9, lam=0.5)
    # δ = td target − V = −0.04, 0.12, 0.2; γλ = 0.45
    # Â_2 = 0.2;  Â_1 = 0.12 + 0.45·0.2 = 0.21;  Â_0 = −0.04 + 0.45·0.21 = 0.0545
    assert advantages.tolist() == [pytest.approx([0.0545, 0.21, 0.2, 0.0])]
    assert returns.tolist() == [pytest.approx([0.5545, 0.61, 1.0, 0.0])]


def test_each_row_ends_where_its_own_response_ends() -> None:
    ones = torch.ones(3, 3)
    mask = mask_of([1, 2, 3], 3)
    assert td_target(ones, 10 * ones, mask, gamma=1.0).tolist() == [
        [1.0, 0.0, 0.0],
        [11.0, 1.0, 0.0],
        [11.0, 11.0, 1.0],
    ]
    advantages, _ = gae(ones, 10 * ones, mask, gamma=1.0, lam=1.0)
    assert advantages.tolist() == [[-9.0, 0.0, 0.0], [-8.0, -9.0, 0.0], [-7.0, -8.0, -9.0]]


def test_a_score_at_the_end_fades_by_gamma_lambda_per_token() -> None:
    rewards, zeros = torch.tensor([[0.0, 0.0, 0.0, 1.0]]), torch.zeros(1, 4)
    advantages, _ = gae(rewards, zeros, mask_of([4], 4), gamma=1.0, lam=0.95)
    assert advantages.tolist() == [pytest.approx([0.95**3, 0.95**2, 0.95, 1.0])]
    discounted, _ = gae(rewards, zeros, mask_of([4], 4), gamma=0.9, lam=1.0)
    assert discounted.tolist() == [pytest.approx([0.9**3, 0.9**2, 0.9, 1.0])]


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("lam", [0.0, 0.95, 1.0])
def test_one_token_has_only_its_reward(gamma: float, lam: float) -> None:
    rewards, values = torch.tensor([[2.0, NAN]]), torch.tensor([[0.5, NAN]])
    mask = mask_of([1], 2)
    assert td_target(rewards, values, mask, gamma=gamma).tolist() == [[2.0, 0.0]]
    advantages, returns = gae(rewards, values, mask, gamma=gamma, lam=lam)
    assert (advantages.tolist(), returns.tolist()) == ([[1.5, 0.0]], [[2.0, 0.0]])


@pytest.mark.parametrize("width", [0, 3])
def test_no_tokens_give_zeros(width: int) -> None:
    junk, mask = torch.full((2, width), NAN), mask_of([0, 0], width)
    zeros = torch.zeros(2, width)
    assert torch.equal(td_target(junk, junk, mask, gamma=1.0), zeros)
    for out in gae(junk, junk, mask, gamma=1.0, lam=0.95):
        assert torch.equal(out, zeros)


@given(batch=ragged_batches(), gamma=unit_interval())
def test_td_target_is_reward_plus_discounted_next_value(batch: RaggedBatch, gamma: float) -> None:
    expected = [
        [r + gamma * v_next for r, v_next in zip(rewards, [*values[1:], 0.0], strict=True)]
        if rewards
        else []
        for rewards, values in rows_of(batch)
    ]
    actual = td_target(batch.rewards, batch.values, batch.response_mask, gamma=gamma)
    assert_same(actual, filled(expected, batch.rewards), dtype=batch.rewards.dtype)


@given(batch=ragged_batches(), gamma=unit_interval(), lam=unit_interval())
def test_gae_is_the_lambda_weighted_mean_of_n_step_advantages(
    batch: RaggedBatch, gamma: float, lam: float
) -> None:
    """Schulman et al. 2016, eq. 11-16: Â^(n) looks n rewards ahead; weights (1−λ)·λ^(n−1)."""
    expected = []
    for rewards, values in rows_of(batch):
        length = len(rewards)
        advantages = []
        for t in range(length):
            steps = [  # Â^(n) = R_t + … + γ^(n−1)·R_{t+n−1} + γ^n·V_{t+n} − V_t
                sum(gamma**k * rewards[t + k] for k in range(n))
                + (gamma**n * values[t + n] if t + n < length else 0.0)
                - values[t]
                for n in range(1, length - t + 1)
            ]
            weights = [(1 - lam) * lam**n for n in range(len(steps) - 1)]
            weights.append(1 - sum(weights))  # past the end every Â^(n) is the same
            advantages.append(sum(w * a for w, a in zip(weights, steps, strict=True)))
        expected.append(advantages)
    actual, returns = gae(batch.rewards, batch.values, batch.response_mask, gamma=gamma, lam=lam)
    advantages_expected = filled(expected, batch.rewards)
    assert_same(actual, advantages_expected, dtype=batch.rewards.dtype)
    counted_values = batch.values.double().where(batch.response_mask, 0.0)
    assert_same(returns, advantages_expected + counted_values, dtype=batch.rewards.dtype)


@given(batch=ragged_batches(), gamma=unit_interval())
def test_lambda_zero_gives_the_td_error_and_the_td_target(batch: RaggedBatch, gamma: float) -> None:
    mask = batch.response_mask
    advantages, returns = gae(batch.rewards, batch.values, mask, gamma=gamma, lam=0.0)
    target = td_target(batch.rewards, batch.values, mask, gamma=gamma)
    assert_same(returns, target, dtype=target.dtype)
    assert_same(advantages, (target - batch.values).where(mask, 0.0), dtype=target.dtype)


@given(batch=ragged_batches())
def test_lambda_one_gives_what_is_still_to_come_minus_the_value(batch: RaggedBatch) -> None:
    advantages, returns = gae(batch.rewards, batch.values, batch.response_mask, gamma=1.0, lam=1.0)
    to_go = [[sum(r[t:]) for t in range(len(r))] for r, _ in rows_of(batch)]
    expected = filled(to_go, batch.rewards)
    assert_same(returns, expected, dtype=returns.dtype)
    values = batch.values.double().where(batch.response_mask, 0.0)
    assert_same(advantages, expected - values, dtype=returns.dtype)


@given(batch=ragged_batches(dtypes=(torch.float64,)), lam=unit_interval(), gamma=unit_interval())
def test_a_perfect_critic_leaves_no_advantage(batch: RaggedBatch, gamma: float, lam: float) -> None:
    """If V_t = R_t + γ·V_{t+1} at each token, every δ is 0, whatever λ."""
    perfect = torch.zeros_like(batch.rewards)
    for row, length in enumerate(batch.lengths):
        for t in reversed(range(length)):
            after = perfect[row, t + 1] if t + 1 < length else 0.0
            perfect[row, t] = batch.rewards[row, t] + gamma * after
    advantages, _ = gae(batch.rewards, perfect, batch.response_mask, gamma=gamma, lam=lam)
    assert_same(advantages, torch.zeros_like(advantages), dtype=torch.float64)


def test_advantages_are_raw_not_whitened() -> None:
    advantages, _ = gae(torch.tensor([[3.0, 5.0]]), torch.zeros(1, 2), mask_of([2], 2), gamma=0.0,
                        lam=0.0)  # fmt: skip
    assert advantages.tolist() == [[3.0, 5.0]]


def test_targets_and_advantages_carry_no_gradient() -> None:
    rewards = torch.ones(1, 2, requires_grad=True)
    values = torch.ones(1, 2, requires_grad=True)
    outputs = [td_target(rewards, values, mask_of([2], 2), gamma=1.0)]
    outputs += gae(rewards, values, mask_of([2], 2), gamma=1.0, lam=0.95)
    assert not any(out.requires_grad for out in outputs)


@given(seed=st.integers(0, 99))
def test_inputs_are_left_as_they_were(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, 2, 4, generator=generator)
    before = (rewards.clone(), values.clone())
    td_target(rewards, values, mask_of([2, 3], 4), gamma=0.9)
    gae(rewards, values, mask_of([2, 3], 4), gamma=0.9, lam=0.9)
    assert torch.equal(rewards, before[0]) and torch.equal(values, before[1])


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(half: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 2, 6, generator=generator).to(half)
    mask = mask_of([6, 4], 6)
    low = (td_target(rewards, values, mask, gamma=0.99),
           *gae(rewards, values, mask, gamma=0.99, lam=0.95))  # fmt: skip
    rewards, values = rewards.double(), values.double()
    exact = (td_target(rewards, values, mask, gamma=0.99),
             *gae(rewards, values, mask, gamma=0.99, lam=0.95))  # fmt: skip
    for out, expected in zip(low, exact, strict=True):
        assert_same(out, expected, dtype=torch.float32)
