"""The four losses: hand numbers, the six clip cases, exact gradients, and token-weighted means."""

import math

import pytest
import torch
from hypothesis import given
from strategies import RaggedBatch, assert_same, make_batch, mask_of, ragged_batches
from torch import Tensor
from torch.autograd import gradcheck

from minirlhf import actor_loss, critic_loss, preference_loss, sft_loss

NAN = math.nan
ONE = mask_of([1], 1)


def value_and_gradient(loss: Tensor, wrt: Tensor) -> tuple[float, list[float]]:
    loss.backward()
    assert wrt.grad is not None
    return loss.item(), wrt.grad.flatten().tolist()


# ---- actor_loss -------------------------------------------------------------------------------

# (ratio ρ, advantage Â, loss, pushes?): the six cases, with ε = 0.2. Where the loss is clipped the
# gradient is exactly zero; elsewhere d loss / d log π = −Â·ρ.
SIX_CASES = [
    (0.5, 1.0, -0.5, True),  # unlikely now, good: still pushed up
    (1.1, 1.0, -1.1, True),  # inside, good
    (1.5, 1.0, -1.2, False),  # already pushed far up: pays no more
    (0.5, -1.0, 0.8, False),  # already pushed far down: pays no more
    (0.9, -1.0, 0.9, True),  # inside, bad
    (1.5, -1.0, 1.5, True),  # likely now, bad: still pushed down
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "pushes"), SIX_CASES)
def test_actor_loss_in_the_six_clip_cases(
    ratio: float, advantage: float, loss: float, pushes: bool
) -> None:
    old = torch.tensor([[-2.0]], dtype=torch.float64)
    new = (old + math.log(ratio)).requires_grad_(True)
    value, gradient = value_and_gradient(
        actor_loss(new, old, torch.full_like(old, advantage), ONE, clip_range=0.2), new
    )
    assert value == pytest.approx(loss)
    if pushes:
        assert gradient == pytest.approx([-advantage * ratio])
    else:
        assert gradient == [0.0]


def test_actor_clip_range_is_two_tenths_unless_said() -> None:
    old, one = torch.zeros(1, 1), torch.ones(1, 1)
    new = torch.full((1, 1), math.log(3.0))
    assert actor_loss(new, old, one, ONE).item() == pytest.approx(-1.2)
    assert actor_loss(new, old, one, ONE, clip_range=0.5).item() == pytest.approx(-1.5)
    assert actor_loss(new, old, one, ONE, clip_range=5.0).item() == pytest.approx(-3.0)


def test_before_the_first_step_the_actor_loss_is_minus_the_mean_advantage() -> None:
    """Ratio 1: the gradient is the policy gradient −Â / N, also for the last token (the EOS)."""
    log_probs = torch.tensor([[-1.0, -3.0, NAN], [-0.5, NAN, NAN]], requires_grad=True)
    advantages = torch.tensor([[2.0, -1.0, NAN], [5.0, NAN, NAN]])
    loss = actor_loss(log_probs, log_probs.detach().clone(), advantages, mask_of([2, 1], 3))
    value, gradient = value_and_gradient(loss, log_probs)
    assert value == pytest.approx(-2.0)  # a token mean; the mean of row means would be −2.75
    assert gradient == pytest.approx([-2 / 3, 1 / 3, 0.0, -5 / 3, 0.0, 0.0])


@pytest.mark.parametrize("shift", [100.0, 800.0])
def test_a_ratio_that_overflows_is_clipped_with_a_zero_gradient_not_a_nan(shift: float) -> None:
    """ρ = ∞ with Â > 0 is clipped: a finite loss must not hide a NaN gradient (0·∞).

    The contract does not name this case; a NaN gradient behind a finite loss would pass the check
    that stops training on a non-finite loss.
    """
    new = torch.tensor([[shift]], requires_grad=True)
    loss = actor_loss(new, torch.zeros(1, 1), torch.ones(1, 1), ONE)
    assert value_and_gradient(loss, new) == (pytest.approx(-1.2), [0.0])


def test_only_the_current_log_probs_and_values_learn() -> None:
    """The other inputs are recorded, says the contract: constants, even if handed over live."""
    leaves = [torch.full((1, 1), x, requires_grad=True) for x in (-1.0, -1.1, 2.0)]
    for loss in (actor_loss(*leaves, ONE), critic_loss(*leaves, ONE)):
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        assert gradients[0] is not None and gradients[0].item() != 0.0
        assert [g is None or g.item() == 0.0 for g in gradients[1:]] == [True, True]


