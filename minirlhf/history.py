"""history.jsonl: one line for each step of a run; trainers write it, pictures read it.

    {"stage": "ppo", "step": 1, "score": -0.12, "kl": 0.0, …}

What the metrics mean is in `minirlhf.metrics.METRICS`. JSON has no NaN or infinity: such a metric
is written as null and read as NaN.
"""

import json
import math
from pathlib import Path
from typing import Any

from minirlhf.atomic import append_line, write_text
from minirlhf.batch import StepRecord


def append_record(file: Path, record: StepRecord) -> None:
    """Add one step; text sample and rollout are not kept.

    Raises:
        OSError: the disk is full or not writable; the file is as it was.
    """
    metrics = {k: v if math.isfinite(v) else None for k, v in record.metrics.items()}
    append_line(file, json.dumps({"stage": record.stage, "step": record.step, **metrics}))


def read_history(file: Path) -> list[dict[str, Any]]:
    """The steps so far; a last line that is still being written is left out.

    Raises:
        ValueError: a line is not JSON, or there is no such file.
    """
    return [
        {k: math.nan if v is None else v for k, v in json.loads(line).items()}
        for line in _complete_lines(file)
    ]


def last_metrics(file: Path) -> dict[str, float]:
    """The metrics of the last step; empty before the first."""
    last = read_history(file)[-1:]
    return {k: v for line in last for k, v in line.items() if k not in ("stage", "step")}


def trim_history(file: Path, step: int) -> None:
    """Forget what came after `step`, as resuming from its checkpoint does."""
    if file.exists():
        lines = _complete_lines(file)
        kept = "".join(line for line in lines if json.loads(line)["step"] <= step)
        if kept != file.read_text(encoding="utf-8"):
            write_text(file, kept)


def _complete_lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from error
    lines = [line for line in lines if line.endswith("\n")]
    for number, line in enumerate(lines, start=1):
        try:
            json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{file}, line {number}: not a step of a run; mend or delete the file"
            ) from None
    return lines
