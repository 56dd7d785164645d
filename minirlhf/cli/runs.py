"""What the commands that train share: settings from options, and a trainer run in its folder."""

import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from minirlhf.backbone import Role
from minirlhf.cli.errors import Interrupted
from minirlhf.cli.show import console, follow
from minirlhf.config import (
    AnyConfig,
    DPOConfig,
    GRPOConfig,
    PPOConfig,
    ReinforceConfig,
    RewardModelConfig,
    RLOOConfig,
    SFTConfig,
    as_dict,
)
from minirlhf.processes import lonely_launch
from minirlhf.run_folder import RunFolder
from minirlhf.tracking import check_tracker, tracked
from minirlhf.trainer import Trainer

Config = TypeVar("Config", bound=AnyConfig)
STAGES: dict[type, str] = {
    SFTConfig: "sft",
    RewardModelConfig: "reward",
    PPOConfig: "ppo",
    ReinforceConfig: "reinforce",
    RLOOConfig: "rloo",
    GRPOConfig: "grpo",
    DPOConfig: "dpo",
}


def plan(
    config_class: type[Config],
    out: Path,
    resume: bool,
    sources: dict[str, str | None],
    given: dict[str, Any],
) -> tuple[Config, dict[str, str]]:
    """Settings and sources of the run: what was given, else the run's own, else the default.

    Args:
        config_class: one of `STAGES`.
        out: folder of the run.
        resume: take what is not given from the run that is there.
        sources: where models and data come from; None = not given.
        given: settings; None = not given.

    Raises:
        ValueError: a setting cannot work or differs from the run's, a source is missing, or the
            folder is taken.
    """
    if lonely_launch():
        warnings.warn(
            "`accelerate launch --cpu` started only one process (the result is the same, later); "
            "for several on CPUs: ACCELERATE_USE_CPU=true accelerate launch --multi_gpu …",
            stacklevel=2,
        )
    run = RunFolder(out, resume=resume)
    saved = run.config() or {}
    known = {k: v for k, v in saved.get("settings", {}).items() if hasattr(config_class, k)}
    config = config_class(**known | {k: v for k, v in given.items() if v is not None})
    run.check_settings(STAGES[config_class], config)
    found = {k: v or saved.get("sources", {}).get(k) for k, v in sources.items()}
    missing = [f"--{name}" for name, source in found.items() if source is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be given")
    return config, {k: v for k, v in found.items() if v is not None}


def train(
    run: RunFolder, trainer: Trainer, metrics: Sequence[str], save_every: int, track: str | None
) -> None:
    """Run a trainer to its end in a run folder, showing how it goes.

    Raises:
        Interrupted: Ctrl-C; says how to go on.
        ValueError: there is no such tracker.
    """
    records = run.record(trainer, save_every=save_every)
    if track is not None:
        check_tracker(track)
        records = tracked(records, track, run.path, as_dict(trainer.config))
    for role in (role for role in vars(trainer).values() if isinstance(role, Role)):
        console.print(role.summary(), markup=False, soft_wrap=True)
    try:
        follow(trainer, trainer.stage, metrics, records)
    except KeyboardInterrupt:
        command = f"minirlhf {trainer.stage} --out {shlex.quote(str(run.path))} --resume"
        begun = run.config() is not None
        raise Interrupted(f"To go on: {command}" if begun else "Nothing was written.") from None
    for name in trainer.roles:
        console.print(f"{name:<14}{run.path / name}", markup=False, soft_wrap=True)
    console.print(f"{'history':<14}{run.path / 'history.jsonl'}", markup=False, soft_wrap=True)


def say_next(command: str, **options: object) -> None:
    """Print the command that usually comes after this one."""
    words = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items()]
    console.print(f"next: minirlhf {command} {' '.join(words)}", markup=False, soft_wrap=True)
