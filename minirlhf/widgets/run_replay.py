"""RunReplay: a recorded run, step by step, as one would have seen it while it trained."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import traitlets

from minirlhf.batch import StepRecord
from minirlhf.history import read_history
from minirlhf.metrics import METRICS
from minirlhf.recording import load_recording
from minirlhf.widgets.curves import curves_figure
from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import Picture, number
from minirlhf.widgets.wire import finite

SHOWN = ("gold", "score", "kl", "reward", "entropy", "explained_variance", "clip_fraction")
SHOWN_BEFORE = ("sft_loss", "preference_loss", "dpo_loss", "accuracy", "held_out_accuracy", "lr")
Step = StepRecord | Mapping[str, Any]


class RunReplay(LiveWidget):
    """Plays a run: curves up to a step, the numbers of that step, and what was written in it.

    Args:
        run: `StepRecord`s, or lines of history.jsonl as `read_history` gives them; in order.
        metrics: names of what is drawn, at most 12; None = the usual ones that the run has.
        samples: texts by step, where records have none (history.jsonl keeps no text).
        step: that is shown first; None = the last. May be set later, too.
        language: of the words on it.

    Raises:
        ValueError: no steps, steps that do not rise, a metric that the run has not, or a step
            that was not recorded.
    """

    prefix = "run_replay"
    _esm = script("plot", "metric_chart", "run_replay")
    _css = style("plot", "metric_chart", "run_replay")
    step = traitlets.Int().tag(sync=True)
    steps: traitlets.List[int] = traitlets.List(traitlets.Int()).tag(sync=True)
    samples: traitlets.List[str] = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _panels: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        run: Sequence[Step],
        metrics: Sequence[str] | None = None,
        *,
        samples: Mapping[int, str] | None = None,
        step: int | None = None,
        language: str = "en",
    ) -> None:
        self._records = [_record(one) for one in run]
        steps = [r.step for r in self._records]
        if not steps or steps != sorted(set(steps)):
            raise ValueError(f"wanted steps that rise, one at least; got {steps[:8]}")
        known = {name for r in self._records for name in r.metrics}
        if metrics is None:
            metrics = [name for name in (*SHOWN, *SHOWN_BEFORE) if name in known] or sorted(known)
        missing = [name for name in metrics if name not in known]
        if missing or not 1 <= len(metrics) <= 12:
            raise ValueError(
                f"wanted 1 to 12 of the run's metrics ({', '.join(sorted(known)) or 'none'}), "
                f"got {', '.join(metrics) or 'none'}"
            )
        self._names, texts = list(metrics), samples or {}
        super().__init__(
            language=language,
            steps=steps,
            step=steps[-1] if step is None else step,
            samples=[texts.get(r.step, r.sample) for r in self._records],
            _panels=[self._panel(name) for name in metrics],
        )

    @classmethod
    def of_folder(cls, folder: str | Path, **more: Any) -> "RunReplay":
        """Of a run's folder, by its history.jsonl; `more` as in the constructor.

        Raises:
            ValueError: there is no history, or it is broken.
        """
        return cls(read_history(Path(folder) / "history.jsonl"), **more)

    @classmethod
    def from_file(cls, file: str | Path, **more: Any) -> "RunReplay":
        """Of a recorded run (`minirlhf record`); `more` as in the constructor.

        A step whose responses were not kept shows the last text before it.

        Raises:
            ValueError: there is no such file, or it is not a recorded run.
        """
        records, texts, last = load_recording(file).records(), {}, ""
        for record in records:
            last = record.sample or last
            texts[record.step] = last
        return cls(records, **{"samples": texts, **more})

    @traitlets.validate("step")
    def _recorded_step(self, proposal: Any) -> int:
        if proposal["value"] not in {r.step for r in self._records}:
            first, last = self._records[0].step, self._records[-1].step
            raise ValueError(
                f"step {proposal['value']} was not recorded; the run has {len(self._records)} "
                f"steps from {first} to {last}"
            )
        return int(proposal["value"])

    def picture(self) -> Picture:
        """The curves up to the step shown; a metric that begins later is left out."""
        past = [r for r in self._records if r.step <= self.step]
        begun = [n for n in self._names if any(n in r.metrics for r in past)]
        if not begun:
            picture = Picture(4.0, 1.0, f"Step {self.step} of a run: no metric has begun yet.")
            picture.text(0.05, 0.5, picture.alt)
            return picture
        picture = curves_figure(past, begun)
        last = past[-1].metrics
        now = ", ".join(f"{n} {number(last[n])}" for n in begun if n in last)
        picture.alt = (
            f"A recorded run at step {self.step} of {self.steps[-1]}: {now}. {picture.alt}"
        )
        return picture

    def _panel(self, name: str) -> dict[str, Any]:
        metric = METRICS.get(name)
        values = [r.metrics.get(name, math.nan) for r in self._records]
        low, high = metric.healthy if metric else (None, None)
        return {
            "name": name,
            "unit": metric.unit if metric else "",
            "formula": metric.formula if metric else "",
            "meaning": metric.meaning if metric else "",
            "low": low,
            "high": high,
            "values": finite(values),
        }


def _record(one: Step) -> StepRecord:
    """A line of history.jsonl as a record; what is no number is no metric."""
    if isinstance(one, StepRecord):
        return one
    if "step" not in one:
        raise ValueError(f"a step of a run has a 'step', got {sorted(one)}")
    metrics = {k: float(v) for k, v in one.items() if k != "step" and isinstance(v, int | float)}
    return StepRecord(str(one.get("stage", "")), int(one["step"]), 0, metrics)
