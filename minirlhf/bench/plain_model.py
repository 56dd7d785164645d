"""What the hand-written models of the floor share: bare weights, a head, a cache, a bfloat16 twin.

Shapes: B batch, t slots, C width, V vocabulary.
"""

import copy
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from minirlhf.bench.attention import Cache, FixedCache


class PlainModel(ABC):
    """The trunk of a causal model and the head on it, as bare tensors.

    Attributes:
        parameters: every weight once.
        tokens: (V, C), the input table.
        blocks: the weights of each block.
        head: (V, C) to next-token scores, or (1, C) to a value.
        kv_heads: K, heads of keys and values.
        head_size: D, numbers per head.
    """

    parameters: list[Tensor]
    tokens: Tensor
    blocks: list[list[Tensor]]
    head: Tensor
    kv_heads: int
    head_size: int

    @abstractmethod
    def hidden_states(
        self, ids: Tensor, positions: Tensor, bias: Tensor, cache: Cache | None = None
    ) -> Tensor:
        """What the trunk knows at each slot.

        Args:
            ids: (B, t) int; new slots only where there is a cache.
            positions: (B, t) int.
            bias: (B, 1, t, slots) added to attention scores: 0 = attend, hugely negative = do not.
            cache: None, or what was read before; it takes in the new slots.

        Returns:
            (B, t, C)
        """

    def read(self, hidden: Tensor) -> Tensor:
        """(B, t, C) → (B·t, V): the head, on rows in one piece (faster than on a slice)."""
        return F.linear(hidden.flatten(0, 1), self.head)

    def new_cache(self, rows: int, slots: int) -> Cache:
        """Memory for `slots` slots of `rows` texts."""
        # matrix products come out in bfloat16 under autocast
        autocast = torch.is_autocast_enabled(self.tokens.device.type)
        dtype = torch.bfloat16 if autocast else self.tokens.dtype
        shape = self.cache_shape(rows, slots)
        keys, values = (torch.empty(shape, dtype=dtype, device=self.tokens.device) for _ in "kv")
        return Cache(keys, values)

    def new_fixed_cache(self, rows: int, slots: int, dtype: torch.dtype) -> FixedCache:
        """The same for a CUDA graph; zeros, since all of it is always read and NaN would spread."""
        shape = self.cache_shape(rows, slots)
        keys, values = (torch.zeros(shape, dtype=dtype, device=self.tokens.device) for _ in "kv")
        return FixedCache(keys, values)

    def cache_shape(self, rows: int, slots: int) -> tuple[int, int, int, int]:
        """(layers, B·K, T, D)."""
        return len(self.blocks), rows * self.kv_heads, slots, self.head_size

    def twin(self, dtype: torch.dtype) -> Self:
        """The same model with its matrices as copies in `dtype`; in its own dtype, itself.

        A decode step that is repeated by a CUDA graph would otherwise cast every weight again for
        every token.
        """
        if dtype == self.tokens.dtype:
            return self
        other = copy.copy(self)
        other.blocks = [[_lower(w, dtype) for w in block] for block in self.blocks]
        other.head = _lower(self.head, dtype)
        return other

    def refresh(self, other: "PlainModel") -> None:
        """Take over the matrices of the model that this is a twin of, as they are now."""
        if other is self:
            return
        pairs = [
            (mine, theirs)
            for block, source in zip(self.blocks, other.blocks, strict=True)
            for mine, theirs in zip(block, source, strict=True)
            if mine is not theirs
        ]
        pairs.append((self.head, other.head))
        with torch.no_grad():
            torch._foreach_copy_([a for a, _ in pairs], [b for _, b in pairs])


def _lower(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A matrix in `dtype`; norms and biases as they are."""
    return weight.detach().to(dtype) if weight.dim() == 2 else weight
