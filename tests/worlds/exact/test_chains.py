"""How many updates a score of 1 needs to get from the last token of a chain to the first."""

from itertools import islice

import pytest
import torch

from minirlhf import critic_loss
from minirlhf.worlds.exact.chains import (
    ChainFit,
    chain_values,
    predicted_error,
    td_against_gae,
)

LENGTHS = (2, 4, 8, 16, 24)


def table(fits: tuple[ChainFit, ...]) -> str:
    """One line for each chain; shown when an assertion fails."""
    return "\n".join(
        f"R = {fit.length:3}: td {fit.td:4}, gae {fit.gae:3}, ratio {fit.ratio:4.1f}"
        for fit in fits
    )


@pytest.mark.parametrize("learning_rate", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
def test_every_error_on_the_way_is_the_predicted_one(lam: float, learning_rate: float) -> None:
    updates = chain_values(24, "gae", lam=lam, learning_rate=learning_rate)
    for count, values in enumerate(islice(updates, 40)):
        predicted = [
            predicted_error(24 - t, count, lam=lam, learning_rate=learning_rate) for t in range(24)
        ]
        assert (1.0 - values).tolist() == pytest.approx(predicted, abs=1e-12)


def test_td_is_gae_at_lambda_0() -> None:
    td = islice(chain_values(6, "td", learning_rate=0.5), 20)
    zero = islice(chain_values(6, "gae", lam=0.0, learning_rate=0.5), 20)
    assert all(torch.equal(one, other) for one, other in zip(td, zero, strict=True))


def test_a_full_td_update_carries_the_score_back_by_one_token() -> None:
    for count, values in enumerate(islice(chain_values(5, "td"), 7)):
        assert values.tolist() == [0.0] * (5 - count) + [1.0] * min(count, 5)


def test_td_needs_as_many_updates_as_tokens_and_gae_up_to_six_times_fewer() -> None:
    fits = td_against_gae(LENGTHS)
    assert [fit.td for fit in fits] == list(LENGTHS), table(fits)
    assert [fit.gae for fit in fits] == [2, 2, 2, 3, 4], table(fits)
    ratios = [fit.ratio for fit in fits]
    assert ratios == [1.0, 2.0, 4.0, pytest.approx(16 / 3), 6.0], table(fits)


def test_the_ratio_grows_with_the_length_of_the_chain_towards_one_over_one_minus_lambda() -> None:
    fits = td_against_gae((24, 48, 96, 200, 800))
    ratios = [fit.ratio for fit in fits]
    assert ratios == sorted(ratios) and 14.0 < ratios[-1] < 20.0, table(fits)
    # a whole number of updates makes it fall a little between: 8 tokens need 2 updates, 9 need 3
    eight, nine = td_against_gae((8, 9))
    assert (eight.gae, nine.gae) == (2, 3), table((eight, nine))


@pytest.mark.parametrize(("learning_rate", "least"), [(0.5, 5.0), (0.1, 5.0)])
def test_small_updates_take_longer_and_leave_the_ratio(learning_rate: float, least: float) -> None:
    fits = td_against_gae(LENGTHS, learning_rate=learning_rate)
    ratios = [fit.ratio for fit in fits]
    assert ratios == sorted(ratios) and ratios[-1] > least, table(fits)
    full = td_against_gae(LENGTHS)
    assert all(slow.td > quick.td for slow, quick in zip(fits, full, strict=True)), table(fits)


def test_the_default_value_clip_costs_td_four_updates_whatever_the_length() -> None:
    """A value moves by 0.2 at most, so a score of 1 takes 5 updates instead of 1 at each token."""
    free, clipped = td_against_gae(LENGTHS), td_against_gae(LENGTHS, value_clip_range=0.2)
    assert [fit.td for fit in clipped] == [length + 4 for length in LENGTHS], table(clipped)
    assert all(0 < c.gae - f.gae <= 4 for f, c in zip(free, clipped, strict=True)), table(clipped)
    ratios = [fit.ratio for fit in clipped]
    assert ratios == sorted(ratios) and ratios[-1] < free[-1].ratio, table(clipped)


@pytest.mark.parametrize(("target", "ends_at"), [(1.0, 0.5), (-1.0, 0.1), (0.35, 0.35)])
def test_descending_the_clipped_critic_loss_stops_at_the_clip(
    target: float, ends_at: float
) -> None:
    """Which is why `chain_values` clips its steps."""
    old, goal = torch.tensor([[0.3]]).double(), torch.tensor([[target]]).double()
    mask = torch.ones(1, 1, dtype=torch.bool)
    value = old.clone()
    for _ in range(1000):
        value.requires_grad_(True)
        loss = critic_loss(value, old, goal, mask, value_clip_range=0.2)
        (slope,) = torch.autograd.grad(loss, value)
        value = value.detach() - 0.01 * slope
    assert float(value) == pytest.approx(ends_at, abs=0.01)


def test_a_chain_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="length ≥ 1"):
        next(chain_values(0, "td"))
    with pytest.raises(ValueError, match="learning_rate in"):
        next(chain_values(3, "td", learning_rate=0.0))