# ---- critic_loss ------------------------------------------------------------------------------

# (V, V_old, target, clip, loss, gradient); loss = ½·max((V − G)², (clip(V, V_old ± c) − G)²)
CRITIC_CASES = [
    (1.0, 1.0, 2.0, 0.2, 0.5, -1.0),  # the first minibatch: V = V_old
    (1.1, 1.0, 2.0, 0.2, 0.405, -0.9),  # inside the range: plain ½·(V − G)²
    (1.5, 1.0, 2.0, 0.2, 0.32, 0.0),  # went past the range towards G: held, ½·(1.2 − 2)²
    (0.5, 1.0, 0.0, 0.2, 0.32, 0.0),  # the same downwards
    (0.5, 1.0, 2.0, 0.2, 1.125, -1.5),  # went past the range away from G: pulled back in full
    (1.5, 1.0, 0.0, 0.2, 1.125, 1.5),  # the same upwards
    (3.0, 1.0, 2.0, 0.2, 0.5, 1.0),  # overshot G: (3−2)² = 1 beats (1.2−2)² = 0.64
    (1.5, 1.0, 2.0, None, 0.125, -0.5),  # no clip
    (1.5, 1.0, 2.0, 0.7, 0.125, -0.5),  # a wider clip
]


@pytest.mark.parametrize(("value", "old", "target", "clip", "loss", "slope"), CRITIC_CASES)
def test_critic_loss_in_its_clip_cases(
    value: float, old: float, target: float, clip: float | None, loss: float, slope: float
) -> None:
    values, olds, targets = (
        torch.tensor([[x]], dtype=torch.float64, requires_grad=i == 0)
        for i, x in enumerate((value, old, target))
    )
    actual = value_and_gradient(
        critic_loss(values, olds, targets, ONE, value_clip_range=clip), values
    )
    assert actual == (pytest.approx(loss), pytest.approx([slope]))
    assert slope != 0.0 or actual[1] == [0.0]


def test_critic_clip_range_is_two_tenths_unless_said() -> None:
    new, old, target = torch.full((1, 1), 1.5), torch.ones(1, 1), torch.full((1, 1), 2.0)
    assert critic_loss(new, old, target, ONE).item() == pytest.approx(0.32)


def test_critic_loss_is_half_the_mean_square_over_tokens() -> None:
    values = torch.tensor([[1.0, 2.0], [4.0, NAN]])
    zeros, mask = torch.zeros(2, 2), mask_of([2, 1], 2)
    loss = critic_loss(values, zeros, zeros, mask, value_clip_range=None)
    assert loss.item() == pytest.approx((1 + 4 + 16) / 3 / 2)


# ---- preference_loss --------------------------------------------------------------------------


def test_preference_loss_by_hand() -> None:
    chosen, rejected = torch.tensor([math.log(3.0), 0.0]), torch.tensor([0.0, math.log(3.0)])
    # σ(log 3) = ¾ and σ(−log 3) = ¼
    expected = -(math.log(0.75) + math.log(0.25)) / 2
    assert preference_loss(chosen, rejected).item() == pytest.approx(expected)
    assert preference_loss(chosen, chosen.clone()).item() == pytest.approx(math.log(2.0))


def test_a_margin_is_taken_off_the_difference() -> None:
    scores, margin = torch.tensor([2.0, 1.0]), torch.tensor([2.0, 1.0 - math.log(3.0)])
    loss = preference_loss(scores, torch.zeros(2), margin=margin)
    assert loss.item() == pytest.approx((math.log(2.0) - math.log(0.75)) / 2)
    # One number for all pairs: silent in the contract, welcome to a careful user.
    assert preference_loss(scores[:1], torch.zeros(1), margin=2.0).item() == pytest.approx(
        math.log(2.0)
    )


def test_adding_a_constant_to_all_scores_changes_no_preference_loss() -> None:
    chosen, rejected = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    moved = preference_loss(chosen + 64.0, rejected + 64.0)
    assert moved.item() == pytest.approx(preference_loss(chosen, rejected).item())


