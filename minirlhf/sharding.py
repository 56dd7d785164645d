"""FSDP2: each of W processes keeps a W-th of every weight, gradient and moment.

A block's weights are gathered when it is called, and let go after it; its gradients are averaged
and cut up as soon as they are there. The models are changed in place, so roles are used as ever.
Three moments need more than that:

    shard      before the first step, after weights and moments were loaded whole
    unsharded  while the Actor writes: gathered once, not once for every token
    gathered   while the main process saves: files are those of one process

    accelerate launch --use_fsdp --fsdp_version 2 --num_processes 8 -m minirlhf ppo …
"""

import contextlib
import copy
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from transformers import PreTrainedModel

Saved = TypeVar("Saved", bound=nn.Module)


def shard(model: PreTrainedModel) -> None:
    """Cut up the weights of one model, in place; one that is cut up already stays as it is.

    Args:
        model: on this process's device, with the same weights in every process.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    # it warns of outputs that are changed in place, and nobody changes them
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    mesh = init_device_mesh(model.device.type, (torch.distributed.get_world_size(),))
    blocks = set(model._no_split_modules or ())
    parts = [module for module in model.modules() if type(module).__name__ in blocks]
    head = getattr(model, "score", None)
    # our scorers call the trunk and the head one after the other, a language model is called whole
    parts += [model] if head is None else [head, model.base_model]
    for part in parts:
        if not isinstance(part, FSDPModule):
            fully_shard(part, mesh=mesh, reshard_after_forward=True)


def move_optimizer(
    optimizer: AdamW, before: dict[str, nn.Parameter], after: dict[str, nn.Parameter]
) -> None:
    """Let an optimiser go on with the parts of the weights that it held whole.

    Args:
        optimizer: holds the parameters `before`, and perhaps moments of theirs.
        before: parameters by name, as they were before `shard`.
        after: the same names, cut up.
    """
    from torch.distributed.tensor import distribute_tensor

    old, optimizer.state = optimizer.state, defaultdict(dict)
    (group,) = optimizer.param_groups
    group["params"] = list(after.values())
    for name, whole in before.items():
        part: Any = after[name]
        for kind, value in old.get(whole, {}).items():
            if value.shape == whole.shape:  # `step` is one number
                # every process holds all of it, so nothing has to be sent
                value = distribute_tensor(
                    value, part.device_mesh, part.placements, src_data_rank=None
                )
            optimizer.state[part][kind] = value


@contextlib.contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """Hold the weights of a model whole inside the block; no pass through it exchanges anything."""
    from torch.distributed.fsdp import FSDPModule

    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(True, recurse=False)
            part.reshard()


def emptied(role: Saved, shared: Iterable[object]) -> Saved:
    """A copy with modules of its own and weights without numbers; `gathered` fills it.

    Args:
        role: before `shard`, which leaves nothing that could be copied or saved as usual.
        shared: what the copy has in common with it: a tokenizer, a model's config.
    """
    memo: dict[int, Any] = {id(one): one for one in shared}  # deepcopy takes these for copied
    for weight in role.parameters():
        nothing = torch.empty(0, dtype=weight.dtype)
        memo[id(weight)] = nn.Parameter(nothing, requires_grad=weight.requires_grad)
    return copy.deepcopy(role, memo)


@contextlib.contextmanager
def gathered(
    roles: dict[str, Saved], optimizers: dict[str, AdamW], empty: dict[str, Saved]
) -> Iterator[None]:
    """In this block the main process has whole weights and moments, on the CPU, to save.

    Every process has to come here, since all hold parts of the whole.

    Args:
        roles: cut up; in the main process each is replaced by its whole copy for the time being.
        optimizers: theirs, by the same names.
        empty: copies from `emptied` in the main process; nothing in the others.
    """
    parts, states = dict(roles), {name: one.state for name, one in optimizers.items()}
    for name, role in parts.items():
        targets = dict(empty[name].named_parameters()) if empty else {}
        whole_state: defaultdict[Tensor, Any] = defaultdict(dict)
        for parameter_name, part in role.named_parameters():
            whole = [_whole(part), *map(_whole, states[name].get(part, {}).values())]
            if targets:
                target = targets[parameter_name]
                target.data, *moments = (x.cpu() for x in whole)
                whole_state[target] = dict(zip(states[name].get(part, {}), moments, strict=True))
        if targets:
            roles[name], optimizers[name].state = empty[name], whole_state
    try:
        yield
    finally:
        roles.update(parts)
        for name, state in states.items():
            optimizers[name].state = state
        for role in empty.values():
            for weight in role.parameters():
                weight.data = weight.new_empty(0)


def _whole(x: Tensor) -> Tensor:
    """All of a tensor that is cut up; one that is not is whole."""
    full: Tensor = getattr(x.detach(), "full_tensor", x.detach)()
    return full
