"""What a result depends on besides its settings: versions, threads, device, weights and data."""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import transformers

import minirlhf
from minirlhf.backbone import Role
from minirlhf.loading import weights_digest


def environment(device: torch.device) -> dict[str, Any]:
    """What may change the last digits of a result when it changes; plain JSON."""
    on_gpu = device.type == "cuda"
    return {
        "minirlhf": minirlhf.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if on_gpu else str(device),
    }


def weights_sha256(roles: Mapping[str, Role]) -> dict[str, str]:
    """SHA-256 of each role's weights: names, shapes and bytes.

    Weights that two roles share are part of both: a hash says what its role computes with.
    """
    return {name: weights_digest(role.named_parameters()) for name, role in roles.items()}


def rows_sha256(rows: Iterable[Mapping[str, object]]) -> str:
    """SHA-256 of rows of texts or token ids, each as one line of JSON with sorted keys.

    Example:
        >>> rows_sha256([{"prompt": "the soup"}])[:8]
        '03b45b86'
    """
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(dict(row), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
