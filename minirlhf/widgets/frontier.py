"""Reward against KL: how far the algorithms get, and what a reward model's mistakes cost."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from minirlhf.widgets.picture import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    VERMILION,
    Picture,
    number,
)
from minirlhf.worlds.exact.frontier import Point
from minirlhf.worlds.exact.overoptimisation import Curve

# algorithms differ by marker as well as by colour
MARKERS: dict[str, tuple[str, str]] = {
    "ppo": (BLUE, "o"),
    "rloo": (GREEN, "s"),
    "reinforce": (ORANGE, "v"),
    "grpo": (VERMILION, "D"),
    "dpo": (PURPLE, "P"),
}


def frontier_figure(
    best: Curve, points: Sequence[Point], fixed_points: Sequence[Point] = ()
) -> Picture:
    """Draw where each algorithm ended, below the line that no policy can cross.

    Args:
        best: the exact optimum for each β: `follow(gold, …)`.
        points: ends of runs.
        fixed_points: where theory says that GRPO comes to rest, as hollow markers.

    Raises:
        ValueError: an algorithm that has no marker.
    """
    unknown = {point.algorithm for point in points} - set(MARKERS)
    if unknown:
        raise ValueError(f"no marker for {', '.join(sorted(unknown))}; wanted {', '.join(MARKERS)}")
    picture = Picture(7.2, 4.6, _describe_frontier(points))
    ax = picture.subplots()
    ax.plot(best.kl, best.gold, color=INK, linewidth=2, label="exact optimum π*", zorder=1)
    for algorithm, (colour, marker) in MARKERS.items():
        own = sorted((p for p in points if p.algorithm == algorithm), key=lambda p: p.kl)
        if own:
            ax.plot(
                [p.kl for p in own],
                [p.score for p in own],
                color=colour,
                marker=marker,
                markersize=8,
                linestyle="none",
                label=algorithm.upper(),
                zorder=3,
            )
    if fixed_points:
        ax.scatter(
            [p.kl for p in fixed_points],
            [p.score for p in fixed_points],
            s=110,
            marker="D",
            facecolors="none",
            edgecolors=MARKERS["grpo"][0],
            linewidths=1.4,
            label="GRPO's exact fixed point",
            zorder=4,
        )
    furthest = max(p.kl for p in [*points, *fixed_points])
    ax.set_xlim(-0.05, 1.25 * furthest)
    _axes(ax, "gold reward, E[r]")
    ax.legend(frameon=False, fontsize=9, loc="lower right")
    picture.tight_layout()
    return picture


def overoptimisation_figure(best: Curve, curves: Mapping[int, Sequence[Curve]]) -> Picture:
    """Draw proxy and gold of reward models that saw few pairs and many, one panel each.

    Args:
        best: what gold itself allows: `follow(gold, …)`.
        curves: by number of pairs, one curve for each seed.
    """
    picture = Picture(3.3 * len(curves), 3.6, _describe_overoptimisation(curves))
    panels = picture.subplots(1, len(curves), sharey=True, squeeze=False).flatten().tolist()
    limit = 8.0
    for ax, (pairs, seeds) in zip(panels, curves.items(), strict=True):
        ax.plot(best.kl, best.gold, color=PALE, linewidth=3, label="gold at its own optimum")
        for i, curve in enumerate(seeds):
            first = i == 0
            ax.plot(
                curve.kl,
                curve.proxy,
                color=BLUE,
                linestyle="--",
                linewidth=1.2,
                label="proxy" if first else None,
            )
            ax.plot(
                curve.kl,
                curve.gold,
                color=VERMILION,
                linewidth=1.6,
                label="gold" if first else None,
            )
            ax.plot(
                curve.kl[curve.peak],
                curve.gold[curve.peak],
                color=VERMILION,
                marker="o",
                label="its peak" if first else None,
            )
        ax.set_title(f"{pairs:,} pairs", fontsize=10.5, fontweight="bold", color=INK, loc="left")
        ax.set_xlim(0, limit)
        _axes(ax, "reward" if ax is panels[0] else "")
    panels[0].legend(frameon=False, fontsize=8.5, loc="upper left")
    picture.tight_layout()
    return picture


def _axes(ax: Axes, label: str) -> None:
    ax.set_xlabel("KL(policy‖reference), nats", color=GREY, fontsize=9)
    ax.set_ylabel(label, color=GREY, fontsize=9)
    ax.tick_params(labelsize=9, colors=GREY)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _describe_frontier(points: Sequence[Point]) -> str:
    """Alternative text: each algorithm's distance from the optimum."""
    parts = [
        f"{p.algorithm.upper()} at β {number(p.kl_coef)}: KL {number(p.kl)}, gold "
        f"{number(p.score)}, {p.gap:.0%} of the way short"
        for p in points
    ]
    return f"Gold reward against KL, beside the exact optimum. {'; '.join(parts)}."


def _describe_overoptimisation(curves: Mapping[int, Sequence[Curve]]) -> str:
    """Alternative text: where gold peaks, and where it ends while the proxy goes on rising."""
    parts = []
    for pairs, seeds in curves.items():
        for curve in seeds:
            parts.append(
                f"{pairs} pairs: gold peaks at {number(curve.gold[curve.peak])} "
                f"(KL {number(curve.kl[curve.peak])}) and ends at {number(curve.gold[-1])} "
                f"(KL {number(curve.kl[-1])}), where the proxy says {number(curve.proxy[-1])}"
            )
    return f"Proxy and gold reward against KL. {'; '.join(parts)}."
