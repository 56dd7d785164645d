"""From text to token ids: rows of three kinds, encoded once, padded by the batch.

A row of SFT data has `prompt` and `completion`, a row of preferences `prompt`, `chosen` and
`rejected`, a row of prompts just `prompt`. `minirlhf.data_rows` makes them out of what is found in
files and on the Hub.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from minirlhf.batch import Prompts
from minirlhf.masks import response_mask_from_lengths
from minirlhf.noise import DATA_ORDER, permutation

SFT_COLUMNS = ("prompt", "completion")
PREFERENCE_COLUMNS = ("prompt", "chosen", "rejected")
PROMPT_COLUMNS = ("prompt",)

Row = dict[str, str]
TextOrIds = str | Sequence[int]
# a row in memory may hold token ids instead of text: the only way to write a response without EOS
EncodableRow = Mapping[str, TextOrIds]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[TextOrIds]
) -> list[list[int]]:
    """Token ids of prompts, with whatever the tokenizer puts at the start of a text (BOS).

    Raises:
        ValueError: a prompt has no tokens.
    """
    ids = prompt_ids(tokenizer, prompts)
    for prompt, row in zip(prompts, ids, strict=True):
        if not row:
            raise ValueError(f"the prompt {prompt!r:.60} has no tokens")
    return ids


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[TextOrIds]) -> list[list[int]]:
    """`encode_prompts`, where a prompt may turn out to have no tokens."""
    encoded = _encode(tokenizer, prompts, add_special_tokens=True)
    eos = tokenizer.eos_token_id
    # some tokenizers also end a text with EOS, which would end the response before it begins
    return [
        row[:-1] if isinstance(prompt, str) and len(row) > 1 and row[-1] == eos else row
        for prompt, row in zip(prompts, encoded, strict=True)
    ]


def encode_responses(
    tokenizer: PreTrainedTokenizerBase, responses: Sequence[TextOrIds]
) -> list[list[int]]:
    """Token ids of responses: a text is complete, so EOS follows; token ids stay as they are."""
    encoded = _encode(tokenizer, responses, add_special_tokens=False)
    eos = int(tokenizer.eos_token_id)
    return [
        [*row, eos] if isinstance(response, str) else row
        for response, row in zip(responses, encoded, strict=True)
    ]


def _encode(
    tokenizer: PreTrainedTokenizerBase, items: Sequence[TextOrIds], *, add_special_tokens: bool
) -> list[list[int]]:
    """Texts as token ids; token ids as they are."""
    texts = [item for item in items if isinstance(item, str)]
    ids: list[list[int]] = []
    if texts:
        # verbose: what does not fit is refused or dropped by us, with a number
        ids = tokenizer(texts, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    encoded = iter(ids)
    return [next(encoded) if isinstance(item, str) else list(item) for item in items]


def pad_prompts(ids: Sequence[Sequence[int]], pad_token_id: int) -> Prompts:
    """Pad on the left, so that all prompts end at the same slot: (B, P) ids and mask."""
    width = max(map(len, ids))
    lengths = torch.tensor([len(row) for row in ids])
    padded = [[pad_token_id] * (width - len(row)) + list(row) for row in ids]
    return Prompts(torch.tensor(padded), response_mask_from_lengths(lengths, width).flip(1))


def pad_responses(ids: Sequence[Sequence[int]], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """Pad on the right: (B, R) ids and (B, R) bool mask, made from the lengths."""
    width = max(map(len, ids))
    lengths = torch.tensor([len(row) for row in ids])
    padded = [list(row) + [pad_token_id] * (width - len(row)) for row in ids]
    return torch.tensor(padded), response_mask_from_lengths(lengths, width)


def decode_responses(
    tokenizer: PreTrainedTokenizerBase, response_ids: Tensor, response_mask: Tensor
) -> list[str]:
    """The text of each response, without special tokens."""
    rows = [ids[mask].tolist() for ids, mask in zip(response_ids, response_mask, strict=True)]
    return tokenizer.batch_decode(rows, skip_special_tokens=True)


def prompt_text(tokenizer: PreTrainedTokenizerBase, prompt: TextOrIds) -> str:
    """A prompt for people: a text as it is, token ids as the text that they stand for."""
    return prompt if isinstance(prompt, str) else str(tokenizer.decode(list(prompt)))


def check_lengths(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    response_tokens: int | Sequence[int],
) -> None:
    """Refuse prompts that leave no room for their response in the model's context.

    Args:
        model: the one that has to read both.
        prompts: token ids.
        response_tokens: the longest response to any of them, or one length for each.

    Raises:
        ValueError: names the first prompt that is too long.
    """
    context = getattr(model.config, "max_position_embeddings", None)
    each = [response_tokens] * len(prompts) if isinstance(response_tokens, int) else response_tokens
    for number, (row, room) in enumerate(zip(prompts, each, strict=True), start=1):
        if context is not None and len(row) + room > context:
            raise ValueError(
                f"prompt {number} has {len(row)} tokens; with a response of {room} "
                f"it does not fit into the model's context of {context}. Shorten one of them."
            )


def batch_rows(n: int, batch_size: int, *, seed: int, batch: int) -> list[int]:
    """Row numbers of one batch of an endless, reshuffled walk through n rows.

    Args:
        n: number of rows.
        batch_size: rows wanted; may exceed n.
        seed: of the shuffles.
        batch: 0, 1, …: which batch; any batch can be asked for directly.
    """
    start = batch * batch_size
    wanted = range(start, start + batch_size)
    orders = {
        epoch: permutation(n, seed, DATA_ORDER, epoch)
        for epoch in range(start // n, (start + batch_size - 1) // n + 1)
    }
    return [orders[i // n][i % n] for i in wanted]
