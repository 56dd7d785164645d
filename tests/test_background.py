"""A loop in a thread: the same result, commands between steps, and nothing left behind."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest
import torch
from tiny_trainers import TRAINERS, ppo_trainer, state

from minirlhf import StepRecord
from minirlhf.background import BackgroundRun, _running


class Slow:
    """Counts; each step takes a moment, or waits for `allowed`, or fails once at `broken`."""

    def __init__(self, total=200, *, broken=None, gate=False):
        self.step, self.total, self.broken, self.begun = 0, total, broken, 0
        self.allowed = threading.Semaphore(0) if gate else None

    def __iter__(self):
        while self.step < self.total:
            self.begun += 1
            if self.allowed is not None:
                self.allowed.acquire()
            time.sleep(0.002)
            if self.step + 1 == self.broken:
                self.broken = None
                raise ValueError("the loss is NaN")
            self.step += 1
            yield StepRecord("sft", self.step, self.total, {"sft_loss": 1.0})


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def threads():
    """How many of our threads there are."""
    return sum(thread.name == "minirlhf" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not _running and threads() == 0


@pytest.mark.parametrize("stage", TRAINERS)
def test_the_final_weights_are_those_of_a_plain_loop(stage):
    plain, in_thread = TRAINERS[stage](), TRAINERS[stage]()
    for _ in plain:
        pass
    records = BackgroundRun(in_thread).wait()
    assert [record.step for record in records] == list(range(1, len(plain) + 1))
    expected, got = state(plain), state(in_thread)
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_pauses_stops_and_restarts_do_not_change_the_weights():
    plain, disturbed = ppo_trainer(), ppo_trainer()
    for _ in plain:
        pass
    run = BackgroundRun(disturbed)
    while run.state != "done":
        run.start()
        run.pause()
        run.start()
        run.stop()
    assert [record.step for record in run.wait()] == list(range(1, len(plain) + 1))
    expected, got = state(plain), state(disturbed)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_twenty_restarts_leave_one_thread_at_most_and_then_none():
    run = BackgroundRun(Slow())
    for _ in range(20):
        run.start()
        assert threads() == 1
        run.pause()
        assert run.state == "paused" and run.alive
        run.start()
        run.stop()
        run.stop()
        assert run.state == "stopped" and not run.alive and not _running
    steps = [record.step for record in run.records]
    assert steps == list(range(1, len(steps) + 1))  # none twice, none left out


def test_a_dropped_run_is_forgotten():
    run = BackgroundRun(Slow(3))
    run.wait()
    gone = weakref.ref(run)
    del run
    gc.collect()
    assert gone() is None


def test_the_step_in_progress_is_finished_first():
    slow = Slow(gate=True)
    run = BackgroundRun(slow)
    run.start()
    until(lambda: slow.begun == 1)
    run.pause()
    slow.allowed.release()
    until(lambda: run.records)
    assert run.state == "paused" and slow.step == 1
    run.start()
    until(lambda: slow.begun == 2)
    with pytest.raises(TimeoutError, match="step 1 of 200"):
        run.stop(timeout=0.05)
    slow.allowed.release()
    until(lambda: run.state == "stopped")
    assert slow.step == 2
    run._join(None)


def test_a_start_that_overtakes_a_stop_is_not_lost():
    run = BackgroundRun(Slow(60))
    for _ in range(10):
        run.start()
        with contextlib.suppress(TimeoutError):
            run.stop(timeout=0.0)
    run.start()
    assert len(run.wait()) == 60 and run.state == "done"


def test_wait_starts_and_resumes_but_leaves_a_stopped_run_alone():
    run = BackgroundRun(Slow(5))
    run.start()
    run.pause()
    assert len(run.wait()) == 5 and run.wait() == run.wait()
    run.start()
    assert run.state == "done"
    stopped = BackgroundRun(Slow(5))
    stopped.stop()
    assert stopped.wait() == [] and stopped.state == "stopped"


def test_wait_gives_up_after_its_timeout_and_can_be_called_again():
    slow = Slow(2, gate=True)
    run = BackgroundRun(slow)
    with pytest.raises(TimeoutError, match=r"step 0 of 2 after 0.05 s; the run is running"):
        run.wait(timeout=0.05)
    slow.allowed.release(2)
    assert len(run.wait(timeout=30)) == 2


def test_an_error_is_raised_where_one_waits_and_the_run_can_go_on():
    slow = Slow(6, broken=4)
    run = BackgroundRun(slow)
    for _ in range(2):
        with pytest.raises(ValueError, match="the loss is NaN"):
            run.wait()
    assert run.state == "failed" and slow.step == 3
    run.start()
    assert [record.step for record in run.wait()] == [1, 2, 3, 4, 5, 6]
    assert run.state == "done" and run.error is None


def test_an_error_of_the_listener_does_not_touch_the_run():
    run = BackgroundRun(Slow(3), on_change=lambda: 1 / 0)
    assert len(run.wait()) == 3 and isinstance(run.on_change_error, ZeroDivisionError)


def test_the_listener_may_give_commands():
    run = BackgroundRun(Slow(50))
    run.on_change = lambda: run.stop() if len(run.records) == 3 else None
    assert len(run.wait()) == 3 and run.state == "stopped" and run.on_change_error is None


def test_only_the_last_record_keeps_its_rollout():
    records = BackgroundRun(ppo_trainer()).wait()
    assert [r.rollout is not None for r in records] == [False] * 5 + [True]


def test_one_trainer_is_not_trained_twice_at_once():
    slow = Slow(gate=True)
    first, second = BackgroundRun(slow), BackgroundRun(slow)
    first.start()
    until(lambda: slow.begun == 1)
    with pytest.raises(ValueError, match="in another background run"):
        second.start()
    slow.allowed.release()
    first.stop()
    assert second.state == "ready"
    slow.allowed.release(300)
    with second:
        until(lambda: second.records)
    assert second.state == "stopped"


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_an_interrupt_of_wait_stops_the_run_between_steps():
    slow = Slow(100_000)
    run = BackgroundRun(slow)
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    timer.join()
    assert run.state == "stopped" and not run.alive and slow.step == len(run.records)


SCRIPT = """
from tiny_trainers import ppo_trainer
from minirlhf.background import BackgroundRun
run = BackgroundRun(ppo_trainer(iterations=10_000))
run.start()
while not run.records: pass
print("leaving")
"""


@pytest.mark.slow
def test_python_may_end_while_a_run_goes_on():
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, timeout=120)
    assert done.returncode == 0 and done.stdout.split() == [b"leaving"] and done.stderr == b""
