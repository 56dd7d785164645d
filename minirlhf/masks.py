"""Which tokens count: the response mask, and averages that look at nothing else.

One boolean mask, made from lengths, decides everywhere. There are no sentinel values (no
"log-prob 1.0 means padding") and no comparison with the pad token: an answer may well contain
a token that some tokenizer also uses as padding.

Masked places are never read. They may hold NaN; the result is the same and their gradient is 0.
"""

import torch
from torch import Tensor


def response_mask_from_lengths(lengths: Tensor, width: int) -> Tensor:
    """The mask of right-padded responses: True for the first `lengths[b]` tokens of row b.

    Args:
        lengths: (B,) int, tokens; the first EOS is counted.
        width: R, the number of columns.

    Returns:
        (B, R) bool; each row is Trues, then Falses.

    Raises:
        ValueError: a length is negative or larger than `width`.

    Example:
        >>> response_mask_from_lengths(torch.tensor([2, 0]), 3)
        tensor([[ True,  True, False],
                [False, False, False]])
    """
    if lengths.numel() and not (0 <= int(lengths.min()) and int(lengths.max()) <= width):
        raise ValueError(f"lengths must lie in 0..{width}, got {lengths.tolist()}")
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def check_response_mask(response_mask: Tensor) -> None:
    """Refuse a mask that is not (B, R) bool with B ≥ 1 and rows of Trues followed by Falses.

    Raises:
        ValueError: says which of these failed, and in which row.
    """
    if response_mask.dtype != torch.bool:
        raise ValueError(f"response_mask must be bool, got {response_mask.dtype}")
    if response_mask.dim() != 2:
        raise ValueError(f"response_mask must be (B, R), got {tuple(response_mask.shape)}")
    if response_mask.shape[0] == 0:
        raise ValueError("empty batch: response_mask has 0 rows, wanted at least 1")
    gap = (response_mask[:, 1:] & ~response_mask[:, :-1]).any(dim=1)
    if gap.any():
        row = int(gap.nonzero()[0])
        raise ValueError(
            f"response_mask row {row} has a gap: a counted token after one that is not. "
            "Each row must be Trues, then Falses."
        )


def check_same_shape(response_mask: Tensor, **tensors: Tensor) -> None:
    """Refuse tensors whose shape differs from the mask's; the message names the tensor.

    Raises:
        ValueError: the first tensor whose shape differs.
    """
    wanted = tuple(response_mask.shape)
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != wanted:
            raise ValueError(
                f"{name} must have the mask's shape {wanted}, got {tuple(tensor.shape)}"
            )


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision is computed in float32; float32 and float64 stay as they are."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """`x` where counted, 0 elsewhere; NaN outside the mask vanishes, its gradient too."""
    return torch.where(mask, at_least_float32(x), 0.0)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of `x` over the counted places: Σ mask·x / Σ mask, and 0 when nothing is counted.

    Args:
        x: any shape, float.
        mask: the same shape, bool; gaps are allowed here.

    Returns:
        A scalar, in the units of `x`.

    Raises:
        ValueError: shapes differ or the mask is not bool.

    Example:
        >>> masked_mean(torch.tensor([1.0, 3.0, 99.0]), torch.tensor([True, True, False]))
        tensor(2.)
    """
    check_mask(mask, x)
    return masked(x, mask).sum() / mask.sum().clamp(min=1)


def masked_whiten(x: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Rescale the counted places to mean 0 and variance 1.

        x̂ = (x − mean) · rsqrt(var + 1e-8)      (var biased: divided by n, not n − 1)

    Args:
        x: any shape, float.
        mask: the same shape, bool; gaps are allowed here.
        shift_mean: False adds the mean back, so that only the scale changes.

    Returns:
        The shape of `x`, no unit; 0 where masked.

    Raises:
        ValueError: shapes differ or the mask is not bool.

    Reference: Ziegler et al. 2019, arXiv:1909.08593 (released code, whitening of rewards).
    """
    mean = masked_mean(x, mask)
    variance = masked_mean((masked(x, mask) - mean) ** 2, mask)
    whitened = (masked(x, mask) - mean) * torch.rsqrt(variance + 1e-8)
    if not shift_mean:
        whitened = whitened + mean
    return masked(whitened, mask)


def check_mask(mask: Tensor, x: Tensor) -> None:
    """Refuse a mask (gaps are fine here) that is not bool or not of the shape of `x`.

    Raises:
        ValueError: says what it got.
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"mask must be bool, got {mask.dtype}")
    check_same_shape(mask, x=x)
