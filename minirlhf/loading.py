"""Loading and saving with transformers, quietly, and with one clear error when it fails."""

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from minirlhf.hub import check_hub


@contextlib.contextmanager
def loading_errors(source: str | Path) -> Iterator[None]:
    """Turn the many ways in which loading fails into one clear ValueError."""
    folder = as_folder(source)
    if folder is None:
        check_hub("model", source)
    elif not (folder / "config.json").is_file():
        problem = "has no config.json" if folder.is_dir() else "does not exist"
        raise ValueError(f"model folder {source} {problem}; wanted a folder in Hugging Face format")
    try:
        with quiet(bars=folder is None):
            yield
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"cannot load the model {source}: {first_line}") from error


def as_folder(source: str | Path) -> Path | None:
    """The folder that is meant, or None for a name on the Hub ("gpt2", "Qwen/Qwen2-0.5B")."""
    path, name = Path(source), str(source)
    names_a_path = isinstance(source, Path) or name.startswith(".") or name.count("/") > 1
    return path if path.exists() or path.is_absolute() or "\\" in name or names_a_path else None


@contextlib.contextmanager
def quiet(*, bars: bool = False) -> Iterator[None]:
    """Keep transformers from printing: its notes on fresh heads and sharding, its progress bars.

    Args:
        bars: leave the progress bars on, for a download.
    """
    logger = logging.getLogger("transformers")
    level, had_bars = logger.level, transformers_logging.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    _show_bars(bars and had_bars)
    try:
        yield
    finally:
        logger.setLevel(level)
        _show_bars(had_bars)


def _show_bars(show: bool) -> None:
    if show == transformers_logging.is_progress_bar_enabled():
        return
    with warnings.catch_warnings():  # the Hub's own switch may be fixed by the environment
        warnings.simplefilter("ignore")
        if show:
            transformers_logging.enable_progress_bar()
        else:
            transformers_logging.disable_progress_bar()


def check_weights(model: PreTrainedModel, missing: Collection[str], source: str | Path) -> None:
    """Refuse a model whose weights are not all there, or are not numbers.

    Args:
        model: as loaded.
        missing: names of the weights that its files lack; transformers made them up.
        source: for the message.

    Raises:
        ValueError: names the weights that are missing, NaN or infinite.
    """
    if missing:
        raise ValueError(
            f"the model {source} lacks the weights {', '.join(sorted(missing))}, so it is of "
            f"another kind than the {type(model).__name__} that is wanted"
        )
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise ValueError(f"the model {source} has NaN or infinite weights in {name}")


def weights_digest(weights: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 of named weights: names, shapes, types and bytes, in the order given."""
    digest = hashlib.sha256()
    for name, weight in weights:
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}\n".encode())
        # bytes, since NumPy has no bfloat16
        data = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(data.numpy().data)
    return digest.hexdigest()
