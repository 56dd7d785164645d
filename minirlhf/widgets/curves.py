"""Curves of a training run: one small panel a metric, with its healthy range shaded."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from minirlhf.batch import StepRecord
from minirlhf.metrics import METRICS
from minirlhf.widgets.picture import BLUE, GREEN, GREY, INK, PURPLE, VERMILION, Picture, number

Metrics = Mapping[str, float]
Run = Sequence[StepRecord | Metrics]
Curve = list[tuple[int, Metrics]]  # (step, metrics), in order

# runs differ by dash and marker as well as by colour
STYLES = ((BLUE, "-", "o"), (VERMILION, "--", "s"), (GREEN, ":", "^"), (PURPLE, "-.", "D"))
COLUMNS = 3


def curves_figure(runs: Run | Mapping[str, Run], names: Sequence[str]) -> Picture:
    """Draw metrics over the steps of one run, or of several for comparison.

    Args:
        runs: the records (or just their metrics) of one run, or up to 4 runs by label.
        names: of metrics, explained in `minirlhf.METRICS`; one panel each.

    Returns:
        A picture; a green band marks the healthy range, where the table of metrics has one.

    Raises:
        ValueError: nothing to draw, more than 4 runs, or a metric that no record has.
    """
    labelled = runs if isinstance(runs, Mapping) else {"": runs}
    curves = {label: _numbered(run) for label, run in labelled.items()}
    _check(curves, names)
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    picture = Picture(3.3 * columns, 2.3 * rows + 0.4 * (len(curves) > 1), _describe(curves, names))
    axes = picture.subplots(rows, columns, squeeze=False).flatten().tolist()
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes, names, strict=False):
        _panel(ax, name, curves)
    picture.tight_layout(rect=(0, 0, 1, 1 if len(curves) == 1 else 1 - 0.4 / (2.3 * rows + 0.4)))
    if len(curves) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        picture.legend(handles, labels, loc="upper center", ncols=len(curves), frameon=False)
    return picture


def _panel(ax: Axes, name: str, curves: Mapping[str, Curve]) -> None:
    for (label, run), (colour, dash, marker) in zip(curves.items(), STYLES, strict=False):
        steps, values = _series(run, name)
        ax.plot(
            steps,
            values,
            color=colour,
            linestyle=dash,
            marker=marker,
            markevery=max(1, len(steps) // 8),
            markersize=4,
            linewidth=1.6,
            label=label,
        )
    metric = METRICS.get(name)
    ax.margins(y=0.12)
    if metric is not None:
        _shade_healthy(ax, *metric.healthy)
        ax.set_ylabel(metric.unit if metric.unit != "1" else "", color=GREY, fontsize=9)
    ax.set_title(name, fontsize=10.5, fontweight="bold", color=INK, loc="left")
    ax.set_xlabel("step", color=GREY, fontsize=9)
    ax.tick_params(labelsize=9, colors=GREY)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _shade_healthy(ax: Axes, lowest: float | None, highest: float | None) -> None:
    """A band between the bounds, as far as the panel goes; none where there are no bounds."""
    if lowest is None and highest is None:
        return
    bottom, top = ax.get_ylim()
    low = bottom if lowest is None else max(lowest, bottom)
    high = top if highest is None else min(highest, top)
    if low < high:
        ax.axhspan(low, high, facecolor=GREEN, alpha=0.11, edgecolor="none", zorder=0)
        ax.annotate(
            "healthy",
            (1.0, (low + high) / 2),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            rotation=270,
            fontsize=8.5,
            color="#00694d",
        )
    ax.set_ylim(bottom, top)


def _numbered(run: Run) -> Curve:
    """Records know their step; bare metrics are numbered from 1."""
    return [
        (record.step, record.metrics) if isinstance(record, StepRecord) else (i, record)
        for i, record in enumerate(run, start=1)
    ]


def _series(curve: Curve, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of a metric; some are not reported at every step."""
    points = [(step, metrics[name]) for step, metrics in curve if name in metrics]
    return [step for step, _ in points], [value for _, value in points]


def _check(curves: Mapping[str, Curve], names: Sequence[str]) -> None:
    if not names:
        raise ValueError("no metric to draw: names is empty")
    if not 1 <= len(curves) <= len(STYLES):
        raise ValueError(f"got {len(curves)} runs, wanted 1 to {len(STYLES)}")
    for label, run in curves.items():
        known = sorted({name for _, metrics in run for name in metrics})
        for name in names:
            if name not in known:
                of_run = f" of run {label!r}" if label else ""
                raise ValueError(
                    f"no record{of_run} has the metric {name!r}; there are: "
                    f"{', '.join(known) or 'none'}"
                )


def _describe(curves: Mapping[str, Curve], names: Sequence[str]) -> str:
    """Alternative text: where each curve starts and ends."""
    parts = []
    for name in names:
        ends = []
        for label, run in curves.items():
            _, values = _series(run, name)
            prefix = f"{label}: " if label else ""
            ends.append(f"{prefix}{number(values[0])} to {number(values[-1])}")
        parts.append(f"{name} {', '.join(ends)}")
    return f"Curves over the steps of training. {'; '.join(parts)}."
