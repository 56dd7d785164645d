"""Train in child processes, kill them with SIGKILL, resume them; `test_kill.py` runs this file.

It needs a process of its own: children are forked, so that none of them pays for the imports, and
forking is safe only from a process that has computed nothing yet.

    python tests/kill_runs.py FOLDER [--long]     prints JSON: what was killed, and when
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import peft  # noqa: F401  (here, so that no child pays for it)
import pytest
import torch
from disk_calls import DiskCalls
from tiny_trainers import QUICK, TRAINERS

from minirlhf.run_folder import RunFolder

Case = tuple[str, dict[str, object]]  # stage and settings
LONG = "--long" in sys.argv
STEPS = 90 if LONG else 18
RANDOM_RUNS: dict[str, Case] = {
    "td": ("ppo", {"iterations": STEPS, "critic_target": "td"}),
    "gae": ("ppo", {"iterations": STEPS, "critic_target": "gae", "ppo_epochs": 1}),
    "adaptive": ("ppo", {"iterations": STEPS, "kl_target": 0.01, "kl_horizon": 50}),
    "reinforce": ("reinforce", {"iterations": STEPS}),
    "dpo": ("dpo", {"steps": STEPS}),
    "lora": ("ppo", {"iterations": STEPS, "lora_rank": 2}),
}
KILLS = 40 if LONG else 8  # of each of them
EVERY = 1 if LONG else 4  # of the calls that touch the disk


def train(folder: Path, case: Case, tell: Callable[[], object]) -> None:
    """Begin the run, or resume it when it has begun; `tell` is called after each step."""
    resume = (folder / "config.json").exists()
    stage, settings = case
    for _ in RunFolder(folder, resume=resume).record(TRAINERS[stage](**settings)):
        tell()


def forked(work: Callable[[int], object]) -> tuple[int, int]:
    """Do `work(pipe)` in a child; gives its process id and the pipe's end to read."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            try:
                work(writer)
                code = 0
            except BaseException:
                traceback.print_exc()
        os._exit(code)
    os.close(writer)
    return child, reader


def ended(child: int, reader: int) -> bool:
    """Wait for a child; True when it ended by itself, False when it was killed."""
    _, status = os.waitpid(child, 0)
    os.close(reader)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        sys.exit("a child failed")
    return os.WIFEXITED(status)


def whole_run(folder: Path, case: Case) -> float:
    """The run that nobody kills; gives the seconds of one step, saving included."""
    child, reader = forked(lambda pipe: train(folder, case, lambda: os.write(pipe, b".")))
    os.read(reader, 1)
    started, steps = time.perf_counter(), 0
    while os.read(reader, 1):
        steps += 1
    seconds = time.perf_counter() - started
    ended(child, reader)
    return seconds / max(steps, 1)


def killed_at_random(folder: Path, case: Case, step_seconds: float) -> dict:
    """Kill a run `KILLS` times, each time within about two steps, then let it end."""
    chance, kills, while_saving = random.Random(str(case)), 0, 0
    while True:
        child, reader = forked(lambda pipe: train(folder, case, lambda: os.write(pipe, b".")))
        if kills < KILLS:
            if kills % 4:  # else perhaps while it starts or loads
                os.read(reader, 1)
            time.sleep(chance.uniform(0.0, 2.0 * step_seconds))
            os.kill(child, signal.SIGKILL)
        if ended(child, reader):
            return {"kills": kills, "while_saving": while_saving}
        kills += 1
        while_saving += any(folder.rglob(".new-*")) or any(folder.rglob(".old-*"))


def killed_before_call(folder: Path, number: int) -> bool:
    """Kill a short run just before its n-th call that touches the disk; False if there is none."""

    def die(now: int, name: str) -> None:
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def work(pipe: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            DiskCalls(patch, die)
            train(folder, ("ppo", QUICK), lambda: None)

    if ended(*forked(work)):
        return False
    ended(*forked(lambda pipe: train(folder, ("ppo", QUICK), lambda: None)))
    return True


def main(folder: Path) -> None:
    """All runs; the folders are compared by the test."""
    torch.set_num_threads(1)
    report: dict[str, object] = {}
    for name, case in RANDOM_RUNS.items():
        step_seconds = whole_run(folder / name / "whole", case)
        report[name] = killed_at_random(folder / name / "killed", case, step_seconds)
    whole_run(folder / "calls" / "whole", ("ppo", QUICK))
    number = 1
    while killed_before_call(folder / "calls" / f"killed-{number}", number):
        number += EVERY
    report["calls"] = number // EVERY
    print(json.dumps(report))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
