"""A trainer in the background, with a run folder that keeps its state and a β that can be changed.

training = BackgroundTraining(trainer, RunFolder("runs/ppo"))
training.start()
training.set_kl_coef(0.1)      # takes effect before the next step
training.stop()                # the folder now holds the state of this very moment
records = training.wait()
"""

from collections.abc import Callable
from typing import Any

from minirlhf.atomic import only_process, sync_file
from minirlhf.background import BackgroundRun
from minirlhf.checkpoint import save_checkpoint
from minirlhf.run_folder import CHECKPOINTS, HISTORY, LOCK, RunFolder
from minirlhf.trainer import Trainer


class BackgroundTraining(BackgroundRun):
    """One trainer and the thread that iterates it; see `BackgroundRun`.

    Args:
        trainer: goes on from where it stands.
        run: the folder that records every step and saves the state; None keeps nothing on disk.
        save_every: steps between saves; the step at which the run is stopped is saved as well.
        on_change: as of `BackgroundRun`.

    Raises:
        ValueError: save_every is below 1.

    Attributes:
        kl_changes: (step, β) for each change: β counts from the step after this one.
    """

    def __init__(
        self,
        trainer: Trainer,
        run: RunFolder | None = None,
        *,
        save_every: int = 1,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        if save_every < 1:
            raise ValueError(f"save_every must be a whole number ≥ 1, got {save_every}")
        super().__init__(trainer, on_change=on_change)
        self.trainer, self.run, self.save_every = trainer, run, save_every
        self.kl_changes: list[tuple[int, float]] = []
        self._new_kl_coef: float | None = None

    @property
    def kl_coef(self) -> float | None:
        """β of the next step; None where the trainer has none that could be changed."""
        with self._changed:
            now: float | None = getattr(self.trainer, "kl_coef", None)
            return now if self._new_kl_coef is None else self._new_kl_coef

    def check_kl_coef(self, kl_coef: float) -> None:
        """Refuse a β that cannot be.

        Raises:
            ValueError: β is negative or not a finite number, or the trainer has none.
        """
        if not hasattr(self.trainer, "kl_coef"):
            raise ValueError(f"{type(self.trainer).__name__} has no kl_coef that could be changed")
        if not 0.0 <= kl_coef < float("inf"):
            raise ValueError(f"kl_coef must be a number ≥ 0, got {kl_coef}")

    def set_kl_coef(self, kl_coef: float) -> None:
        """Change β before the next step; `kl_changes` and the metric "kl_coef" tell of it.

        Raises:
            ValueError: as of `check_kl_coef`.
        """
        self.check_kl_coef(kl_coef)
        with self._changed:
            news = kl_coef != self.kl_coef
            self._new_kl_coef = float(kl_coef)
            if not self.alive:
                self.between_steps()
        self._tell(news)

    def iterate(self) -> Any:
        """The records of the trainer, or those of the run folder while it writes them down."""
        if self.run is None:
            return iter(self.trainer)
        if self.records and self.run.config() is not None:  # begun here: go on with it
            self.run.resume = True
            with only_process(self.run.path, LOCK):
                self.before_stop()  # β may have changed since, and `record` begins by loading
        return self.run.record(self.trainer, save_every=self.save_every)

    def between_steps(self) -> None:
        """Let the new β take effect."""
        new, self._new_kl_coef = self._new_kl_coef, None
        if new is not None and new != getattr(self.trainer, "kl_coef", None):
            setattr(self.trainer, "kl_coef", new)  # noqa: B010
            self.kl_changes.append((self.trainer.step, new))

    def before_stop(self) -> None:
        """Make the newest checkpoint that of this very moment."""
        step = self.trainer.step
        if self.run is None or not self.records:
            return
        folder = self.run.path / CHECKPOINTS / f"step-{step:06}"
        if not folder.exists() or step in dict(self.kl_changes):
            sync_file(self.run.path / HISTORY)
            save_checkpoint(folder, self.trainer)
