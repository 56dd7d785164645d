"""Advantages without a Critic: by hand, in their limits, and exactly right in expectation."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import RaggedBatch, assert_same, make_batch, mask_of, ragged_batches
from torch import Tensor
from torch.testing import assert_close

from minirlhf import gae, grpo_advantages, reinforce_advantages, rloo_advantages
from minirlhf.baselines import moved_baseline

NAN = math.nan
Function = Callable[[RaggedBatch, int], Tensor]


def reinforce(b: RaggedBatch, group_size: int) -> Tensor:
    return reinforce_advantages(b.rewards, b.response_mask, baseline=0.3)


def rloo(b: RaggedBatch, group_size: int) -> Tensor:
    return rloo_advantages(b.rewards, b.response_mask, group_size=group_size)


def grpo(b: RaggedBatch, group_size: int) -> Tensor:
    return grpo_advantages(b.scores, b.response_mask, group_size=group_size)


def centred(b: RaggedBatch, group_size: int) -> Tensor:
    return grpo_advantages(b.scores, b.response_mask, group_size=group_size, divide_by_std=False)


FUNCTIONS = [reinforce, rloo, grpo, centred]


@st.composite
def grouped(draw: st.DrawFn) -> tuple[RaggedBatch, int]:
    """One to three groups of two to four responses of 0 to 4 tokens, and the group's size."""
    size, groups, width = (draw(st.integers(a, b)) for a, b in ((2, 4), (1, 3), (1, 4)))
    one = st.integers(0, width)
    lengths = draw(st.lists(one, min_size=size * groups, max_size=size * groups))
    return make_batch(lengths, width, seed=draw(st.integers(0, 2**31 - 1))), size


# ------------------------------------------------------------------------------ by hand


def test_reinforce_by_hand() -> None:
    returns = torch.tensor([[1.0, 2.0, -1.0], [0.5, NAN, NAN]])
    advantages = reinforce_advantages(returns, mask_of([3, 1], 3), baseline=0.75)
    assert advantages.tolist() == [[0.25, 1.25, -1.75], [-0.25, 0.0, 0.0]]


def test_rloo_by_hand() -> None:
    """Returns 2, 3, 10 to one prompt and 1, 1, 4 to the next."""
    rewards = torch.tensor([[0.5, 1.5], [3, NAN], [-1, 11], [0, 1], [1, NAN], [4, NAN]])
    mask = mask_of([2, 1, 2, 2, 1, 1], 2)
    advantages = rloo_advantages(rewards, mask, group_size=3)
    # 2 − (3 + 10)/2, 3 − (2 + 10)/2, 10 − (2 + 3)/2;  1 − (1 + 4)/2 twice, 4 − (1 + 1)/2
    assert advantages.tolist() == [
        [-4.5, -4.5], [-3.0, 0.0], [7.5, 7.5], [-1.5, -1.5], [-1.5, 0.0], [3.0, 0.0],
    ]  # fmt: skip


def test_grpo_by_hand() -> None:
    """Scores 1, 2, 3, 6: mean 3, squared distances 4, 1, 0, 9, so variance 14/4."""
    scores, mask = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64), mask_of([1] * 4, 2)
    std = math.sqrt(3.5)
    got = grpo_advantages(scores, mask, group_size=4)
    assert got[:, 0].tolist() == pytest.approx([-2 / std, -1 / std, 0, 3 / std], rel=1e-5)
    assert not got[:, 1].any()
    plain = grpo_advantages(scores, mask, group_size=4, divide_by_std=False)
    assert plain[:, 0].tolist() == [-2, -1, 0, 3]
    clipped = grpo_advantages(scores, mask, group_size=4, divide_by_std=False, score_clip=2.0)
    assert clipped[:, 0].tolist() == [-0.75, 0.25, 0.25, 0.25]
    two_groups = grpo_advantages(scores, mask, group_size=2, divide_by_std=False)
    assert two_groups[:, 0].tolist() == [-0.5, 0.5, -1.5, 1.5]


def test_the_baseline_averages_evenly_at_first_and_forgets_later() -> None:
    means, b = [4.0, 0.0, 2.0, 2.0, 10.0, 0.0], 0.0
    path = []
    for n, mean in enumerate(means):
        b = moved_baseline(b, mean, decay=0.75, batches=n)
        path.append(b)
    assert path[:4] == pytest.approx([4.0, 2.0, 2.0, 2.0])  # plain averages
    assert path[4:] == pytest.approx([0.75 * 2 + 0.25 * 10, 0.75 * 4])
    last, even = 0.0, 0.0
    for n, mean in enumerate(means):
        last = moved_baseline(last, mean, decay=0.0, batches=n)
        even = moved_baseline(even, mean, decay=1.0, batches=n)
        assert last == mean and even == pytest.approx(sum(means[: n + 1]) / (n + 1))


