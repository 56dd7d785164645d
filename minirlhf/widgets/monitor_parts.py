"""What a training monitor shows: which metrics, and records as plain JSON values."""

from collections.abc import Sequence
from typing import Any

from minirlhf.batch import StepRecord
from minirlhf.metrics import METRICS
from minirlhf.trainer import Trainer
from minirlhf.widgets.wire import finite

ONLINE = ("score", "kl", "entropy", "length", "eos_rate", "ratio_max")
SHOWN = {  # metrics by stage, where none are asked for
    "sft": ("sft_loss", "grad_norm", "lr"),
    "reward": ("preference_loss", "accuracy", "grad_norm"),
    "dpo": ("dpo_loss", "accuracy", "reward_margin"),
    "ppo": ("score", "kl", "explained_variance", "length", "entropy", "clip_fraction"),
}
PANELS = 6


def metrics_of(trainer: Trainer) -> tuple[str, ...]:
    """The metrics that matter most in this trainer's stage; gold first, where there is one."""
    shown = SHOWN.get(trainer.stage, ONLINE)
    has_gold = getattr(trainer, "judge", None) is not None
    return ("gold", *shown)[:PANELS] if has_gold else shown


def about_metric(name: str) -> dict[str, Any]:
    """A line of the table of metrics as plain JSON values."""
    metric = METRICS[name]
    low, high = metric.healthy
    about = {"unit": metric.unit, "formula": metric.formula, "meaning": metric.meaning}
    return {"name": name, **about, "low": low, "high": high}


def numbers_of(record: StepRecord, names: Sequence[str]) -> dict[str, Any]:
    """The named numbers of a record; JSON has no NaN, so that becomes None."""
    numbers = {"step": record.step, **record.metrics}
    found = {name: numbers[name] for name in names if name in numbers}
    return {name: finite(value) for name, value in found.items()}


def one_line(error: BaseException | None) -> str:
    """An exception as one line of at most 300 characters; "" where there is none."""
    if error is None:
        return ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]