@pytest.mark.parametrize(("gap", "loss", "slope"), [(1e4, 0.0, 0.0), (-1e4, 1e4, -1.0)])
def test_preference_loss_is_stable_at_large_gaps(gap: float, loss: float, slope: float) -> None:
    chosen = torch.tensor([gap], requires_grad=True)
    actual = value_and_gradient(preference_loss(chosen, torch.zeros(1)), chosen)
    assert actual == (pytest.approx(loss), pytest.approx([slope]))


def test_preference_loss_computes_half_precision_in_float32() -> None:
    chosen, rejected = torch.tensor([-4e4]).half(), torch.tensor([4e4]).half()
    loss = preference_loss(chosen, rejected)  # −4e4 − 4e4 is −inf in float16
    assert_same(loss, 8e4, dtype=torch.float32)


# ---- sft_loss ---------------------------------------------------------------------------------


def test_sft_loss_is_the_mean_surprise_of_the_counted_tokens() -> None:
    log3 = math.log(3.0)
    logits = torch.tensor([[[0.0, log3], [NAN, NAN], [log3, 0.0]], [[0.0, 0.0]] + [[NAN] * 2] * 2])
    token_ids = torch.tensor([[1, -100, 1], [0, -100, -100]])
    mask = torch.tensor([[True, False, True], [True, False, False]])  # gaps are allowed here
    logits.requires_grad_(True)
    value, gradient = value_and_gradient(sft_loss(logits, token_ids, mask), logits)
    assert value == pytest.approx((-math.log(0.75) - math.log(0.25) + math.log(2.0)) / 3)
    assert gradient[:6] == pytest.approx([1 / 12, -1 / 12, 0.0, 0.0, 0.25, -0.25], abs=1e-7)


# ---- all losses -------------------------------------------------------------------------------

LOSSES = {
    "actor_loss": lambda b: (
        b.log_probs, lambda x: actor_loss(x, b.old_log_probs, b.advantages, b.response_mask)),
    "critic_loss": lambda b: (
        b.values, lambda x: critic_loss(x, b.old_values, b.targets, b.response_mask)),
    "critic_loss, no clip": lambda b: (
        b.values,
        lambda x: critic_loss(x, b.old_values, b.targets, b.response_mask, value_clip_range=None)),
    "sft_loss": lambda b: (b.logits, lambda x: sft_loss(x, b.token_ids, b.response_mask)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
@given(batch=ragged_batches(min_tokens=1, max_rows=6, dtypes=(torch.float64,)))
def test_minibatches_weighted_by_their_tokens_add_up_to_the_batch(
    name: str, batch: RaggedBatch
) -> None:
    inputs, loss_of = LOSSES[name](batch)
    whole = inputs.clone().requires_grad_(True)
    loss = loss_of(whole)
    loss.backward()
    parts, total = torch.zeros_like(inputs), 0.0
    rows = len(batch.lengths)
    for some in (list(range(0, rows, 2)), list(range(1, rows, 2))):
        if some:
            part_inputs, part_loss_of = LOSSES[name](batch.rows(some))
            leaf = part_inputs.clone().requires_grad_(True)
            part = part_loss_of(leaf) * (batch.rows(some).tokens / batch.tokens)
            part.backward()
            total += part.item()
            parts[some] = leaf.grad
    assert total == pytest.approx(loss.item(), abs=1e-12)
    torch.testing.assert_close(parts, whole.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_in_float64_by_finite_differences(name: str) -> None:
    inputs, loss_of = LOSSES[name](make_batch([3, 0, 5, 1], 5, seed=1))
    assert gradcheck(loss_of, (inputs.clone().requires_grad_(True),))


def test_preference_gradient_in_float64_by_finite_differences() -> None:
    chosen, rejected, margin = make_batch([1, 1, 1], 3, seed=2).values
    scores = (chosen.clone().requires_grad_(True), rejected.clone().requires_grad_(True))
    assert gradcheck(lambda c, r: preference_loss(c, r, margin=margin), scores)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("width", [0, 3])
def test_no_token_gives_a_zero_loss_that_can_still_be_differentiated(name: str, width: int) -> None:
    inputs, loss_of = LOSSES[name](make_batch([0, 0], width, dtype=torch.float32).poisoned(NAN))
    leaf = inputs.clone().requires_grad_(True)
    loss = loss_of(leaf)
    loss.backward()
    assert loss.item() == 0.0 and loss.shape == ()
    assert leaf.grad is not None and not leaf.grad.any()
