"""Whether two results are the same, and in words where they differ."""

import math
from typing import Any

import torch


def difference(got: Any, want: Any, tolerance: float) -> str | None:
    """What differs between a learner's result and the right one; None if nothing does.

    Args:
        got: the learner's.
        want: the right one: a tensor, number, string, truth value, or a tuple, list or set of them.
        tolerance: absolute and relative, for numbers.
    """
    if isinstance(want, torch.Tensor):
        return _tensors(got, want, tolerance)
    if isinstance(want, bool | str) or want is None:
        return None if got == want and type(got) is type(want) else _unequal(got, want)
    if isinstance(want, int | float):
        return _numbers(got, want, tolerance)
    if isinstance(want, set | frozenset):
        same = isinstance(got, set | frozenset | list | tuple) and set(got) == want
        return None if same else _unequal(got, want)
    if isinstance(want, tuple | list):
        if not isinstance(got, tuple | list):
            return f"wanted {len(want)} values, got {kind_of(got)}"
        if len(got) != len(want):
            return f"wanted {len(want)} values, got {len(got)}"
        pairs = [difference(g, w, tolerance) for g, w in zip(got, want, strict=True)]
        return next((f"value {i}: {d}" for i, d in enumerate(pairs) if d), None)
    return None if got == want else _unequal(got, want)


def _tensors(got: Any, want: torch.Tensor, tolerance: float) -> str | None:
    if isinstance(got, bool | int | float) and want.ndim == 0:
        got = torch.tensor(got)
    if not isinstance(got, torch.Tensor):
        return f"wanted a tensor of shape {tuple(want.shape)}, got {kind_of(got)}"
    if got.shape != want.shape:
        return f"wanted shape {tuple(want.shape)}, got {tuple(got.shape)}"
    if want.dtype == torch.bool and got.dtype != torch.bool:
        return f"wanted a tensor of True and False, got {got.dtype}"
    got, want = got.detach().double(), want.detach().double()
    if got.isnan().any() and not want.isnan().any():
        return f"there is a NaN in it: {brief(got)}"
    if torch.allclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True):
        return None
    return f"got    {brief(got)}\nwanted {brief(want)}"


def _numbers(got: Any, want: float, tolerance: float) -> str | None:
    if isinstance(got, torch.Tensor) and got.numel() == 1:
        got = got.item()
    if isinstance(got, bool) or not isinstance(got, int | float):
        return f"wanted a number, got {kind_of(got)}"
    close = math.isclose(got, want, rel_tol=tolerance, abs_tol=tolerance)
    return None if close else f"got {got:.4g}, wanted {want:.4g}"


def holds_nan(value: Any) -> bool:
    """Whether there is a NaN in it: a number, a tensor, or a tuple or list of them."""
    if isinstance(value, torch.Tensor):
        return bool(value.isnan().any())
    if isinstance(value, tuple | list):
        return any(map(holds_nan, value))
    return isinstance(value, float) and math.isnan(value)


def _unequal(got: Any, want: Any) -> str:
    return f"got {brief(got)}, wanted {brief(want)}"


def kind_of(value: Any) -> str:
    """A short name for what this is."""
    return "nothing (None)" if value is None else f"a {type(value).__name__}"


def brief(value: Any) -> str:
    """The value in one line; numbers with at most three decimals."""
    if isinstance(value, torch.Tensor):
        return _rounded(value.detach().tolist())
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(repr, value))) + "}"
    return _rounded(value)


def _rounded(value: Any) -> str:
    if isinstance(value, list | tuple):
        shown = [_rounded(one) for one in value[:8]] + (["…"] if len(value) > 8 else [])
        return f"[{', '.join(shown)}]"
    if isinstance(value, float):
        return f"{value:z.3g}" if math.isfinite(value) else str(value)
    return repr(value)
