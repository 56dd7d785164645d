"""Train in two processes that are forked from this one; `test_processes.py` runs this file.

One process imports everything once, and every pair of processes is forked from it, so that none of
them pays for the imports. They compute in float64, where what is left of a difference can only
be a mistake.

    python tests/process_runs.py FOLDER
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
import typer
from safetensors.torch import save_file
from tiny_trainers import TRAINERS, state

from minirlhf.backbone import Role
from minirlhf.cli.errors import one_line_errors
from minirlhf.processes import here
from minirlhf.run_folder import RunFolder
from minirlhf.trainer import Trainer

Case = tuple[str, dict[str, object]]
UNEVEN = {"batch_size": 5, "minibatch_size": 3, "microbatch_size": 1}  # 5 = 3 + 2, 3 = 2 + 1
THREE = {"iterations": 3, "minibatch_size": None}
CASES: dict[str, Case] = {
    "ppo td": ("ppo", {"iterations": 3}),
    "ppo gae, uneven": ("ppo", {"critic_target": "gae", "iterations": 2, **UNEVEN}),
    "ppo one row": ("ppo", {"minibatch_size": 1, "iterations": 2}),  # one process has none
    "ppo early stop": ("ppo", {"target_kl": 0.02, "actor_lr": 0.01, "iterations": 3}),
    "ppo adaptive": ("ppo", {"kl_target": 0.01, "kl_horizon": 50, "iterations": 3}),
    "ppo lora": ("ppo", {"lora_rank": 2, "gradient_checkpointing": True, "iterations": 2}),
    "reinforce": ("reinforce", {"batch_size": 3, **THREE}),
    "rloo": ("rloo", {"batch_size": 6, "group_size": 2, **THREE}),  # groups 0 1 | 1 2
    "grpo": ("grpo", {"batch_size": 6, "group_size": 2, "iterations": 2, "minibatch_size": 3}),
    "sft": ("sft", {"batch_size": 3, "steps": 4}),
    "reward": ("reward", {"batch_size": 3, "steps": 4, "standardise_samples": 7}),
    "dpo": ("dpo", {"batch_size": 3, "steps": 4}),
    "dpo one pair": ("dpo", {"batch_size": 1, "steps": 2}),
}
SHARDED = ("ppo gae, uneven", "ppo lora", "grpo", "sft", "reward", "dpo one pair")
RESUMED: dict[str, Case] = {
    "ppo": ("ppo", {"iterations": 4, "ppo_epochs": 1, "critic_target": "gae"}),
    "reward": ("reward", {"steps": 4, "batch_size": 3}),
}
STORES: list[torch.distributed.TCPStore] = []  # open as long as this process lives
FSDP = {"ACCELERATE_USE_FSDP": "true"}


def trainer_of(case: Case) -> Trainer:
    """A tiny trainer whose models are all float64."""
    stage, settings = case
    trainer = TRAINERS[stage](**settings)
    for role in vars(trainer).values():
        if isinstance(role, Role):
            role.double()  # in place, so that the optimisers hold the same parameters
    return trainer


def write(trainer: Trainer, metrics: list[dict[str, float]], target: Path) -> None:
    """What training left: the metrics of each process, the state of those that have it whole."""
    target.mkdir(parents=True, exist_ok=True)
    with trainer.gathered():
        if here().is_main or not here().sharded:
            save_file(state(trainer), target / f"{here().rank}.safetensors")
    (target / f"{here().rank}.json").write_text(json.dumps(metrics))


def train(case: Case, target: Path, after: Callable[[Trainer], object] = lambda _: None) -> None:
    """Train to the end."""
    trainer, metrics = trainer_of(case), []
    for record in trainer:
        metrics.append({k: v for k, v in record.metrics.items() if k != "seconds"})
        after(trainer)
    write(trainer, metrics, target)


def run(case: Case, folder: Path, *, stop_after: int | None = None) -> None:
    """Begin or resume a run in a folder; perhaps leave it half-way."""
    resume = (folder / "config.json").exists()
    here().wait()  # all have looked before one begins
    trainer = trainer_of(case)
    for record in RunFolder(folder, resume=resume).record(trainer):
        if record.step == stop_after:
            break
    else:
        write(trainer, [], folder.with_name(folder.name + " state"))


def fork(work: Callable[[], object], folder: Path, **variables: str) -> list[int]:
    """Start two processes that do `work` together; gives their ids."""
    # as torchrun does, we keep the place where they meet, at whatever port is free
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    STORES.append(store)
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
                "TORCHELASTIC_RESTART_COUNT": "0",
                "ACCELERATE_USE_CPU": "true",
                **variables,
            }
            os._exit(_in_child(work, folder / f"stderr.{rank}"))
        children.append(child)
    return children


def _in_child(work: Callable[[], object], stderr: Path) -> int:
    here.cache_clear()
    stderr.parent.mkdir(parents=True, exist_ok=True)
    with stderr.open("w") as sys.stderr:
        try:
            with one_line_errors():
                work()
            return 0
        except typer.Exit as end:
            return end.exit_code
        except BaseException:
            traceback.print_exc()
            return 1


def wait(children: list[int]) -> list[int]:
    """Exit codes; −9 for one that was killed."""
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def equalities(folder: Path) -> dict[str, object]:
    """Every trainer with one process, with two under DDP, and some under FSDP2."""

    def both(kind: str, names: tuple[str, ...]) -> None:
        for name in names:
            train(CASES[name], folder / kind / name)

    codes = {
        "ddp": wait(fork(lambda: both("ddp", tuple(CASES)), folder / "ddp")),
        "fsdp": wait(fork(lambda: both("fsdp", SHARDED), folder / "fsdp", **FSDP)),
    }
    both("one", tuple(CASES))
    return codes


def moves(folder: Path) -> dict[str, object]:
    """Runs that are left half-way and resumed with another number of processes, or way."""
    codes = {}
    for name, case in RESUMED.items():
        run(case, folder / f"{name} whole")
        for kind, variables in (("ddp", {}), ("fsdp", FSDP)):
            ends, goes_on = folder / f"{name} {kind} to one", folder / f"{name} one to {kind}"

            def stop(case: Case = case, there: Path = ends) -> None:
                run(case, there, stop_after=2)

            def go_on(case: Case = case, there: Path = goes_on) -> None:
                run(case, there)

            codes[ends.name] = wait(fork(stop, folder / "stderr" / ends.name, **variables))
            run(case, ends)
            run(case, goes_on, stop_after=2)
            codes[goes_on.name] = wait(fork(go_on, folder / "stderr" / goes_on.name, **variables))
    return codes


def failures(folder: Path) -> dict[str, object]:
    """A loss that breaks in one process, an error in one process, and one that is killed."""
    report: dict[str, object] = {}

    def broken_loss() -> None:
        trainer = trainer_of(RESUMED["ppo"])
        if here().rank == 1:
            loss = trainer.backward
            trainer.backward = lambda name, x, *rest: loss(name, x * float("nan"), *rest)  # type: ignore
        for _ in RunFolder(folder / "loss").record(trainer):
            pass

    def error() -> None:
        trainer = trainer_of(RESUMED["ppo"])
        for record in RunFolder(folder / "error").record(trainer):
            if record.step == 2 and here().rank == 1:
                raise ValueError("something is wrong here")

    def killed() -> None:
        trainer = trainer_of(RESUMED["ppo"])
        for record in RunFolder(folder / "killed").record(trainer):
            if record.step == 2 and here().rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)

    for work in (broken_loss, error, killed):
        started = time.perf_counter()
        codes = wait(fork(work, folder / "stderr" / work.__name__))
        report[work.__name__] = {"codes": codes, "seconds": time.perf_counter() - started}
    run(RESUMED["ppo"], folder / "killed")
    run(RESUMED["ppo"], folder / "whole")
    return report


def main(folder: Path) -> None:
    """All of them; the test compares."""
    torch.set_num_threads(1)
    report = {
        "equalities": equalities(folder / "equalities"),
        "moves": moves(folder / "moves"),
        "failures": failures(folder / "failures"),
    }
    print(json.dumps(report))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
