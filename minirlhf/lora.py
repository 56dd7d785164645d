"""LoRA: train two thin matrices beside each linear layer, and leave the layer as it is.

    y = x·W + (α/r)·x·A·B          A (in, r) random, B (r, out) zero, α = 2r (Hu et al. 2021)

At the start B = 0, so the model is the one it was. W is frozen, so several models can use the same
W: the Reference is the Actor without A and B, and the Critic has an A and B of its own on the
Reward model's weights.

Nothing is ever switched on or off for that. Each model keeps a tree of modules of its own, and the
trees hold **the same parameter objects** (`twin`); a tree has its adapter or has none. So no model
can read with another one's adapter, in a backward pass that computes a forward pass again neither.

peft makes the layers; what is here are the trees.
"""

import copy
import importlib.util
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from minirlhf.noise import LORA_INIT, key

HEAD = "score."  # a scorer's head is trained whole, beside its adapter
ADAPTER = "default"  # as peft calls the only one
Model = TypeVar("Model", bound=PreTrainedModel)


def add_adapter(model: PreTrainedModel, rank: int, *, seed: int = 0) -> None:
    """Put A and B beside every linear layer of the blocks; freeze all else but a `score` head.

    Args:
        model: changed in place; what it computes stays the same.
        rank: r ≥ 1.
        seed: of A, uniform in ±1/√in as a linear layer's weights are.

    Raises:
        ValueError: peft is not installed, or the model has an adapter or no linear layer.
    """
    if has_adapter(model):
        raise ValueError(
            f"this {type(model).__name__} has a LoRA adapter already; "
            "`merged` makes it a plain model, which can get another"
        )
    config = _lora_config(model, rank)
    with torch.random.fork_rng(devices=[]):  # peft draws numbers, which are replaced below
        need_peft().inject_adapter_in_model(config, model)
    for number, layer in enumerate(lora_layers(model).values()):
        weight: Tensor = layer.lora_A[ADAPTER].weight
        generator = torch.Generator().manual_seed(key(seed, LORA_INIT, number))
        uniform = torch.rand(weight.shape, generator=generator)
        with torch.no_grad():
            weight.copy_((2 * uniform - 1) / weight.shape[1] ** 0.5)
    for name, parameter in model.named_parameters():
        if name.startswith(HEAD):
            parameter.requires_grad_(True)
    model.eval()  # new modules come in training mode


def _lora_config(model: PreTrainedModel, rank: int) -> Any:
    """What peft is told about our adapters: α = 2r, no dropout, all linear layers of the blocks."""
    linear = {
        name.rpartition(".")[2]: layer
        for name, layer in model.base_model.named_modules()
        if isinstance(layer, nn.Linear | Conv1D)
    }
    if not linear:
        raise ValueError(f"{type(model).__name__} has no linear layer that could get an adapter")
    return need_peft().LoraConfig(
        task_type="SEQ_CLS" if hasattr(model, "score") else "CAUSAL_LM",
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=sorted(linear),
        # GPT-2 keeps W as (in, out), all others as (out, in)
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in linear.values()),
        base_model_name_or_path=model.name_or_path,
    )


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """The adapted layers, by name: `base_layer` is W, `lora_A` and `lora_B` what is beside it."""
    return {name: layer for name, layer in model.named_modules() if hasattr(layer, "lora_A")}


def has_adapter(model: nn.Module) -> bool:
    """True when LoRA matrices are what is trained."""
    return bool(lora_layers(model))


def adapter_rank(model: nn.Module) -> int:
    """r, or 0 where there is no adapter."""
    layers = list(lora_layers(model).values())
    return int(layers[0].lora_A[ADAPTER].weight.shape[0]) if layers else 0


def about_lora(model: nn.Module) -> str:
    """Rank, and millions of trained parameters, for a line about the model; "" without LoRA."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    rank = adapter_rank(model)
    return f"   LoRA of rank {rank}, {trained / 1e6:.3f} M trained" if rank else ""


def adapter_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """What a model has for itself when it shares its trunk: A, B and a scorer's head, by name."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if ".lora_A." in name or ".lora_B." in name or name.startswith(HEAD)
    }


def adapter_is_fresh(model: nn.Module) -> bool:
    """True while every B is 0, so that the model still is the one under the adapter."""
    parameters = adapter_parameters(model).items()
    return not any(bool(p.any()) for name, p in parameters if ".lora_B." in name)


def twin(model: Model) -> Model:
    """Another tree of modules over the same weights, with an adapter and a head of its own.

    Args:
        model: its adapter and head, where it has them, are copied; all else is shared.
    """
    own = {id(parameter) for parameter in adapter_parameters(model).values()}
    return _copied_modules(model, own)


def trunk(model: Model) -> Model:
    """Another tree of modules over the same weights, without an adapter; a head is shared, too."""
    tree = _copied_modules(model, set())
    for name, layer in lora_layers(tree).items():
        parent, _, attribute = name.rpartition(".")
        setattr(tree.get_submodule(parent), attribute, layer.base_layer)
    if hasattr(tree, "peft_config"):
        del tree.peft_config
    return tree


@torch.no_grad()
def merged(model: Model) -> Model:
    """A plain model with weights of its own, W + (α/r)·A·B, that computes the same."""
    plain = copy.deepcopy(trunk(model))
    for name, layer in lora_layers(model).items():
        weight = cast(Tensor, plain.get_submodule(name).weight)
        weight += layer.get_delta_weight(ADAPTER)
    return plain


def need_peft() -> Any:
    """The package peft.

    Raises:
        ValueError: it is not installed.
    """
    if importlib.util.find_spec("peft") is None:
        raise ValueError("LoRA needs the package peft: pip install 'minirlhf[scale]'")
    import peft

    return peft


def _copied_modules(model: Model, own: set[int]) -> Model:
    """A deep copy that keeps every tensor as it is, but for parameters whose `id` is in `own`."""
    tensors = [*model.parameters(), *model.buffers()]
    # deepcopy takes what its memo holds for copied already
    memo: dict[int, Any] = {id(tensor): tensor for tensor in tensors if id(tensor) not in own}
    return copy.deepcopy(model, memo)
