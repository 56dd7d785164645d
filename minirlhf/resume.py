"""What must be the same when a run is resumed, what may change, and what is only warned about.

The same: the stage, every setting but the ones below, the data, and the weights it began with.

May change: where the Actor learns from its own samples (PPO and its relatives) `iterations`, since
learning rates are constant there and a run made longer equals one that was planned longer; in
stages 1 and 2 and in DPO nothing, since their learning rate is planned over all `steps`.

Warned about: versions, threads, device. With them the last digits may change.
"""

import json
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from minirlhf.config import AnyConfig, as_dict

ONLINE = ("ppo", "reinforce", "rloo", "grpo")
MAY_CHANGE: dict[str, tuple[str, ...]] = dict.fromkeys(ONLINE, ("iterations",))


class ResumeWarning(UserWarning):
    """A resumed run may differ in the last digits from one that was never stopped."""


def read_config(file: Path) -> dict[str, Any] | None:
    """What a run's config.json says; None where there is none.

    Raises:
        ValueError: the file cannot be read.
    """
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {file}: {error}") from error
    # a model's folder has a config.json, too
    return config if isinstance(config, dict) and "settings" in config else None


def check_settings(
    saved: dict[str, Any], stage: str, config: AnyConfig, *, done: int, where: Path
) -> None:
    """Refuse to resume with other settings.

    Args:
        saved: config.json of the run.
        stage: of the trainer that wants to go on.
        config: its settings.
        done: steps that the run has done.
        where: its folder, for the message.

    Raises:
        ValueError: names each setting that differs, then and now.
    """
    if saved["stage"] != stage:
        raise ValueError(f"the run in {where} is of stage {saved['stage']}, not {stage}")
    now, allowed = as_dict(config), MAY_CHANGE.get(stage, ())
    # a setting that an older version did not have was what its default is now
    then = {field.name: field.default for field in fields(config)} | saved["settings"]
    changed = [k for k in then | now if then.get(k) != now.get(k) and k not in allowed]
    if changed:
        what = ", ".join(f"{k} was {then.get(k)} and is now {now.get(k)}" for k in changed)
        raise ValueError(
            f"cannot resume {where} with other settings: {what}. Only "
            f"{' and '.join((*allowed, 'the device'))} may change; use the old settings or "
            "another --out"
        )
    total: int = now["iterations"] if stage in ONLINE else now["steps"]
    if total < done:
        raise ValueError(f"the run in {where} is at step {done} already, beyond {total}")


def check_inputs(saved: dict[str, Any], now: dict[str, Any], *, where: Path) -> None:
    """Refuse to resume with other data, or with other weights to begin with.

    Args:
        saved: config.json of the run, with `rows_sha256` and `weights_sha256`.
        now: the same two for the trainer that wants to go on; what is not known is None or absent.
        where: the run's folder, for the message.

    Raises:
        ValueError: says which of them differ.
    """
    then_rows, now_rows = saved.get("rows_sha256"), now["rows_sha256"]
    if None not in (then_rows, now_rows) and then_rows != now_rows:
        raise ValueError(
            f"the data is not that of the run in {where}; resume with the same --data "
            "and its options, or use another --out"
        )
    then, here = saved.get("weights_sha256", {}), now["weights_sha256"]
    changed = [name for name in here if name in then and then[name] != here[name]]
    if changed:
        raise ValueError(
            f"the weights of {', '.join(changed)} are not those with which the run in {where} "
            "began; resume with the same models, or use another --out"
        )


def warn_of_changes(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Warn, with category `ResumeWarning`, when versions, threads or device have changed."""
    changed = [f"{k} {then.get(k)} → {now[k]}" for k in now if then.get(k) != now[k]]
    if changed:
        warnings.warn(
            f"resuming with other conditions ({', '.join(changed)}): the result may differ in "
            "the last digits from that of a run which was never stopped",
            ResumeWarning,
            stacklevel=2,
        )
