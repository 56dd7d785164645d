"""Exercises of notebook 01: which tokens count."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="01",
    title="How long is an answer?",
    difficulty=3,
    importance=4,
    minutes=8,
    task="""
        `response_ids` (B, R) are sampled answers. The first EOS ends an answer **and counts**: it
        was an action like any other. Return the number of counted tokens of each row, (B,) int. A
        row without EOS counts whole; what stands behind the first EOS is filling, and may be
        anything.
        """,
    hints=(
        "A token counts if no EOS stands *before* it. How do you count the EOS before each place?",
        "`is_eos.cumsum(1)` counts the EOS up to and including a place; take off `is_eos` itself.",
    ),
    remark="""
        In practice you seldom need this: the loop that samples knows when a row ended, and counts
        along. What you must not do is compare with the filling token afterwards.
        """,
)
def response_lengths(response_ids: Tensor, eos_token_id: int) -> Tensor:
    """Counted tokens of each row, first EOS included: (B,) int, from ids (B, R)."""
    is_eos = (response_ids == eos_token_id).long()
    eos_before = is_eos.cumsum(dim=1) - is_eos
    return (eos_before == 0).sum(dim=1)


@response_lengths.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("two words, EOS, filling", torch.tensor([[4, 2, 9, 9, 9]]), 9)
    yield Case("cut: no EOS", torch.tensor([[4, 2, 5]]), 9)
    yield Case("EOS at once", torch.tensor([[9, 9, 9]]), 9)
    yield Case("EOS is the last token", torch.tensor([[1, 2, 9]]), 9)
    yield Case("the filling is a word", torch.tensor([[4, 9, 0, 0, 0]]), 9)
    yield Case("another EOS in the filling", torch.tensor([[9, 0, 9, 0], [1, 2, 3, 4]]), 9)
    yield Case("random", draw.ids(4, 6, 7), 3)


@response_lengths.wrong(
    "You left the EOS out, as if it were filling. But the model chose it, and must learn when to "
    "choose it: a model whose EOS never counts never learns to stop."
)
def _(response_ids: Tensor, eos_token_id: int) -> Tensor:
    is_eos = (response_ids == eos_token_id).long()
    return (is_eos.cumsum(dim=1) == 0).sum(dim=1)


@response_lengths.wrong(
    "You counted all tokens that are not EOS, wherever they stand. Behind the first EOS nothing "
    "counts, and the first EOS itself does."
)
def _(response_ids: Tensor, eos_token_id: int) -> Tensor:
    return (response_ids != eos_token_id).sum(dim=1)


@response_lengths.wrong("You count to the last EOS. The first one ended the answer.")
def _(response_ids: Tensor, eos_token_id: int) -> Tensor:
    places = torch.arange(1, response_ids.shape[1] + 1)
    last = torch.where(response_ids == eos_token_id, places, 0).sum(dim=1) * 0
    for row, ids in enumerate(response_ids.tolist()):
        found = [place for place, token in enumerate(ids, start=1) if token == eos_token_id]
        last[row] = found[-1] if found else len(ids)
    return last


@response_lengths.wrong(
    "In a row without EOS, argmax finds its maximum 0 at the first place. Such a row counts whole."
)
def _(response_ids: Tensor, eos_token_id: int) -> Tensor:
    return (response_ids == eos_token_id).long().argmax(dim=1) + 1


@exercise(
    notebook="01",
    title="The mask, from lengths",
    difficulty=1,
    importance=5,
    minutes=4,
    task="""
        Make the response mask (B, R) bool: row $b$ is True in its first `lengths[b]` places and
        False behind them. `width` is R. No token id is looked at.
        """,
    hints=(
        "The places are `torch.arange(width)`. Which of them count in a row of length 2?",
        "Compare (R,) places with (B, 1) lengths: `lengths[:, None]`; PyTorch does the rest.",
    ),
    remark="`minirlhf.masks.response_mask_from_lengths` also refuses lengths that cannot be.",
)
def response_mask_from_lengths(lengths: Tensor, width: int) -> Tensor:
    """(B, R) bool: True for the first lengths[b] of `width` places. lengths (B,) int."""
    return torch.arange(width) < lengths[:, None]


@response_mask_from_lengths.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("lengths 2 and 3", torch.tensor([2, 3]), 4)
    yield Case("a row without a token", torch.tensor([0, 1]), 2)
    yield Case("a full row", torch.tensor([3]), 3)
    yield Case("no width", torch.tensor([0, 0]), 0)
    yield Case("random", draw.ids(7, 5), 6)


@response_mask_from_lengths.wrong(
    "One place too many: places are numbered from 0, so place number `length` does not count."
)
def _(lengths: Tensor, width: int) -> Tensor:
    return torch.arange(width) <= lengths[:, None]


@response_mask_from_lengths.wrong("One place too few: the last counted token is missing.")
def _(lengths: Tensor, width: int) -> Tensor:
    return torch.arange(1, width + 1) < lengths[:, None]


@response_mask_from_lengths.wrong("The wrong way round: True must mean counted, not filling.")
def _(lengths: Tensor, width: int) -> Tensor:
    return torch.arange(width) >= lengths[:, None]


@response_mask_from_lengths.wrong(
    "The counted places must stand at the left: responses are padded on the right."
)
def _(lengths: Tensor, width: int) -> Tensor:
    return (torch.arange(width) < lengths[:, None]).flip(1)
