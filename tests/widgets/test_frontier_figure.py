"""The frontier and over-optimisation pictures: what is drawn is what was measured."""

import pytest

from minirlhf.widgets import frontier_figure, overoptimisation_figure
from minirlhf.worlds.exact.frontier import Point
from minirlhf.worlds.exact.overoptimisation import Curve

BEST = Curve([3.0, 1.0, 0.1], [0.0, 1.0, 3.0], [0.0, 1.0, 1.6], [0.0, 1.0, 1.6])
FALLS = Curve([3.0, 1.0, 0.1], [0.0, 2.0, 6.0], [0.0, 1.5, 2.5], [0.0, 0.9, -0.7])


def point(algorithm: str, kl: float, score: float, gap: float = 0.04) -> Point:
    return Point(algorithm, 0.3, 200, kl, score, score - 0.3 * kl, gap)


def test_draws_the_optimum_and_each_algorithm_with_a_marker_of_its_own():
    points = [point("ppo", 1.4, 0.9), point("grpo", 2.2, 1.0), point("ppo", 0.5, 0.5)]
    (ax,) = frontier_figure(BEST, points, [point("grpo", 2.4, 1.1)]).axes
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["exact optimum π*"].get_ydata().tolist() == BEST.gold
    assert lines["PPO"].get_xdata().tolist() == [0.5, 1.4]  # in the order of KL
    assert lines["PPO"].get_marker() != lines["GRPO"].get_marker()
    assert ax.collections[0].get_offsets().tolist() == [[2.4, 1.1]]
    assert ax.get_xlim()[1] > 2.4


def test_says_in_words_how_near_each_algorithm_came():
    alt = frontier_figure(BEST, [point("rloo", 1.5, 0.8, gap=0.03)]).alt
    assert "RLOO at β 0.30: KL 1.50, gold 0.80, 3% of the way short" in alt


def test_an_algorithm_without_a_marker_is_refused():
    with pytest.raises(ValueError, match="no marker for sarsa; wanted ppo"):
        frontier_figure(BEST, [point("sarsa", 1.0, 1.0)])


def test_draws_proxy_and_gold_and_the_peak_for_each_number_of_pairs():
    picture = overoptimisation_figure(BEST, {100: [FALLS, FALLS], 20_000: [FALLS]})
    assert [ax.get_title(loc="left") for ax in picture.axes] == ["100 pairs", "20,000 pairs"]
    few = picture.axes[0]
    drawn = next(line for line in few.lines if line.get_label() == "gold")
    assert drawn.get_ydata().tolist() == FALLS.gold
    peak = next(line for line in few.lines if line.get_label() == "its peak")
    assert (peak.get_xdata()[0], peak.get_ydata()[0]) == (2.0, 0.9)
    assert len(few.lines) == 1 + 2 * 3
    proxy = next(line for line in few.lines if line.get_label() == "proxy")
    assert proxy.get_linestyle() != drawn.get_linestyle()  # not by colour alone
    assert "gold peaks at 0.90 (KL 2.00) and ends at −0.70 (KL 6.00)" in picture.alt
