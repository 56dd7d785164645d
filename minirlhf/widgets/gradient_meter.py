"""GradientMeter: how noisy a sampled policy gradient is, for three baselines, and how biased."""

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets

from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import BLUE, GREEN, GREY, ORANGE, Picture, number
from minirlhf.widgets.wire import nested
from minirlhf.worlds.exact.gradient_quality import (
    BASELINES,
    GradientQuality,
    gradient_quality,
    shifted,
)
from minirlhf.worlds.exact.truth import Truth

LOOKS = {
    "none": (ORANGE, ":", "^", "no baseline"),
    "mean": (BLUE, "--", "o", "mean return"),
    "value": (GREEN, "-", "D", "exact V"),
}


class GradientMeter(LiveWidget):
    """Real batches of answers, each an estimate of the exact ∇J; a slider sets their size.

    Args:
        qualities: one for each baseline, from `gradient_quality`, all with the same batch sizes;
            or several such lists, by the constant that was added to all scores (`shifted`).
        shift: which constant is shown first; None = the first. May be set later, too.
        batch_size: n that is shown first; None = the middle one. May be set later, too.
        language: of the words on it.

    Raises:
        ValueError: no quality, a baseline twice, sizes that differ, or an n that was not measured.
    """

    prefix = "gradient_meter"
    _esm = script("plot", "gradient_meter")
    _css = style("plot")
    batch_size = traitlets.Int().tag(sync=True)
    batch_sizes: traitlets.List[int] = traitlets.List(traitlets.Int()).tag(sync=True)
    shift = traitlets.Float(0.0).tag(sync=True)
    _numbers: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        qualities: Sequence[GradientQuality] | Mapping[float, Sequence[GradientQuality]],
        *,
        batch_size: int | None = None,
        shift: float | None = None,
        language: str = "en",
    ) -> None:
        by_shift = qualities if isinstance(qualities, Mapping) else {0.0: qualities}
        sizes = _common_sizes(by_shift)
        self._qualities = {float(c): list(some) for c, some in by_shift.items()}
        super().__init__(
            language=language,
            batch_sizes=list(sizes),
            batch_size=sizes[len(sizes) // 2] if batch_size is None else batch_size,
            shift=next(iter(self._qualities)) if shift is None else shift,
            _numbers=[
                {"shift": c, "series": [_sent(q) for q in some]}
                for c, some in self._qualities.items()
            ],
        )

    @classmethod
    def of(
        cls, truth: Truth, *, shifts: Sequence[float] = (0.0, 1.0, 3.0), **more: Any
    ) -> "GradientMeter":
        """Measure all three baselines (about a second for each constant) for this truth.

        Args:
            truth: of the actor that samples, γ = 1.
            shifts: constants to add to all scores, reward units: they change no gradient.
            more: `batch_sizes`, `repeats` and `seed` of `gradient_quality`; the rest is as in the
                constructor.
        """
        own = {k: more.pop(k) for k in ("batch_sizes", "repeats", "seed") if k in more}
        worlds = {c: shifted(truth, c) for c in shifts}
        measured = {
            c: [gradient_quality(world, b, **own) for b in BASELINES] for c, world in worlds.items()
        }
        return cls(measured, **more)

    @traitlets.validate("shift")
    def _measured_shift(self, proposal: Any) -> float:
        if proposal["value"] not in self._qualities:
            known = ", ".join(map(str, self._qualities))
            raise ValueError(f"shift must be one of {known}, got {proposal['value']}")
        return float(proposal["value"])

    @traitlets.validate("batch_size")
    def _measured_size(self, proposal: Any) -> int:
        measured = next(iter(self._qualities.values()))[0].batch_sizes
        if proposal["value"] not in measured:
            sizes = ", ".join(map(str, measured))
            raise ValueError(f"batch_size must be one of {sizes}, got {proposal['value']}")
        return int(proposal["value"])

    def picture(self) -> Picture:
        """Error against the number of answers: the exact lines, and what was measured."""
        picture = Picture(6.4, 4.0, self._describe())
        ax = picture.subplots()
        for q in self._qualities[self.shift]:
            colour, dash, marker, name = LOOKS[q.baseline]
            measured = q.relative_error.square().mean(dim=1).sqrt().tolist()
            ax.plot(q.batch_sizes, q.expected_error.tolist(), color=colour, ls=dash)
            ax.plot(q.batch_sizes, measured, color=colour, ls="", marker=marker, label=name)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xlabel("answers in a batch, n", color=GREY, fontsize=9)
        ax.set_ylabel("‖g − ∇J‖ / ‖∇J‖", color=GREY, fontsize=9)
        ax.legend(frameon=False, fontsize=9)
        picture.tight_layout()
        return picture

    def _describe(self) -> str:
        at = self.batch_sizes.index(self.batch_size)
        parts = [
            f"{LOOKS[q.baseline][3]} {number(float(q.expected_error[at]))} "
            f"(mean cosine {number(float(q.cosine[at].mean()))})"
            for q in self._qualities[self.shift]
        ]
        return (
            f"Error of the policy gradient from {self.batch_size} answers, as a share of the "
            f"exact gradient, with {number(self.shift)} added to all scores: "
            f"{'; '.join(parts)}. It falls as one over the root of n."
        )


def _common_sizes(by_shift: Mapping[float, Sequence[GradientQuality]]) -> tuple[int, ...]:
    everything = [q for some in by_shift.values() for q in some]
    for some in by_shift.values() or [[]]:
        names = [q.baseline for q in some]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"wanted one quality for each baseline, got {names}")
    sizes = everything[0].batch_sizes
    if any(q.batch_sizes != sizes for q in everything):
        raise ValueError("the qualities have different batch sizes: measure them alike")
    return sizes


def _sent(quality: GradientQuality) -> dict[str, Any]:
    tables = ("relative_error", "cosine", "error_of_mean", "expected_error", "chance_error_of_mean")
    numbers = {name: nested(getattr(quality, name)) for name in tables}
    return {"baseline": quality.baseline, **numbers}
