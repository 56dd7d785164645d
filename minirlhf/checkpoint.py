"""The whole state of a run after some step, in one folder; loading it goes on bit for bit.

    step-000012/
      actor/  critic/  reward_model/    the trained roles, in Hugging Face format; with LoRA
                                        adapter and head only, in peft's
      optimizer-<role>.safetensors      AdamW's `step`, `exp_avg` and `exp_avg_sq` of each parameter
      state.json                        counters, and the size of every file

That is all there is. No generator is saved, because every random choice is a function of the seed
and the counters (`minirlhf.noise`); Python's and PyTorch's global generators are never used. No
scheduler is saved, because every learning rate is a function of the step. There is no pickle.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import AdamW
from transformers import PreTrainedModel

from minirlhf.adapter_files import put_adapter, read_adapter, save_adapter
from minirlhf.atomic import new_folder
from minirlhf.backbone import Role
from minirlhf.loading import check_weights, loading_errors
from minirlhf.trainer import Trainer

STATE = "state.json"


def save_checkpoint(folder: Path, trainer: Trainer) -> None:
    """Write the state of a trainer; the folder appears when all of it is on the disk.

    Raises:
        OSError: the disk is full or not writable; nothing half-written is left.
    """
    with new_folder(folder) as new:
        for name, role in trainer.roles.items():
            if role.lora_rank:
                save_adapter(role.model, new / name)
            else:
                role.save(new / name)
            tensors = optimizer_tensors(trainer.optimizers[name], role)
            save_file(tensors, new / _optimizer_file(name))
        files = sorted(path for path in new.rglob("*") if path.is_file())
        state = {
            "stage": trainer.stage,
            "counters": trainer.counters(),
            "files": {path.relative_to(new).as_posix(): path.stat().st_size for path in files},
        }
        (new / STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")


def load_checkpoint(folder: Path, trainer: Trainer) -> None:
    """Put a trainer into the state that was saved: weights, moments and counters.

    Everything is read and checked before anything is changed.

    Raises:
        ValueError: a file is missing, cut short or damaged; says which, and what to do.
    """
    state = _read_state(folder)
    weights: dict[str, Any] = {}
    moments = {}
    for name, role in trainer.roles.items():
        with _damage(folder, folder / name):
            read = read_adapter if role.lora_rank else _read_model
            weights[name] = read(folder / name, role.model)
        with _damage(folder, folder / _optimizer_file(name)):
            moments[name] = _read_moments(folder / _optimizer_file(name), role)
    for name, role in trainer.roles.items():
        put = put_adapter if role.lora_rank else _put_model
        put(role.model, weights[name])
        optimizer = trainer.optimizers[name]
        optimizer.state.clear()
        for parameter_name, parameter in role.named_parameters():
            if parameter_name in moments[name]:
                optimizer.state[parameter] = moments[name][parameter_name]
    trainer.restore_counters(state["counters"])


def optimizer_tensors(optimizer: AdamW, role: Role) -> dict[str, Tensor]:
    """AdamW's state by name, `<parameter>.<kind>`; empty before its first step."""
    return {
        f"{name}.{kind}": value.contiguous()
        for name, parameter in role.named_parameters()
        for kind, value in optimizer.state.get(parameter, {}).items()
    }


def _optimizer_file(name: str) -> str:
    return f"optimizer-{name}.safetensors"


def _read_state(folder: Path) -> dict[str, Any]:
    """state.json, after checking that every file it lists is there in full."""
    with _damage(folder, folder / STATE):
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
        files, _counters = state["files"], state["counters"]
    for name, size in files.items():
        with _damage(folder, folder / name):
            found = (folder / name).stat().st_size
            if found != size:
                raise ValueError(f"has {found} bytes, wanted {size}")
    return state


def _read_model(folder: Path, model: PreTrainedModel) -> PreTrainedModel:
    """The saved Hugging Face model, on the CPU and in the role's precision."""
    with loading_errors(folder):
        loaded: Any = type(model).from_pretrained(
            folder,
            use_safetensors=True,
            dtype=next(model.parameters()).dtype,
            output_loading_info=True,
        )
    saved: PreTrainedModel
    saved, report = loaded
    check_weights(saved, report["missing_keys"], folder)
    return saved


def _put_model(model: PreTrainedModel, saved: PreTrainedModel) -> None:
    model.load_state_dict(saved.state_dict())
    if hasattr(saved.config, "score_shift"):  # the last step of stage 2 changes it
        model.config.score_shift = saved.config.score_shift


def _read_moments(file: Path, role: Role) -> dict[str, dict[str, Tensor]]:
    """AdamW's state of each parameter that has one, on the parameter's device."""
    parameters = dict(role.named_parameters())
    moments: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(file).items():
        name, _, kind = key.rpartition(".")
        if name not in parameters or (kind != "step" and value.shape != parameters[name].shape):
            raise ValueError(f"its entry {key} fits no parameter of the {type(role).__name__}")
        # a copy of its own: the file's memory is not aligned as PyTorch's is
        moments.setdefault(name, {})[kind] = torch.clone(value).to(parameters[name].device)
    return moments


@contextlib.contextmanager
def _damage(checkpoint: Path, file: Path) -> Iterator[None]:
    """Turn any failure to read `file` into one line that names it and the way out."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).split("\n")[0]
        raise ValueError(
            f"checkpoint file {file} cannot be used ({reason}); delete the folder {checkpoint} "
            "to resume from the checkpoint before it"
        ) from error
