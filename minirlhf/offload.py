"""Offload: models that only read wait in CPU memory, and are on the device while they read.

Frozen weights never change, so nothing has to be brought back: what waits stays where it is, and
the copy on the device is dropped. Reference and Reward model visit one after the other, which saves
the memory of both for the whole update; the price is copying each once an iteration.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from minirlhf.backbone import Role


def wait_on_cpu(role: Role, *, beside: Sequence[Role] = ()) -> None:
    """Move a frozen role to CPU memory, from where `visiting` fetches it.

    Args:
        role: frozen; on the CPU already, nothing happens.
        beside: roles that stay where they are, with any weights that `role` shares with them.
    """
    stays = {id(tensor) for other in beside for tensor in _tensors(other)}
    for tensor in _tensors(role):
        if tensor.device.type != "cpu" and id(tensor) not in stays:
            waiting = tensor.data.cpu()
            # pinned memory is copied to a GPU about twice as fast, and without the CPU's help
            tensor.data = waiting.pin_memory() if torch.cuda.is_available() else waiting


@contextmanager
def visiting(role: Role, device: torch.device) -> Iterator[None]:
    """Have a role on this device inside the block; afterwards it is where it was.

    Args:
        role: not changed inside the block. One that is there already just stays.
        device: where the others are.
    """
    away = [tensor for tensor in _tensors(role) if tensor.device != device]
    waiting = [tensor.data for tensor in away]
    for tensor in away:
        tensor.data = tensor.data.to(device, non_blocking=True)
    try:
        yield
    finally:
        for tensor, home in zip(away, waiting, strict=True):
            tensor.data = home


def _tensors(role: Role) -> list[Tensor]:
    return [*role.parameters(), *role.buffers()]
