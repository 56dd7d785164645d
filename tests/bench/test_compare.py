"""Medians and ratios of made-up runs."""

import pytest

from minirlhf.bench.compare import compare


def run(total, garbage=None):
    """Half of it learning, a quarter writing, the rest reading."""
    parts = {"generate": total / 4, "score": total / 4, "train": total / 2, "other": 0.0}
    parts |= {"total": total, "cpu": 2 * total}
    return parts | ({} if garbage is None else {"garbage": garbage})


def test_ratios_are_ours_over_theirs():
    found = compare(
        {
            "ours": [run(2.0), run(100.0), run(4.0)],
            "floor": [run(1.0), run(2.0), run(3.0)],
            "trl": [run(9.0, 1.0), run(8.0, 0.0), run(7.0, 6.0)],
        },
        tokens=40,
    )
    assert found["ratio_to_floor"] == 2.0 and found["ratio_to_trl"] == 0.5
    assert found["ratio"]["train"] == 2.0 and found["trl_ratio"]["generate"] == 0.5
    assert found["seconds"]["train"] == 2.0 and found["trl_garbage_seconds"] == 1.0
    assert found["cpu_seconds"] == 8.0 and found["cpu_ratio_to_floor"] == 2.0
    assert found["ratio_of_fastest"] == 2.0
    assert found["ratio_to_trl_without_garbage"] == 4.0 / 8.0  # medians of 8, 8 and 1
    assert found["tokens_per_second"] == 10.0 and found["trl_tokens_per_second"] == 5.0
    assert found["runs_seconds"] == [2.0, 100.0, 4.0]
    assert found["trl_runs_seconds"] == [9.0, 8.0, 7.0]


def test_without_a_peer_nothing_is_said_of_one():
    found = compare({"ours": [run(2.0)], "floor": [run(1.0)]}, tokens=1)
    assert not [name for name in found if "trl" in name]
    assert found["ratio_to_floor"] == pytest.approx(2.0)
