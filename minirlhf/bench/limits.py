"""What this machine can do at most, measured: bytes copied and operations of a big matrix product.

And what a decode step on a GPU is made of: how many kernels, and how long they run.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from minirlhf.bench.stopwatch import Stopwatch

TRIES = 5  # the fastest counts: a limit is what was possible once


def machine_limits(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Bytes per second of a copy, read and written, and operations per second of a product.

    Args:
        device: where.
        dtype: of the matrices.
    """
    on_gpu = device.type == "cuda"
    numbers = torch.zeros(2**28 if on_gpu else 2**24, device=device)  # 1 GiB, 64 MiB: no cache
    other = torch.empty_like(numbers)
    n = 8192 if on_gpu else 1024
    generator = torch.Generator(device).manual_seed(0)  # zeros multiply faster on some GPUs
    a, b = (torch.randn(n, n, device=device, generator=generator).to(dtype) for _ in "ab")
    product = torch.empty_like(a)
    copied = 2 * numbers.numel() * numbers.element_size()
    return {
        "bytes_per_second": copied / fastest(lambda: other.copy_(numbers), device),
        "flops_per_second": 2 * n**3 / fastest(lambda: torch.mm(a, b, out=product), device),
    }


def fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of some tries, after one that does not count."""
    work()
    found = []
    for _ in range(TRIES):
        watch = Stopwatch(device)
        with watch("work"):
            work()
        found.append(watch.seconds["work"])
    return min(found)


@dataclass(frozen=True)
class Kernels:
    """What ran: how many, and for how many seconds together."""

    count: int
    seconds: float


def kernels_per_step(generate: Callable[[int], object], few: int = 2, more: int = 6) -> Kernels:
    """Kernels of one decode step on a GPU: what `more` tokens take beyond `few`, divided.

    Args:
        generate: writes that many tokens.
        few: tokens.
        more: tokens.
    """
    generate(few)
    short, long = count(profiled(generate, few)), count(profiled(generate, more))
    steps = more - few
    return Kernels(
        round((long.count - short.count) / steps), max(0.0, long.seconds - short.seconds) / steps
    )


def profiled(generate: Callable[[int], object], tokens: int) -> Any:
    """The profiler's events of writing that many tokens."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        generate(tokens)
        torch.cuda.synchronize()
    return profiler.events()


def count(events: Iterable[Any]) -> Kernels:
    """What ran on the GPU, among a profiler's events."""
    ran = [
        event
        for event in events
        if event.device_type.name == "CUDA" and not getattr(event, "is_user_annotation", False)
    ]
    return Kernels(len(ran), sum(event.time_range.elapsed_us() for event in ran) / 1e6)


def launch_share(kernels: Kernels, step_seconds: float) -> float:
    """Share of a decode step in which no kernel runs: what a GPU waits for the program."""
    return max(0.0, 1.0 - kernels.seconds / step_seconds)
