"""A LoRA adapter on disk as peft knows it: `PeftModel.from_pretrained(trunk, folder)` opens it.

    adapter/
      adapter_model.safetensors   A and B of each layer, and a scorer's head
      adapter_config.json         what peft needs: rank, α, which layers, whose trunk
      config.json                 the model's, with a scorer's `score_shift`
      trunk.json                  SHA-256 of the weights under it; left out in a checkpoint

The weights under it are never written beside it: they are those that the run began with.
"""

import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from minirlhf.loading import weights_digest
from minirlhf.lora import ADAPTER, HEAD, adapter_parameters

WEIGHTS, SETTINGS, TRUNK = "adapter_model.safetensors", "adapter_config.json", "trunk.json"
Saved = tuple[dict[str, Tensor], float | None]  # values by name, and a scorer's `score_shift`
PREFIX = "base_model.model."  # of every name in peft's files


def save_adapter(model: PreTrainedModel, folder: Path, *, name_trunk: bool = False) -> None:
    """Write A, B and head, and what describes them; the same bytes for the same adapter.

    Args:
        model: has an adapter.
        folder: made if it is not there.
        name_trunk: also write down, as a hash, which weights the adapter belongs to.

    Raises:
        OSError: the disk is full or not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_named_as_in_peft(model), folder / WEIGHTS)
    settings = cast(Any, model.peft_config[ADAPTER]).to_dict()
    settings["inference_mode"] = True
    if hasattr(model, "score"):
        settings["modules_to_save"] = ["score"]
    text = json.dumps(settings, indent=2, sort_keys=True, default=sorted)  # peft has sets in it
    (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")
    model.config.save_pretrained(folder)
    if name_trunk:
        text = json.dumps({"sha256": trunk_sha256(model)}) + "\n"
        (folder / TRUNK).write_text(text, encoding="utf-8")


def read_adapter(folder: Path, model: PreTrainedModel) -> Saved:
    """What was saved, by the names of this model's parameters, and the score's shift.

    Raises:
        ValueError: it is another adapter, of other layers or another rank, or it is not finite.
        OSError: a file cannot be read.
    """
    there = load_file(folder / WEIGHTS)
    wanted = _named_as_in_peft(model)
    if {n: w.shape for n, w in there.items()} != {n: w.shape for n, w in wanted.items()}:
        raise ValueError(f"is no adapter of this {type(model).__name__}: other layers or rank")
    tensors = {name: there[_peft_name(name)] for name in adapter_parameters(model)}
    broken = [name for name, weight in tensors.items() if not bool(torch.isfinite(weight).all())]
    if broken:
        raise ValueError(f"has NaN or infinite weights in {broken[0]}")
    config = AutoConfig.from_pretrained(folder)
    return tensors, getattr(config, "score_shift", None)


@torch.no_grad()
def put_adapter(model: PreTrainedModel, saved: Saved) -> None:
    """Give a model's adapter and head the values that `read_adapter` found."""
    tensors, shift = saved
    for name, parameter in adapter_parameters(model).items():
        parameter.copy_(tensors[name])
    if shift is not None:  # there is one after the last step of stage 2
        model.config.score_shift = shift


def trunk_sha256(model: PreTrainedModel) -> str:
    """SHA-256 of the weights under an adapter, embeddings and blocks, without any head."""
    return weights_digest(
        (name.replace(".base_layer", ""), weight)
        for name, weight in model.base_model.named_parameters()
        if ".lora_" not in name
    )


def rank_on_disk(folder: Path, model: PreTrainedModel) -> int:
    """Rank of the adapter in a folder when it was trained on just this model's trunk, else 0."""
    try:
        wanted = json.loads((folder / TRUNK).read_text(encoding="utf-8"))["sha256"]
        rank = int(json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError):
        return 0  # none there, or not one of ours
    return rank if wanted == trunk_sha256(model) else 0


def _named_as_in_peft(model: PreTrainedModel) -> dict[str, Tensor]:
    parameters = adapter_parameters(model).items()
    return {_peft_name(name): p.detach().contiguous() for name, p in parameters}


def _peft_name(name: str) -> str:
    return PREFIX + (name if name.startswith(HEAD) else name.replace(f".{ADAPTER}.", "."))
