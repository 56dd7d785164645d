"""Peak memory of each program, alone in a process of its own.

In one process the peaks cannot be told apart: all of them hold their models at once, and what one
freed, the next takes.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch

from minirlhf.bench import machine
from minirlhf.bench.floor import Floor
from minirlhf.bench.models import new_trainer
from minirlhf.bench.peer_trl import TRLPeer
from minirlhf.bench.stopwatch import Stopwatch
from minirlhf.bench.turns import drop_models, run_floor
from minirlhf.config import PPOConfig

ITERATIONS = 2  # the optimiser's moments are there from the second on


@dataclass(frozen=True)
class Work:
    """What to run: the settings and sizes of `measure`."""

    config: PPOConfig
    model: str
    prompt_tokens: int
    device: str


def peak_alone(program: str, work: Work) -> dict[str, float | None]:
    """Run two iterations in a new process and ask how much memory they took.

    Args:
        program: "ours", "floor" or the name of a peer.
        work: what to run.

    Returns:
        `peak`, MiB, and on a CPU `before`, what the process held before it had any model;
        on a GPU only tensors count, and `before` is 0. None: the process broke off (no memory
        left), or the system does not tell.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        try:
            return process.submit(run, program, work).result()
        except (BrokenProcessPool, torch.cuda.OutOfMemoryError):
            return {"peak": None, "before": None}


def run(program: str, work: Work) -> dict[str, float | None]:
    """What the new process does; see `peak_alone`."""
    device = torch.device(work.device)
    before = machine.peak_memory_mib(device)
    trainer = new_trainer(work.config, work.prompt_tokens, device, work.model)
    if program == "ours":
        machine.forget_peak(device)
        for _ in range(ITERATIONS):
            trainer.train_step()
    elif program == "floor":
        floor = Floor(trainer)
        drop_models(trainer)
        machine.forget_peak(device)
        for step in range(ITERATIONS):
            run_floor(floor, trainer, step, Stopwatch(device))
    else:
        peer = TRLPeer(trainer, program, ITERATIONS)
        drop_models(trainer)
        machine.forget_peak(device)
        peer.run(lambda _: None)
    return {"peak": machine.peak_memory_mib(device), "before": before}
