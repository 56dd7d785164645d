"""Several processes that train as one, each on its own device; alone, nothing here does anything.

    accelerate launch --multi_gpu --num_processes 8 -m minirlhf ppo …

    1. rows:     all know the whole batch; each takes its even part of the rows, in their order
    2. rollout:  each writes and reads its rows, then all gather the whole `Rollout`
    3. update:   each takes its part of a minibatch; its loss weighs tokens / tokens of the step,
                 and gradients are summed: the gradient is that of one process with all the rows
    4. metrics:  sums and maxima over the processes, so that all hold the same numbers

So W processes compute what one does, up to the rounding of sums, and every decision (a broken loss,
`target_kl`) is the same in all. Each part has the same number of rows, ⌈n/W⌉; where the rows do not
divide, the last one is read again and not counted. That keeps the processes in step: one that had
less to do would miss an exchange, and all would wait for ever.

accelerate makes the connection and wraps the models (DDP); `minirlhf.sharding` is the other way,
FSDP2. It is imported only where several processes were launched.
"""

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minirlhf.batch import Rollout

LONGEST_WAIT = timedelta(minutes=30)  # for the others, while the main process saves, say
# what torch says when a process of the group has gone
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL")


class Processes:
    """This process among those that train together.

    Attributes:
        rank: 0 … count − 1; 0 is the main process, which alone writes and prints.
        count: W, how many there are; 1 = alone.
        device: the one of this process; None alone, where the user chooses.
        sharded: FSDP2: each process holds a part of every model.
    """

    def __init__(
        self,
        rank: int = 0,
        count: int = 1,
        device: torch.device | None = None,
        *,
        sharded: bool = False,
    ) -> None:
        self.rank, self.count, self.device, self.sharded = rank, count, device, sharded

    @property
    def is_main(self) -> bool:
        """True for the one that writes files and prints."""
        return self.rank == 0

    # ------------------------------------------------------------------ rows

    def rows(self, n: int) -> list[int]:
        """Numbers of this process's rows of a batch of n ≥ 1: ⌈n/W⌉, the last perhaps repeated.

        Example:
            >>> Processes(1, 2).rows(5), Processes(2, 3).rows(4)
            ([3, 4, 4], [3, 3])
        """
        part = -(-n // self.count)
        return [min(i, n - 1) for i in range(self.rank * part, (self.rank + 1) * part)]

    def counted(self, n: int) -> int:
        """How many of `rows(n)` are this process's own; those after them are repeats.

        Example:
            >>> Processes(1, 2).counted(5), Processes(2, 3).counted(4)
            (2, 0)
        """
        part = -(-n // self.count)
        return max(0, min(part, n - self.rank * part))

    def microbatches(self, rows: Tensor, size: int | None) -> Iterator[tuple[Tensor, Tensor, bool]]:
        """This process's rows of a minibatch, which of them count, and whether they are the last.

        Args:
            rows: (n,) row numbers of the whole minibatch.
            size: rows of a microbatch; None = all in one. Every process gets as many of them.
        """
        own = torch.tensor(self.rows(len(rows)), device=rows.device)
        counts = torch.arange(len(own), device=rows.device) < self.counted(len(rows))
        size = size or len(own)
        parts = list(zip(rows[own].split(size), counts.split(size), strict=True))
        for number, (some, counted) in enumerate(parts, start=1):
            yield some, counted, number == len(parts)

    def gather(self, x: Tensor, n: int) -> Tensor:
        """All n rows, in order, from each process's `rows(n)`; without gradient.

        Args:
            x: (⌈n/W⌉, …), of the same shape in every process.
            n: rows of the whole batch.

        Returns:
            (n, …) of the same dtype, the same in every process; alone, `x` itself.
        """
        if self.count == 1:
            return x
        part = x.detach().contiguous()
        part = part.to(torch.uint8) if x.dtype == torch.bool else part
        parts = [torch.empty_like(part) for _ in range(self.count)]
        torch.distributed.all_gather(parts, part)
        return torch.cat(parts)[:n].to(x.dtype)

    def gather_rollout(self, rollout: Rollout, n: int) -> Rollout:
        """The whole rollout from each process's rows; as wide as the longest response of all."""
        if self.count == 1:
            return rollout
        width = int(self.largest({"width": rollout.response_ids.shape[1]})["width"])
        missing = width - rollout.response_ids.shape[1]
        whole = {}
        for field in fields(rollout):
            x = getattr(rollout, field.name)
            if x is None:
                continue
            if not field.name.startswith("prompt") and x.dim() > 1:  # (B, R) or (B, R, K)
                x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, missing))
            whole[field.name] = self.gather(x, n)
        return replace(rollout, **whole)

    # ------------------------------------------------------------------ numbers

    def sum(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Each number summed over the processes, in float64; all must bring the same names."""
        return self._reduce(numbers, "SUM")

    def largest(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Each number's maximum over the processes; all must bring the same names."""
        return self._reduce(numbers, "MAX")

    def first_non_finite(self, x: Tensor) -> Tensor:
        """A scalar; where it is NaN or infinite in any process, that one, so that all can stop."""
        if self.count == 1:
            return x
        for other in self.gather(x.detach().double().reshape(1), self.count).unbind():
            if not bool(torch.isfinite(other)):
                return other
        return x

    def wait(self) -> None:
        """Wait for all the others to come here."""
        self.sum({"here": 1.0})

    def _reduce(self, numbers: Mapping[str, float], how: str) -> dict[str, float]:
        if self.count == 1 or not numbers:
            return dict(numbers)
        together = torch.tensor(list(numbers.values()), dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(together, getattr(torch.distributed.ReduceOp, how))
        return dict(zip(numbers, together.tolist(), strict=True))

    # ------------------------------------------------------------------ models

    def wrap(self, role: nn.Module) -> nn.Module:
        """DDP around a role that is trained: its backward pass averages gradients over all."""
        from accelerate import Accelerator

        on_cpu = self.device is not None and self.device.type == "cpu"
        accelerator = Accelerator(cpu=on_cpu, mixed_precision="no")  # precision is our setting
        wrapped: nn.Module = accelerator.prepare_model(role)
        return wrapped


@functools.cache
def here() -> Processes:
    """This process and how many there are, as the launcher says; asked once.

    Raises:
        ValueError: several were launched, and accelerate is missing or an engine is unknown.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes()
    try:
        from accelerate import PartialState
    except ImportError:
        raise ValueError(
            "several processes need accelerate: pip install 'minirlhf[scale]'"
        ) from None
    if _says_yes("ACCELERATE_USE_DEEPSPEED") or _says_yes("ACCELERATE_USE_MEGATRON_LM"):
        raise ValueError("several processes train with DDP or FSDP2 here, got another engine")
    on_cpu = _says_yes("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    state: Any = PartialState(cpu=on_cpu, timeout=LONGEST_WAIT)
    return Processes(
        state.process_index,
        state.num_processes,
        state.device,
        sharded=_says_yes("ACCELERATE_USE_FSDP"),
    )


def launched_rank() -> int:
    """This process's rank as the launcher says, without connecting to the others."""
    return int(os.environ.get("RANK", "0")) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else 0


def leave() -> None:
    """End the connection to the others, after all went well."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def speaks() -> bool:
    """True for the first process that asks: one error is said once, by whoever saw it first."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return launched_rank() == 0
    try:
        store = torch.distributed.distributed_c10d._get_default_store()
        return int(store.add("minirlhf/errors", 1)) == 1
    except RuntimeError:  # the process that kept the store has gone
        return launched_rank() == 0


def lost(error: BaseException) -> bool:
    """True when an exchange failed because another process has ended."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return several and any(sign in str(error) for sign in LOST)


def lonely_launch() -> bool:
    """True when accelerate was asked for several processes on CPUs and started only one.

    `accelerate launch --cpu --num_processes 2` does so: it leaves the rest to MPI, and of what it
    was asked for only the address remains, which it sets for more than one process.
    """
    asked = _says_yes("ACCELERATE_USE_CPU") and "MASTER_PORT" in os.environ
    sizes = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    return asked and not any(name in os.environ for name in sizes)


def _says_yes(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes")