# ------------------------------------------------------------------------------- limits


@given(batch=ragged_batches(min_tokens=1))
def test_a_group_of_two_is_a_duel(batch: RaggedBatch) -> None:
    batch = batch.to(torch.float64).rows([0, 0])
    batch.rewards[1] += 1.0
    total = batch.rewards.where(batch.response_mask, 0.0).sum(1)
    leads = torch.stack([total[0] - total[1], total[1] - total[0]])
    mask = batch.response_mask
    assert_same(rloo(batch, 2), leads[:, None] * mask, dtype=torch.float64)
    scores = torch.tensor([0.25, 0.75], dtype=torch.float64)
    got = grpo_advantages(scores, mask, group_size=2)
    signs = torch.tensor([[-1.0], [1.0]], dtype=torch.float64) * mask
    assert_close(got, signs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [0.1, -3.3, 1e6, 0.0])
@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_responses_teach_exactly_nothing(value: float, size: int, dtype: torch.dtype) -> None:
    x, mask = torch.full((2 * size, 1), value, dtype=dtype), mask_of([1] * 2 * size, 1)
    for advantages in (
        rloo_advantages(x, mask, group_size=size),
        grpo_advantages(x[:, 0], mask, group_size=size),
    ):
        assert advantages.dtype == dtype and not advantages.any()


@given(case=grouped())
def test_without_the_division_grpo_is_rloo_but_for_a_factor(case: tuple[RaggedBatch, int]) -> None:
    """Where β is 0, so that a response's return is its score."""
    batch, size = case
    first = torch.zeros_like(batch.response_mask)
    first[:, 0] = True
    rewards = torch.where(first, batch.scores[:, None], 0.0)
    everything = torch.ones_like(first)
    leave_one_out = rloo_advantages(rewards, everything, group_size=size)
    got = grpo_advantages(batch.scores, everything, group_size=size, divide_by_std=False)
    assert_same(got, leave_one_out * (size - 1) / size, dtype=torch.float64)


# --------------------------------------------------------------------- what changes nothing


@given(case=grouped(), constant=st.floats(-100, 100))
def test_a_constant_for_every_score_of_a_group_changes_nothing(
    case: tuple[RaggedBatch, int], constant: float
) -> None:
    batch, size = case
    shifted = batch.scores.clone()
    shifted[:size] += constant
    for divide in (True, False):
        options = {"group_size": size, "divide_by_std": divide}
        got = grpo_advantages(shifted, batch.response_mask, **options)
        wanted = grpo_advantages(batch.scores, batch.response_mask, **options)
        assert_close(got, wanted, rtol=1e-6, atol=1e-6)


@given(case=grouped(), factor=st.floats(0.1, 100))
def test_grpo_sees_no_scale_and_rloo_does(case: tuple[RaggedBatch, int], factor: float) -> None:
    batch, size = case
    scaled = grpo_advantages(factor * batch.scores, batch.response_mask, group_size=size)
    assert_close(scaled, grpo(batch, size), rtol=1e-3, atol=1e-3)
    louder = rloo_advantages(factor * batch.rewards, batch.response_mask, group_size=size)
    assert_close(louder, factor * rloo(batch, size))


