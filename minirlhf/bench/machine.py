"""What a time was measured on: without it, seconds mean nothing."""

import contextlib
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

from minirlhf.threads import waiting_policy


def describe(device: torch.device) -> dict[str, Any]:
    """Machine, threads and versions, as plain JSON values."""
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        "threads": torch.get_num_threads(),
        "waiting_threads": waiting_policy(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        **({} if device.type == "cpu" else {"cuda": torch.version.cuda}),
    }


def processor() -> str:
    """The processor's name, as well as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def load() -> float | None:
    """Programs that wanted a core in the last minute, on average; None where nobody counts."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has no such number
        return None


def peak_memory_mib(device: torch.device) -> float | None:
    """Most memory held so far, MiB: of the process on the CPU, of the tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    status = _status()
    if "VmHWM" in status:  # `getrusage` may show what the parent process held
        return status["VmHWM"] / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kibibytes on Linux, bytes on a Mac
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def forget_peak(device: torch.device) -> None:
    """Let `peak_memory_mib` begin anew, where the system allows it (a GPU, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status() -> dict[str, int]:
    """What Linux tells of this process, KiB; nothing elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) for name, value in pairs}
