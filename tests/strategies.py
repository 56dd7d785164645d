"""Ragged batches for property tests: responses of 0..R tokens, in float32 or float64.

A batch holds one tensor for each quantity of the contract, under the contract's name. Its values
come from a seeded generator: (lengths, width, dtype, seed) names a failing example in full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from hypothesis import strategies as st
from torch import Tensor

VOCABULARY = 5
FLOATS = (torch.float32, torch.float64)


@dataclass(frozen=True)
class RaggedBatch:
    """One tensor per quantity; (B, R) unless said otherwise."""

    logits: Tensor  # (B, R, V)
    token_ids: Tensor
    log_probs: Tensor
    old_log_probs: Tensor
    ref_log_probs: Tensor
    kl: Tensor
    rewards: Tensor
    values: Tensor
    old_values: Tensor
    targets: Tensor
    advantages: Tensor
    response_mask: Tensor  # (B, R) bool
    scores: Tensor  # (B,)

    @property
    def lengths(self) -> list[int]:
        """Counted tokens of each row."""
        return [int(n) for n in self.response_mask.sum(1)]

    @property
    def tokens(self) -> int:
        """Counted tokens of the whole batch."""
        return int(self.response_mask.sum())

    def rows(self, index: list[int]) -> RaggedBatch:
        """The given rows, in the given order."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, dtype: torch.dtype) -> RaggedBatch:
        """The same numbers, held in another floating type."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        floats = {name: x.to(dtype) for name, x in tensors.items() if x.is_floating_point()}
        return replace(self, **floats)

    def on(self, device: str) -> RaggedBatch:
        """The same numbers on another device."""
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def each_per_token(self, change: Callable[[Tensor], Tensor]) -> RaggedBatch:
        """Change every per-token tensor (not `scores`); the mask too."""
        names = [f.name for f in fields(self) if f.name != "scores"]
        return replace(self, **{name: change(getattr(self, name)) for name in names})

    def with_more_columns(self, extra: int, fill: float) -> RaggedBatch:
        """`extra` uncounted columns on the right, filled with `fill` (ids with 0)."""

        def widen(x: Tensor) -> Tensor:
            shape = (x.shape[0], extra, *x.shape[2:])
            return torch.cat([x, torch.full(shape, fill if x.is_floating_point() else 0).to(x)], 1)

        return self.each_per_token(widen)

    def poisoned(self, poison: float) -> RaggedBatch:
        """`poison` wherever nothing may be read: masked places, and the score of an empty row."""
        hidden = ~self.response_mask

        def spoil(x: Tensor) -> Tensor:
            if x.dtype == torch.bool:
                return x
            if not x.is_floating_point():
                return x.masked_fill(hidden, -100)  # the usual "ignore this label" id
            return x.masked_fill(hidden.reshape(hidden.shape + (1,) * (x.dim() - 2)), poison)

        empty = ~self.response_mask.any(1)
        return replace(self.each_per_token(spoil), scores=self.scores.masked_fill(empty, poison))


def mask_of(lengths: list[int], width: int) -> Tensor:
    """(B, R) bool: `lengths[i]` Trues, then Falses."""
    return torch.arange(width) < torch.tensor(lengths)[:, None]


def make_batch(
    lengths: list[int], width: int, *, dtype: torch.dtype = torch.float64, seed: int = 0
) -> RaggedBatch:
    """A batch with the given lengths and values that depend on `seed` only."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rows = len(lengths)
    shape = (rows, width)
    log_probs = -normal(*shape).abs() - 0.1
    values = normal(*shape)
    columns = {
        "logits": normal(*shape, VOCABULARY),
        "log_probs": log_probs,
        "old_log_probs": log_probs + 0.3 * normal(*shape),  # ratios inside and outside the clip
        "ref_log_probs": log_probs + 0.5 * normal(*shape),
        "kl": 0.3 * normal(*shape),
        "rewards": normal(*shape),
        "values": values,
        "old_values": values + 0.3 * normal(*shape),
        "targets": normal(*shape),
        "advantages": normal(*shape),
        "scores": 4 * normal(rows),
    }
    return RaggedBatch(
        token_ids=torch.randint(VOCABULARY, shape, generator=generator),
        response_mask=mask_of(lengths, width),
        **{name: column.to(dtype) for name, column in columns.items()},
    )


@st.composite
def ragged_batches(
    draw: st.DrawFn,
    *,
    max_rows: int = 4,
    max_width: int = 6,
    min_tokens: int = 0,
    dtypes: tuple[torch.dtype, ...] = FLOATS,
) -> RaggedBatch:
    """1..max_rows rows of 0..max_width tokens; at least `min_tokens` counted in all."""
    width = draw(st.integers(min_tokens, max_width))
    first = draw(st.integers(min_tokens, width))
    others = draw(st.lists(st.integers(0, width), max_size=max_rows - 1))
    place = draw(st.integers(0, len(others)))
    lengths = [*others[:place], first, *others[place:]]
    dtype = draw(st.sampled_from(dtypes))
    return make_batch(lengths, width, dtype=dtype, seed=draw(st.integers(0, 2**31 - 1)))


def unit_interval() -> st.SearchStrategy[float]:
    """A discount or a λ, its two limits included and likely."""
    return st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0, allow_subnormal=False)


def assert_same(actual: Tensor, expected: Tensor | float, *, dtype: torch.dtype) -> None:
    """Equal up to the rounding of `dtype`, of that dtype, NaN never equal."""
    wanted = torch.as_tensor(expected, dtype=dtype)
    room = 1e-10 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(actual, wanted, rtol=room, atol=room)
