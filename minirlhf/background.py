"""A loop in a thread of its own, which obeys between two steps and never within one.

    run = BackgroundRun(trainer)
    run.start()
    run.pause(); run.start(); run.stop()
    records = run.wait()      # starts what has not been started; raises what the run raised

The thread does nothing but iterate, so a run that nobody interferes with ends with the same bytes
as `for record in trainer`. Left out: stopping within a step.
"""

import atexit
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, Protocol, Self
from weakref import WeakSet

import torch

from minirlhf.batch import StepRecord

State = Literal["ready", "running", "paused", "stopped", "done", "failed"]
LAST_WAIT = 10.0  # seconds that Python's end waits for a step to finish

_running: "WeakSet[BackgroundRun]" = WeakSet()  # those that have a thread
_running_lock = threading.Lock()


class Steps(Protocol):
    """What can run in the background: every `Trainer`, and whatever counts its steps as they do."""

    step: int
    total: int

    def __iter__(self) -> Iterator[StepRecord]:
        """Go on from `step` to `total`."""
        ...


class BackgroundRun:
    """One loop and the thread that runs it; start, pause, stop and start again at will.

    Args:
        steps: what to iterate; goes on from where it stands.
        on_change: called after every step and every change of `state`, from the thread that made
            it; an error in it is kept in `on_change_error` and does not touch the run.

    Attributes:
        state: "ready", "running", "paused", "stopped", "done" or "failed".
        records: of the steps done here, in order; only the last one still has its rollout.
        error: what a step raised, in state "failed".
    """

    def __init__(self, steps: Steps, *, on_change: Callable[[], None] = lambda: None) -> None:
        self.steps, self.on_change = steps, on_change
        self.on_change_error: Exception | None = None
        self.state: State = "ready"
        self.records: list[StepRecord] = []
        self.error: BaseException | None = None
        self._wanted: Literal["run", "pause", "stop"] = "stop"
        self._ending = False  # the thread has decided to stop and is on its way out
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._over = threading.Event()  # the thread has ended
        self._over.set()

    @property
    def alive(self) -> bool:
        """Whether there is a thread."""
        return not self._over.is_set()

    def start(self) -> None:
        """Begin, or go on after a pause, a stop or an error; nothing happens in "done".

        Raises:
            ValueError: the same trainer is being iterated by another run.
        """
        if self._ending:
            self._join(None)
        with self._changed:
            if self.state not in ("running", "paused", "done"):
                self._begin()
            self._wanted = "run"
            news = self._become("done" if self.state == "done" else "running")
        self._tell(news)

    def pause(self) -> None:
        """Hold the run before its next step; nothing happens unless it is running."""
        with self._changed:
            news = self.state == "running" and self._wanted == "run"
            if news:
                self._wanted = "pause"
                self._become("paused")
        self._tell(news)

    def stop(self, timeout: float | None = None) -> None:
        """End the thread once its step is done; `start` goes on from there. May be called twice.

        Args:
            timeout: seconds to wait for the thread; None waits as long as the step takes.

        Raises:
            TimeoutError: the step takes longer; the run will stop after it.
        """
        with self._changed:
            self._wanted = "stop"
            news = self._become("stopped" if self.state == "ready" else self.state)
        self._tell(news)
        self._join(timeout)

    def wait(self, timeout: float | None = None) -> list[StepRecord]:
        """Start or resume the run unless it was stopped, and wait for its end.

        Interrupting the wait (Ctrl-C, the kernel's stop button) stops the run after its step.

        Args:
            timeout: seconds; None waits for ever.

        Returns:
            The records; of a stopped run those so far.

        Raises:
            TimeoutError: the run goes on and can be waited for again.
            Exception: whatever a step raised, in this thread.
        """
        if self.state in ("ready", "paused"):
            self.start()
        try:
            self._join(timeout)
        except KeyboardInterrupt:
            self.stop()
            raise
        if self.error is not None:
            raise self.error
        return list(self.records)

    def __enter__(self) -> Self:
        """Start the run."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop the run."""
        self.stop()

    def iterate(self) -> Any:
        """The generator of records; a subclass may have another."""
        return iter(self.steps)

    def between_steps(self) -> None:
        """Called before every step, with the lock held."""

    def before_stop(self) -> None:
        """Called when the thread ends before its last step, between steps."""

    def _begin(self) -> None:
        """Make the thread; it waits for the lock that is held here, so "running" comes first."""
        with _running_lock:
            if any(other.steps is self.steps for other in _running):
                raise ValueError(
                    "this trainer is being trained in another background run; stop that first"
                )
            _running.add(self)
        self.error, self._ending, self._over = None, False, threading.Event()
        threads = torch.get_num_threads()  # the run computes with as many as its starter
        self._thread = threading.Thread(
            target=self._work, args=(threads, self._over), name="minirlhf", daemon=True
        )
        self._thread.start()

    def _work(self, threads: int, over: threading.Event) -> None:
        torch.set_num_threads(threads)
        end: State = "failed"
        try:
            with contextlib.closing(self.iterate()) as records:
                end = self._loop(records)
                if end == "stopped":
                    self.before_stop()
        except BaseException as error:
            self.error, end = error, "failed"
        with self._changed:
            with _running_lock:
                _running.discard(self)
            self._become(end)
        self._tell()
        over.set()

    def _loop(self, records: Iterator[StepRecord]) -> State:
        while self._may_go_on():
            record = next(records, None)
            if record is None:
                return "done"
            if self.records:
                self.records[-1] = replace(self.records[-1], rollout=None)
            self.records.append(record)
            self._tell()
        return "stopped"

    def _may_go_on(self) -> bool:
        """Wait while paused; False when the run is to stop. Once all steps are done, it ends."""
        with self._changed:
            while self._wanted == "pause" and self.steps.step < self.steps.total:
                self._changed.wait()
            self.between_steps()
            self._ending = self._wanted != "run" and self.steps.step < self.steps.total
            return not self._ending

    def _become(self, state: State) -> bool:
        """Whether that is another state than before."""
        before, self.state = self.state, state
        self._changed.notify_all()
        return before != state

    def _tell(self, news: bool = True) -> None:
        """Call `on_change`, never with the lock held: it may have locks of its own."""
        try:
            if news:
                self.on_change()
        except Exception as error:
            self.on_change_error = error

    def _join(self, timeout: float | None) -> None:
        """Wait for the thread, in short waits that an interrupt can end on every system."""
        thread, over = self._thread, self._over
        if thread is None or threading.current_thread() is thread:
            return  # asked by `on_change`; the thread cannot wait for itself
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        # not `thread.join`: interrupted, it takes the thread for dead (Python 3.11)
        while not over.wait(max(0.0, min(0.2, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                raise TimeoutError(
                    f"step {self.steps.step} of {self.steps.total} after {timeout:g} s; the run is "
                    f"{self.state} and can be waited for again"
                )
        thread.join()


@atexit.register
def _stop_all() -> None:
    """Let threads finish their step before Python goes; a daemon cut off inside torch may crash."""
    for run in list(_running):
        with contextlib.suppress(TimeoutError):
            run.stop(timeout=LAST_WAIT)
