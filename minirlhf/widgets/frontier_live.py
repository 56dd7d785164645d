"""Frontier: reward against KL, live: the exact limit, the algorithms, and a proxy's temptation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import traitlets

from minirlhf.widgets.frontier import MARKERS, frontier_figure, overoptimisation_figure
from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import Picture
from minirlhf.worlds.exact.frontier import Point
from minirlhf.worlds.exact.overoptimisation import Curve

NAMES = ("kl_coef", "kl", "proxy", "gold")


class Frontier(LiveWidget):
    """Gold and proxy against KL, with a β slider that moves a dot along each curve.

    Args:
        best: the exact optimum for gold at each β: `follow(gold, …)`. No policy lies above it.
        points: ends of runs, as `watch` gives them.
        fixed_points: where theory says that GRPO comes to rest.
        curves: by number of pairs that the reward model saw, one curve for each seed: `follow` of
            reward models. At each β, the best policy for the *proxy*.
        kl_coef: β where the dots stand first, reward units per nat; None = the middle one. May be
            set later, too: the dots go to the nearest β.
        language: of the words on it.

    Raises:
        ValueError: a curve without a point, or an algorithm that has no marker.
    """

    prefix = "frontier"
    _esm = script("plot", "frontier")
    _css = style("plot")
    kl_coef = traitlets.Float().tag(sync=True)
    pairs = traitlets.Int().tag(sync=True)
    _best = traitlets.Dict().tag(sync=True)
    _points: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    _fixed_points: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    _curves: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        best: Curve,
        points: Sequence[Point] = (),
        fixed_points: Sequence[Point] = (),
        curves: Mapping[int, Sequence[Curve]] | None = None,
        *,
        kl_coef: float | None = None,
        language: str = "en",
    ) -> None:
        curves = curves or {}
        if not all(curves.values()):
            raise ValueError("a number of pairs has no curve")
        for curve in (best, *(c for seeds in curves.values() for c in seeds)):
            if not curve.kl_coef:
                raise ValueError("a curve has no point: follow(…) gives one for each β")
        unknown = {p.algorithm for p in (*points, *fixed_points)} - set(MARKERS)
        if unknown:
            names = ", ".join(MARKERS)
            raise ValueError(f"no marker for {', '.join(sorted(unknown))}; wanted {names}")
        self._given = best, list(points), list(fixed_points), dict(curves)
        # what tempts most comes first
        first = max(curves, key=lambda n: max(map(_fall, curves[n])), default=0)
        start = best.kl_coef[len(best.kl) // 2]
        super().__init__(
            language=language,
            kl_coef=start if kl_coef is None else kl_coef,
            pairs=first,
            _best=_sent(best),
            _points=[asdict(p) for p in points],
            _fixed_points=[asdict(p) for p in fixed_points],
            _curves=[
                {"pairs": pairs, "seeds": [_sent(c) for c in seeds]}
                for pairs, seeds in sorted(curves.items())
            ],
        )

    @classmethod
    def from_files(
        cls, frontier: str | Path, overoptimisation: str | Path | None = None, **more: Any
    ) -> "Frontier":
        """From frontier.json and overoptimisation.json, as `minirlhf exact` writes them.

        Raises:
            ValueError: a file cannot be read or holds something else.
        """
        race = _read(frontier, "best", "points", "grpo_fixed_points")
        curves: dict[int, list[Curve]] = {}
        if overoptimisation is not None:
            held = _read(overoptimisation, "curves")["curves"]
            curves = {int(n): [Curve(**c) for c in seeds] for n, seeds in held.items()}
        points, rest = ([Point(**p) for p in race[k]] for k in ("points", "grpo_fixed_points"))
        return cls(Curve(**race["best"]), points, rest, curves, **more)

    @traitlets.validate("pairs")
    def _known_pairs(self, proposal: Any) -> int:
        known = sorted(self._given[3]) or [0]
        if proposal["value"] not in known:
            raise ValueError(f"pairs must be one of {known}, got {proposal['value']}")
        return int(proposal["value"])

    def picture(self) -> Picture:
        """The runs below the frontier; without runs, the curves of the reward models."""
        best, points, fixed_points, curves = self._given
        if not points and curves:
            return overoptimisation_figure(best, curves)
        if not points:
            return overoptimisation_figure(best, {0: [best]})
        return frontier_figure(best, points, fixed_points)


def _fall(curve: Curve) -> float:
    """How much gold is lost between its peak and the end, reward units."""
    return curve.gold[curve.peak] - curve.gold[-1]


def _sent(curve: Curve) -> dict[str, list[float]]:
    return {name: [float(x) for x in getattr(curve, name)] for name in NAMES}


def _read(path: str | Path, *keys: str) -> dict[str, Any]:
    try:
        held = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    missing = [key for key in keys if not isinstance(held, dict) or key not in held]
    if missing:
        raise ValueError(
            f"{path} has no {', '.join(missing)}: wanted a file that `minirlhf exact` writes"
        )
    return dict(held)
