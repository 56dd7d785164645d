"""Curves: what is drawn is what was recorded, and the healthy band is the table's."""

import pytest

from minirlhf import METRICS, StepRecord
from minirlhf.widgets import curves_figure

RUN = [StepRecord("ppo", 10 + i, 20, {"kl": 8.0 * i, "score": float(i)}) for i in range(6)]


def test_draws_the_records_over_their_steps():
    kl, score = curves_figure(RUN, ["kl", "score"]).axes
    assert kl.lines[0].get_xdata().tolist() == [10, 11, 12, 13, 14, 15]
    assert score.lines[0].get_ydata().tolist() == [0, 1, 2, 3, 4, 5]
    assert kl.get_title(loc="left") == "kl" and kl.get_ylabel() == METRICS["kl"].unit


def test_bare_metrics_are_numbered_from_one():
    (panel,) = curves_figure([{"score": 2.0}, {"score": 3.0}], ["score"]).axes
    assert panel.lines[0].get_xdata().tolist() == [1, 2]


def test_skips_steps_that_do_not_report_a_metric():
    run = [{"score": 1.0}, {"score": 2.0, "held_out_accuracy": 0.8}]
    (panel,) = curves_figure(run, ["held_out_accuracy"]).axes
    assert panel.lines[0].get_xdata().tolist() == [2]


def test_shades_the_healthy_range_as_far_as_the_panel_goes():
    (panel,) = curves_figure(RUN, ["kl"]).axes
    band = panel.patches[0]
    assert band.get_y() == METRICS["kl"].healthy[0]
    assert band.get_y() + band.get_height() == METRICS["kl"].healthy[1]
    assert panel.get_ylim()[1] > METRICS["kl"].healthy[1]


def test_shades_nothing_without_bounds_or_out_of_reach():
    assert not curves_figure(RUN, ["score"]).axes[0].patches
    far = [{"explained_variance": -5.0}, {"explained_variance": -4.0}]
    assert not curves_figure(far, ["explained_variance"]).axes[0].patches


def test_tells_runs_apart_without_colour():
    picture = curves_figure({"one": RUN, "two": RUN, "three": RUN}, ["kl", "score"])
    lines = picture.axes[0].lines
    assert len({line.get_linestyle() for line in lines}) == 3
    assert len({line.get_marker() for line in lines}) == 3
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["one", "two", "three"]


def test_says_in_words_where_curves_begin_and_end():
    assert "kl 0.00 to 40.00; score 0.00 to 5.00" in curves_figure(RUN, ["kl", "score"]).alt
    falling = [{"score": 0.0}, {"score": -1.5}]
    assert "β: 0.00 to −1.50" in curves_figure({"β": falling}, ["score"]).alt


def test_leaves_no_empty_axes():
    picture = curves_figure(RUN, ["kl", "score", "kl", "score"])  # four panels in two rows of three
    assert [ax.axison for ax in picture.axes] == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("runs", "names", "message"),
    [
        (RUN, [], "names is empty"),
        (RUN, ["gold"], "no record has the metric 'gold'; there are: kl, score"),
        ({"a": RUN, "b": []}, ["kl"], "of run 'b' has the metric 'kl'; there are: none"),
        ({}, ["kl"], "got 0 runs"),
        ({str(i): RUN for i in range(5)}, ["kl"], "got 5 runs, wanted 1 to 4"),
    ],
)
def test_refuses_what_cannot_be_drawn(runs, names, message):
    with pytest.raises(ValueError, match=message):
        curves_figure(runs, names)
