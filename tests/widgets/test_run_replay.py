"""RunReplay from records and from a run's history."""

import math
from pathlib import Path

import pytest

from minirlhf import METRICS, StepRecord
from minirlhf.history import append_record
from minirlhf.widgets.run_replay import RunReplay

RUN = [
    StepRecord("ppo", i, 5, {"score": 0.1 * i, "kl": 10.0 * i, "odd": math.nan}, f"text {i}")
    for i in range(1, 6)
]


def test_records_bring_curves_healthy_ranges_and_texts() -> None:
    widget = RunReplay(RUN)
    assert widget.steps == [1, 2, 3, 4, 5] and widget.step == 5
    assert widget.samples[2] == "text 3"
    score, kl = widget._panels
    assert score["name"] == "score" and kl["values"] == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert (kl["low"], kl["high"]) == METRICS["kl"].healthy
    assert RunReplay(RUN, ["odd"])._panels[0]["values"] == [None] * 5


def test_a_history_on_disk_is_the_same_run_without_texts(tmp_path: Path) -> None:
    for record in RUN:
        append_record(tmp_path / "history.jsonl", record)
    widget = RunReplay.of_folder(tmp_path)
    assert widget._panels == RunReplay(RUN)._panels and not any(widget.samples)
    assert RunReplay.of_folder(tmp_path, samples={3: "kept"}).samples[2] == "kept"
    with pytest.raises(ValueError, match="cannot read"):
        RunReplay.of_folder(tmp_path / "none")


def test_the_picture_stops_at_the_step_shown() -> None:
    widget = RunReplay(RUN, step=2)
    assert "at step 2 of 5: score 0.20, kl 20.00" in repr(widget)
    data, _ = widget._repr_mimebundle_()
    assert len(data["image/png"]) > 5000
    late = [StepRecord("ppo", 1, 2), StepRecord("ppo", 2, 2, {"kl": 1.0})]
    assert "no metric has begun" in repr(RunReplay(late, step=1))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="rise"):
        RunReplay([])
    with pytest.raises(ValueError, match="rise"):
        RunReplay([RUN[1], RUN[0]])
    with pytest.raises(ValueError, match="got lr"):
        RunReplay(RUN, ["lr"])
    with pytest.raises(ValueError, match="step 9 was not recorded"):
        RunReplay(RUN, step=9)
    with pytest.raises(ValueError, match="has a 'step'"):
        RunReplay([{"kl": 1.0}])
