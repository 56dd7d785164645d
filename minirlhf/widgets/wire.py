"""Tensors on their way into a page: as JSON lists where they are small, as bytes where large."""

import math
from typing import Any

import torch
from matplotlib.font_manager import findfont, get_font
from torch import Tensor


def nested(numbers: Tensor) -> list[Any]:
    """A tensor of any shape as nested lists; None where it is not finite, as JSON has no NaN."""
    lists: list[Any] = finite(numbers.detach().double().cpu().tolist())
    return lists


def packed(numbers: Tensor) -> bytes:
    """A tensor as little-endian float32, row by row: a third of the size of its JSON."""
    flat = numbers.detach().to("cpu", torch.float32).contiguous()
    return bytes(flat.numpy().astype("<f4").tobytes())


def finite(x: Any) -> Any:
    """A number, or nested lists of them, for JSON: None where one is not finite."""
    if isinstance(x, list):
        return [finite(entry) for entry in x]
    return x if math.isfinite(x) else None


def drawable(token: str, longest: int = 12) -> str:
    """A token as matplotlib may draw it: no control character, no formula, no missing letter."""
    known = get_font(findfont("DejaVu Sans")).get_charmap()
    shown = "".join(c if c.isprintable() and ord(c) in known else "□" for c in token[:longest])
    return shown.replace("$", r"\$")