@pytest.mark.parametrize("function", FUNCTIONS)
@given(case=grouped(), data=st.data())
def test_the_order_of_groups_and_within_them_is_free(
    function: Function, case: tuple[RaggedBatch, int], data: st.DataObject
) -> None:
    batch, size = case
    rows = len(batch.lengths)
    groups = data.draw(st.permutations(range(rows // size)))
    order = [g * size + i for g in groups for i in data.draw(st.permutations(range(size)))]
    assert_close(function(batch.rows(order), size), function(batch, size)[order])


@pytest.mark.parametrize("function", FUNCTIONS)
@given(case=grouped(), extra=st.integers(0, 3))
def test_junk_and_columns_under_the_mask_change_nothing(
    function: Function, case: tuple[RaggedBatch, int], extra: int
) -> None:
    batch, size = case
    wanted = function(batch, size)
    spoilt = batch.with_more_columns(extra, NAN).each_per_token(
        lambda x: (
            x.masked_fill(~mask_of(batch.lengths, x.shape[1]), NAN)
            if x.dim() == 2 and x.is_floating_point()
            else x
        )
    )
    got = function(spoilt, size)
    assert torch.equal(got[:, : wanted.shape[1]], wanted) and not got[:, wanted.shape[1] :].any()
    assert not got[~spoilt.response_mask].any() and wanted.isfinite().all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_gradient_flows_and_half_precision_is_computed_in_float32(function: Function) -> None:
    batch = make_batch([2, 3, 1, 0], 3)
    for x in (batch.rewards, batch.scores):
        x.requires_grad_(True)
    assert not function(batch, 2).requires_grad
    half = make_batch([2, 3, 1, 0], 3, dtype=torch.bfloat16)
    assert function(half, 2).dtype == torch.float32
    assert_same(function(half, 2), function(half.to(torch.float32), 2), dtype=torch.float32)


# -------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("function", [rloo, grpo, centred])
@pytest.mark.parametrize("size", [0, 1, 3, 8, -2])
def test_a_group_has_two_or_more_and_divides_the_batch(function: Function, size: int) -> None:
    message = f"group_size must be at least 2 and divide the 4 responses, got {size}"
    with pytest.raises(ValueError, match=message):
        function(make_batch([1, 2, 2, 1], 2), size)


# ---------------------------------------------------------------- the expected gradient, exactly

# three answers of one token to one prompt, under a policy that is a softmax of three numbers
LOGITS = torch.tensor([0.3, -0.5, 1.1], dtype=torch.float64)
SCORES = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def exact_gradient() -> Tensor:
    """∇ Σ_y π(y)·score(y)."""
    logits = LOGITS.clone().requires_grad_(True)
    return torch.autograd.grad((logits.softmax(0) * SCORES).sum(), logits)[0]


def expected_gradient(advantages: Callable[[Tensor], Tensor], n: int) -> Tensor:
    """E of mean_i Â_i·∇log π(y_i), over all 3ⁿ draws of n answers."""
    logits = LOGITS.clone().requires_grad_(True)
    log_pi = logits.log_softmax(0)
    total = torch.zeros(())
    for draw in itertools.product(range(3), repeat=n):
        answers = torch.tensor(draw)
        chance = log_pi[answers].sum().exp().detach()
        total = total + chance * (advantages(SCORES[answers]) * log_pi[answers]).mean()
    return torch.autograd.grad(total, logits)[0]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_leaving_one_out_is_unbiased_and_keeping_it_in_shortens_the_gradient(size: int) -> None:
    mask = mask_of([1] * size, 1)

    def leave_one_out(scores: Tensor) -> Tensor:
        return rloo_advantages(scores[:, None], mask, group_size=size)[:, 0]

    def keep_it_in(scores: Tensor) -> Tensor:
        return grpo_advantages(scores, mask, group_size=size, divide_by_std=False)[:, 0]

    exact = exact_gradient()
    assert_close(expected_gradient(leave_one_out, size), exact, rtol=0, atol=1e-14)
    shorter = (size - 1) / size * exact
    assert_close(expected_gradient(keep_it_in, size), shorter, rtol=0, atol=1e-14)


@pytest.mark.parametrize("baseline", [-1.0, 0.0, 5.0])
def test_a_baseline_from_elsewhere_is_unbiased(baseline: float) -> None:
    def minus(scores: Tensor) -> Tensor:
        mask = mask_of([1, 1], 1)
        return reinforce_advantages(scores[:, None], mask, baseline=baseline)[:, 0]

    assert_close(expected_gradient(minus, 2), exact_gradient(), rtol=0, atol=1e-14)


@given(batch=ragged_batches(dtypes=(torch.float64,)))
def test_a_rollout_without_a_critic_returns_the_reward_still_to_come(batch: RaggedBatch) -> None:
    """What `collect_rollout` does: V = 0 and λ = 1."""
    zeros = torch.zeros_like(batch.rewards)
    advantages, returns = gae(batch.rewards, zeros, batch.response_mask, gamma=0.9, lam=1.0)
    for row, n in enumerate(batch.lengths):
        rewards = batch.rewards[row].tolist()
        for t in range(n):
            to_come = sum(0.9 ** (s - t) * rewards[s] for s in range(t, n))
            assert float(advantages[row, t]) == pytest.approx(to_come)
    assert torch.equal(advantages, returns)
