"""Gold when a policy follows one reward model, the mean of several, or the least of them."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from minirlhf.widgets.picture import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    VERMILION,
    Picture,
    number,
)

# ways differ by dashes as well as by colour
LINES: dict[str, tuple[str, str]] = {
    "one model": (VERMILION, "-"),
    "mean": (BLUE, "--"),
    "min": (GREEN, "-."),
    "one model of all pairs": (ORANGE, ":"),
}
FURTHEST = 8.0  # nats that are drawn


def ensembles_figure(numbers: Mapping[str, Any]) -> Picture:
    """Draw the exact world's curves, a panel for each number of pairs, and the café's runs.

    Args:
        numbers: what `minirlhf ensembles` wrote to ensembles.json; one thin line for each seed.

    Raises:
        ValueError: a way of reading the models that has no line.
    """
    exact, cafe = numbers["exact"], numbers["cafe"]
    ways = {way for curves in (*exact.values(), cafe) for way in curves}
    if unknown := ways - set(LINES):
        raise ValueError(f"no line for {', '.join(sorted(unknown))}; wanted {', '.join(LINES)}")
    picture = Picture(3.3 * (len(exact) + 1), 3.6, describe(numbers))
    *panels, last = picture.subplots(1, len(exact) + 1, squeeze=False).flatten().tolist()
    for ax, (pairs, curves) in zip(panels, exact.items(), strict=True):
        for way, seeds in curves.items():
            _lines(ax, way, [(curve["kl"], curve["gold"]) for curve in seeds])
        ax.set_xlim(0, FURTHEST)
        _axes(ax, f"exact, {pairs} pairs each", "KL(policy‖reference), nats")
    for way, runs in cafe.items():
        _lines(last, way, [([m["step"] for m in r], [m["gold"] for m in r]) for r in runs])
    _axes(last, "café, PPO with β = 0", "iteration")
    panels[0].set_ylabel("gold reward", color=GREY, fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    picture.legend(handles, labels, frameon=False, fontsize=9, loc="lower center", ncols=len(LINES))
    picture.tight_layout(rect=(0, 0.07, 1, 1))
    return picture


def _lines(ax: Any, way: str, seeds: Sequence[tuple[list[float], list[float]]]) -> None:
    colour, dash = LINES[way]
    for i, (x, y) in enumerate(seeds):
        label = way if i == 0 else None
        ax.plot(x, y, color=colour, linestyle=dash, linewidth=1.3, label=label)


def _axes(ax: Any, title: str, below: str) -> None:
    ax.set_title(title, fontsize=10.5, fontweight="bold", color=INK, loc="left")
    ax.set_xlabel(below, color=GREY, fontsize=9)
    ax.tick_params(labelsize=9, colors=GREY)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def describe(numbers: Mapping[str, Any]) -> str:
    """Alternative text: each way's mean peak and mean end of gold, over the seeds."""
    parts = []
    for pairs, curves in numbers["exact"].items():
        for way, seeds in curves.items():
            peak = mean(max(curve["gold"]) for curve in seeds)
            end = mean(curve["gold"][-1] for curve in seeds)
            parts.append(
                f"exact world, {pairs} pairs, {way}: gold peaks at {number(peak)} "
                f"and ends at {number(end)}"
            )
    for way, runs in numbers["cafe"].items():
        peak = mean(max(m["gold"] for m in run) for run in runs)
        end = mean(run[-1]["gold"] for run in runs)
        parts.append(f"café, {way}: gold peaks at {number(peak)} and ends at {number(end)}")
    return f"Gold as policies follow one reward model or several. {'; '.join(parts)}."
