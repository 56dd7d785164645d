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
    """SHA-256 of each role's weights: names, shapes and bytes."""
    return {name: _sha256_of_weights(role) for name, role in roles.items()}


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


def _sha256_of_weights(role: Role) -> str:
    digest = hashlib.sha256()
    for name, weight in role.named_parameters():
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}\n".encode())
        # bytes, since NumPy has no bfloat16
        data = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(data.numpy().data)
    return digest.hexdigest()
