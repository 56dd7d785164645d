"""A live dashboard of one training run: curves, samples, and the four things one wants to do.

    monitor = TrainingMonitor(trainer)
    monitor                       # draws itself; its buttons start, pause, stop and change β
    records = monitor.wait()      # starts it where nobody has, and comes back when it is done

The trainer runs in a thread of its own (`minirlhf.background_training`), so the notebook goes on
answering. The monitor only looks on: weights and records are those of a plain loop, bit for bit.
"""

import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import traitlets

from minirlhf.background_training import BackgroundTraining
from minirlhf.batch import StepRecord
from minirlhf.metrics import METRICS
from minirlhf.run_folder import RunFolder
from minirlhf.trainer import Trainer
from minirlhf.widgets.busy_kernel import hear_while_busy
from minirlhf.widgets.curves import curves_figure
from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.monitor_parts import about_metric, metrics_of, numbers_of, one_line
from minirlhf.widgets.picture import GREY, Picture

SAMPLES = 4  # kept in view
PAUSE = 0.25  # seconds between two looks at most often; more when there is much to send
PAUSE_PER_STEP = 1e-3


class TrainingMonitor(LiveWidget):
    """Watch and steer a training run.

    Args:
        trainer: any trainer; goes on from where it stands.
        run: a run folder (or its path) that records every step; None keeps nothing on disk.
        metrics: names of the table `minirlhf.METRICS`, one panel each; none = those that matter
            most in this trainer's stage.
        save_every: steps between saves in the run folder; stopping saves, too.
        language: of the words.

    Raises:
        ValueError: an unknown metric, or a run folder that is taken.

    Attributes:
        state: "ready", "running", "paused", "stopped", "done" or "failed".
        history: a dict of the shown metrics and `step` for each step, in order.
        kl_coef: β; may be written, and takes effect before the next step. None where there is none.
    """

    prefix = "training_monitor"
    _esm = script(
        "needs_python", "text_line", "plot", "metric_chart", "monitor_panel", "training_monitor"
    )
    _css = style("plot", "metric_chart", "training_monitor")

    state = traitlets.Unicode("ready").tag(sync=True)
    stage = traitlets.Unicode().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    total = traitlets.Int(0).tag(sync=True)
    history: traitlets.List[Any] = traitlets.List().tag(sync=True)
    panels: traitlets.List[Any] = traitlets.List().tag(
        sync=True
    )  # name, unit, formula, meaning, healthy low and high
    samples: traitlets.List[Any] = traitlets.List().tag(
        sync=True
    )  # {"step", "text", "score"}, newest first
    kl_coef = traitlets.Float(None, allow_none=True).tag(sync=True)
    kl_changes: traitlets.List[Any] = traitlets.List().tag(sync=True)  # [step, β]
    error = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        trainer: Trainer,
        *,
        run: RunFolder | str | Path | None = None,
        metrics: Sequence[str] = (),
        save_every: int = 1,
        language: str = "en",
    ) -> None:
        names = tuple(metrics) or metrics_of(trainer)
        unknown = [name for name in names if name not in METRICS]
        if unknown:
            raise ValueError(f"no metric is called {unknown[0]!r}; see minirlhf.METRICS")
        folder = run if isinstance(run, RunFolder) or run is None else RunFolder(run)
        self.training = BackgroundTraining(
            trainer, folder, save_every=save_every, on_change=self._look
        )
        self._looking = threading.RLock()
        self._looker = 0  # the thread that shows β at this moment
        self._looked = -math.inf  # when, by the monotonic clock
        self._samples: list[dict[str, Any]] = []
        super().__init__(
            language=language,
            stage=trainer.stage,
            step=trainer.step,
            total=trainer.total,
            panels=[about_metric(name) for name in names],
            kl_coef=self.training.kl_coef,
        )
        self.on_msg(self._heard)
        self.observe(self._kl_coef_written, "kl_coef")
        hear_while_busy(self)

    def start(self) -> Self:
        """Start the run, or go on after a pause, a stop or an error."""
        self.training.start()
        return self

    resume = start

    def pause(self) -> None:
        """Hold the run before its next step."""
        self.training.pause()

    def stop(self) -> None:
        """End the run after the step it is at; `start` goes on from there. May be called twice."""
        self.training.stop()

    def wait(self, timeout: float | None = None) -> list[StepRecord]:
        """Start or resume the run unless it was stopped, and wait for its end.

        Needs no browser. Interrupting the wait stops the run after its step.

        Args:
            timeout: seconds; None waits for ever.

        Returns:
            The records; only the last one still has its rollout.

        Raises:
            TimeoutError: the run goes on and can be waited for again.
            Exception: whatever the trainer raised.
        """
        return self.training.wait(timeout)

    def __enter__(self) -> Self:
        """Start the run."""
        return self.start()

    def __exit__(self, *_error: object) -> None:
        """Stop the run."""
        self.stop()

    def close(self) -> None:
        """Stop the run and remove the widget."""
        training = getattr(self, "training", None)  # a constructor that failed has none
        if training is not None and training.alive:
            training.stop()
        super().close()

    def picture(self) -> Picture:
        """The curves so far as a static picture."""
        shown = {name for line in self.history for name, value in line.items() if value is not None}
        names = [panel["name"] for panel in self.panels if panel["name"] in shown]
        if not names:
            return self._blank()
        lines = [{k: v for k, v in line.items() if v is not None} for line in self.history]
        stage = str(self.stage)
        records = [StepRecord(stage, line["step"], self.total, line) for line in lines]
        picture = curves_figure(records, names)
        picture.alt = f"{self._title()} {picture.alt}"
        return picture

    def _blank(self) -> Picture:
        picture = Picture(6.0, 0.8, self._title())
        picture.text(0.02, 0.5, self._title(), va="center", color=GREY, fontsize=11)
        return picture

    def _title(self) -> str:
        return f"Training monitor: {self.stage}, step {self.step} of {self.total}, {self.state}."

    # ------------------------------------------------- from the browser, or from Python's traits

    def _heard(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """A button was pressed; answers at once, even while a step is being done."""
        command = content.get("do") if isinstance(content, dict) else None
        try:
            if command == "start":
                self.training.start()
            elif command == "pause":
                self.training.pause()
            elif command == "stop":
                self.training.stop(timeout=0.0)
        except TimeoutError:
            pass  # it will stop after its step
        except ValueError as error:
            self.error = one_line(error)

    def set_state(self, sync_data: Any) -> None:
        """Take traits from the browser, one thread at a time."""
        with self._looking:
            super().set_state(sync_data)

    @traitlets.validate("kl_coef")
    def _check_kl_coef(self, proposal: Any) -> Any:
        """Refuse a β before the trait takes it."""
        if proposal["value"] is not None:
            self.training.check_kl_coef(proposal["value"])
        return proposal["value"]

    def _kl_coef_written(self, change: Any) -> None:
        """Not by us: by the slider, or by `monitor.kl_coef = …`."""
        if change["new"] is not None and threading.get_ident() != self._looker:
            self.training.set_kl_coef(change["new"])

    # ------------------------------------------------------------------- from the run's thread

    def _look(self) -> None:
        """Show how the run stands; at every change of state, else now and then."""
        training = self.training
        with self._looking:
            records = training.records
            if records:
                self._keep_sample(records[-1])
            pause = PAUSE + PAUSE_PER_STEP * len(records)
            soon = time.monotonic() - self._looked < pause
            running = training.state == self.state == "running"  # another step will come
            if soon and running and not self._kl_moved():
                return
            self._looked = time.monotonic()
            with self.hold_sync():
                self._write_traits(records[len(self.history) :])

    def _write_traits(self, news: Sequence[StepRecord]) -> None:
        training = self.training
        names = ["step", *(panel["name"] for panel in self.panels)]
        self.history = [*self.history, *(numbers_of(record, names) for record in news)]
        self.step, self.samples = training.steps.step, list(self._samples)
        self.kl_changes = [list(change) for change in training.kl_changes]
        self._looker = threading.get_ident()
        self.kl_coef = training.kl_coef
        self._looker = 0
        self.error = one_line(training.error)
        self.state = training.state

    def _kl_moved(self) -> bool:
        return len(self.kl_changes) != len(self.training.kl_changes)

    def _keep_sample(self, record: StepRecord) -> None:
        newest = self._samples[0]["step"] if self._samples else 0
        if record.sample and record.step > newest:
            score = None if record.rollout is None else float(record.rollout.scores[0])
            sample = {"step": record.step, "text": record.sample, "score": score}
            self._samples = [sample, *self._samples][:SAMPLES]
