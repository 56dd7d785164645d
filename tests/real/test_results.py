"""The verdict on LoRA, on numbers worked out by hand; needs no model and no text."""

import pytest
from results import verdict

WHOLE = [1.4, 1.5, 1.6]  # mean 1.5, standard error 0.1/√3 = 0.0577


def test_equal_but_for_noise_is_reached() -> None:
    found = verdict(WHOLE, [1.5, 1.4, 1.6])  # differences 0.1, −0.1, 0
    assert found["lora_minus_whole"] == pytest.approx([0.0, 0.1 / 3**0.5], abs=1e-12)
    assert found["lora_reaches_it"]


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_steady_difference_is_missed_though_the_intervals_overlap(sign: int) -> None:
    found = verdict(
        WHOLE, [x + sign * (0.1 + extra) for x, extra in zip(WHOLE, (0.01, 0, -0.01), strict=True)]
    )
    assert found["intervals_overlap"]
    assert not found["paired_within_2_errors"]
    assert not found["lora_reaches_it"]


def test_a_large_spread_is_noise_and_what_is_far_apart_is_missed() -> None:
    # differences 0.1, −0.6, −1.3: mean −0.6, error 0.7/√3 = 0.404
    found = verdict([1.0, 1.5, 2.0], [1.1, 0.9, 0.7])
    assert found["lora_minus_whole"] == pytest.approx([-0.6, 0.7 / 3**0.5])
    assert found["lora_reaches_it"]
    found = verdict(WHOLE, [0.9, 1.0, 1.1])  # 0.5 apart; the intervals reach 2 · 2 · 0.0577
    assert not found["paired_within_2_errors"]
    assert not found["intervals_overlap"]


def test_one_seed_has_no_spread_and_so_no_verdict() -> None:
    assert verdict([1.0], [0.5])["lora_reaches_it"]
