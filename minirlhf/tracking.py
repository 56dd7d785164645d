"""Metrics of a run sent to TensorBoard, Weights & Biases or trackio as well, through accelerate.

    for record in tracked(run.record(trainer), "tensorboard", Path("runs/ppo"), settings):
        ...

history.jsonl has every number in any case. A tracker sees metrics and settings: no texts, no
weights. Only the first of several processes tells it anything.
"""

import contextlib
import importlib.util
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from minirlhf.batch import StepRecord
from minirlhf.processes import here

TRACKERS = ("tensorboard", "wandb", "trackio")
PROJECT = "minirlhf"


def check_tracker(name: str) -> None:
    """Refuse a tracker that is unknown or not installed.

    Raises:
        ValueError: says which it is, and what to install.
    """
    if name not in TRACKERS:
        raise ValueError(f"no tracker {name!r}; there are {', '.join(TRACKERS)}")
    missing = [p for p in ("accelerate", name) if importlib.util.find_spec(p) is None]
    if missing:
        raise ValueError(f"tracking with {name} needs: pip install {' '.join(missing)}")


def tracked(
    records: Iterable[StepRecord], name: str, run: Path, settings: Mapping[str, Any]
) -> Iterator[StepRecord]:
    """Pass records on, and tell the tracker their metrics.

    Args:
        records: of one run, a new one or a resumed one.
        name: one of TRACKERS.
        run: its folder; TensorBoard's files go into `tensorboard` there.
        settings: what the run was made with.

    Raises:
        ValueError: the tracker is unknown or not installed.
    """
    check_tracker(name)
    if not here().is_main:
        yield from records
        return
    with contextlib.ExitStack() as stack:
        tracker = None
        for record in records:
            # begun with the first record: until then the run may be refused, and leaves no trace
            if tracker is None:
                tracker = _begin(name, run, settings, record.step)
                stack.callback(tracker.finish)
            metrics = {k: v for k, v in record.metrics.items() if math.isfinite(v)}
            tracker.log(metrics, step=record.step)
            yield record


def _begin(name: str, run: Path, settings: Mapping[str, Any], step: int) -> Any:
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # it knows which process is the first
    tracker_class = LOGGER_TYPE_TO_CLASS[name]
    if name == "tensorboard":
        # on --resume, what was written after the checkpoint is hidden
        tracker = tracker_class("tensorboard", logging_dir=run, purge_step=step)
    else:
        tracker = tracker_class(PROJECT, name=run.name)
    tracker.start()
    tracker.store_init_configuration(dict(settings))
    return tracker
