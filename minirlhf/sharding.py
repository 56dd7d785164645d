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
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from transformers import PreTrainedModel


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


@contextlib.contextmanager
def gathered(
    roles: Iterable[nn.Module], optimizers: Iterable[AdamW], *, keep: bool
) -> Iterator[None]:
    """Put whole weights and moments, on the CPU, in the place of the parts, inside the block.

    Every process has to come here. No model may be called inside.

    Args:
        roles: the models to be saved.
        optimizers: theirs.
        keep: True where the whole is wanted (the main process); elsewhere parts stay parts.
    """
    places = [
        (module, name, part)
        for role in roles
        for module in role.modules()
        for name, part in module._parameters.items()
        if part is not None and _is_part(part)
    ]
    whole: dict[Tensor, nn.Parameter] = {}  # by part: tied weights stay tied
    for _, _, part in places:
        if part not in whole:
            whole[part] = nn.Parameter(_whole(part, keep), requires_grad=part.requires_grad)
    states = [(optimizer, optimizer.state) for optimizer in optimizers]
    whole_states = [
        {
            whole.get(part, part): {kind: _whole(value, keep) for kind, value in moments.items()}
            for part, moments in state.items()
        }
        for _, state in states
    ]
    if keep:
        for module, name, part in places:
            module._parameters[name] = whole[part]
        for (optimizer, _), whole_state in zip(states, whole_states, strict=True):
            optimizer.state = defaultdict(dict, whole_state)
    try:
        yield
    finally:
        for module, name, part in places:
            module._parameters[name] = part
        for optimizer, state in states:
            optimizer.state = state


def _is_part(x: Tensor) -> bool:
    return hasattr(x, "full_tensor")


def _whole(x: Tensor, keep: bool) -> Tensor:
    """The whole tensor on the CPU; where it is not wanted, only this process's help."""
    if not _is_part(x):
        return x
    full: Tensor = x.detach().full_tensor()  # type: ignore[attr-defined]
    return full.cpu() if keep else full.new_empty(0)
