"""Frontier from the numbers that the repository ships."""

from pathlib import Path

import pytest

from minirlhf.widgets.frontier_live import Frontier
from minirlhf.worlds.exact.frontier import Point
from minirlhf.worlds.exact.overoptimisation import Curve

EXACT = Path(__file__).parents[2] / "assets" / "exact"
LINE = Curve([1.0, 0.1], [0.1, 2.0], [0.2, 1.0], [0.2, 1.0])


def shipped(**more: object) -> Frontier:
    return Frontier.from_files(EXACT / "frontier.json", EXACT / "overoptimisation.json", **more)


def test_no_shipped_run_lies_above_the_line() -> None:
    widget = shipped()
    kl, gold = widget._best["kl"], widget._best["gold"]
    for point in (*widget._points, *widget._fixed_points):
        place = next(i for i, x in enumerate(kl) if x >= point["kl"])
        assert point["score"] <= gold[place] + 1e-9
    assert {p["algorithm"] for p in widget._points} == {"ppo", "rloo", "reinforce", "grpo", "dpo"}


def test_it_begins_with_the_reward_models_that_mislead_most() -> None:
    widget = shipped()
    falls = {
        entry["pairs"]: max(max(c["gold"]) - c["gold"][-1] for c in entry["seeds"])
        for entry in widget._curves
    }
    assert widget.pairs == max(falls, key=falls.__getitem__)
    with pytest.raises(ValueError, match="pairs must be one of"):
        widget.pairs = 3


def test_the_picture_is_that_of_the_runs_or_of_the_curves() -> None:
    assert "PPO at β" in repr(shipped())
    assert "100 pairs" in repr(Frontier(LINE, curves={100: [LINE]}))
    assert "gold peaks" in repr(Frontier(LINE))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no marker for sarsa"):
        Frontier(LINE, [Point("sarsa", 1.0, 1, 0.1, 0.1, 0.0, 0.5)])
    with pytest.raises(ValueError, match="no point"):
        Frontier(Curve([], [], [], []))
    with pytest.raises(ValueError, match="no curve"):
        Frontier(LINE, curves={5: []})
    with pytest.raises(ValueError, match="cannot read"):
        Frontier.from_files(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="has no best, points"):
        Frontier.from_files(tmp_path / "other.json")
