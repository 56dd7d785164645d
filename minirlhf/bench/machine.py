"""What a time was measured on: without it, seconds mean nothing."""

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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kibibytes on Linux, bytes on a Mac
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
