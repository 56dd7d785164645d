"""GradientMeter: real batches of a small world, three baselines."""

import pytest
from exact_tables import SMALL, random_log_pi, random_scores

from minirlhf.widgets.gradient_meter import GradientMeter
from minirlhf.worlds.exact import exact_truth
from minirlhf.worlds.exact.gradient_quality import gradient_quality


def truth():
    tables = random_log_pi(SMALL, 0), random_log_pi(SMALL, 1), random_scores(SMALL, 2)
    return exact_truth(*tables, SMALL, kl_coef=0.2)


def test_it_holds_what_was_measured() -> None:
    meter = GradientMeter.of(truth(), batch_sizes=(1, 4, 16), repeats=8, seed=1)
    assert meter.batch_sizes == [1, 4, 16] and meter.batch_size == 4
    own = gradient_quality(truth(), "mean", batch_sizes=(1, 4, 16), repeats=8, seed=1)
    assert [n["shift"] for n in meter._numbers] == [0.0, 1.0, 3.0]
    held = {n["baseline"]: n for n in meter._numbers[0]["series"]}
    assert held["mean"]["relative_error"] == own.relative_error.tolist()
    assert held["mean"]["expected_error"] == own.expected_error.tolist()
    at_zero = repr(meter)
    meter.shift = 3.0
    assert repr(meter) != at_zero and "3.00 added" in repr(meter)
    with pytest.raises(ValueError, match="shift must be one of"):
        meter.shift = 2.0
    assert "from 4 answers" in repr(meter) and "exact V" in repr(meter)
    data, _ = meter._repr_mimebundle_()
    assert len(data["image/png"]) > 5000


def test_what_does_not_fit_is_refused() -> None:
    one = gradient_quality(truth(), "mean", batch_sizes=(1, 4), repeats=2)
    other = gradient_quality(truth(), "none", batch_sizes=(1, 8), repeats=2)
    with pytest.raises(ValueError, match="one quality for each"):
        GradientMeter([one, one])
    with pytest.raises(ValueError, match="one quality for each"):
        GradientMeter({})
    with pytest.raises(ValueError, match="different batch sizes"):
        GradientMeter([one, other])
    with pytest.raises(ValueError, match="one of 1, 4"):
        GradientMeter([one], batch_size=2)
