"""From text to token ids: rows of the field's usual shapes, encoded once, padded by the batch.

A row of SFT data has `prompt` and `completion`, a row of preferences `prompt`, `chosen` and
`rejected`, a row of prompts just `prompt`. They come from a JSONL file (one JSON object a line) or
from a data set on the Hub (with the extra `minirlhf[data]`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from minirlhf.batch import Prompts
from minirlhf.hub import check_hub
from minirlhf.masks import response_mask_from_lengths
from minirlhf.noise import DATA_ORDER, permutation

SFT_COLUMNS = ("prompt", "completion")
PREFERENCE_COLUMNS = ("prompt", "chosen", "rejected")
PROMPT_COLUMNS = ("prompt",)

Row = dict[str, str]
TextOrIds = str | Sequence[int]
# a row in memory may hold token ids instead of text: the only way to write a response without EOS
EncodableRow = Mapping[str, TextOrIds]


def read_rows(source: str | Path, columns: Sequence[str], *, split: str = "train") -> list[Row]:
    """Read rows of text, keeping only the named columns.

    Args:
        source: a .jsonl file, or the name of a data set on the Hub.
        columns: names that every row must have, each with text in it.
        split: of a Hub data set.

    Raises:
        ValueError: the file is missing or empty, a line is not JSON, a column is missing or is
            not text; the message names the line.
    """
    path = Path(source)
    if path.is_file():
        rows: Iterable[tuple[int, object]] = _read_jsonl(path)
    elif path.exists() or path.suffix in (".jsonl", ".json"):
        problem = "is not a file" if path.exists() else "does not exist"
        raise ValueError(f"data file {source} {problem}; wanted a .jsonl file")
    else:
        rows = _read_hub(str(source), split)
    checked = [_check_row(row, columns, source, number) for number, row in rows]
    if not checked:
        raise ValueError(f"data {source} is empty; wanted at least one row")
    return checked


def _read_jsonl(path: Path) -> list[tuple[int, object]]:
    rows: list[tuple[int, object]] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    rows.append((number, json.loads(line)))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: not valid JSON ({error.msg})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    return rows


def _read_hub(name: str, split: str) -> Iterable[tuple[int, object]]:
    try:
        import datasets
    except ImportError:
        raise ValueError(
            f"{name} is no file here; to load it from the Hub: pip install 'minirlhf[data]'"
        ) from None
    check_hub("data set", name)
    try:
        rows = datasets.load_dataset(name, split=split)
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"no file or Hub data set {name!r}: {first_line}") from error
    return enumerate(rows, start=1)


def _check_row(row: object, columns: Sequence[str], source: str | Path, number: int) -> Row:
    where = f"{source}, line {number}"
    if not isinstance(row, dict):
        raise ValueError(f'{where}: wanted an object such as {{"prompt": …}}, got {row!r:.60}')
    for column in columns:
        if column not in row:
            have = ", ".join(map(str, row)) or "none"
            raise ValueError(f"{where}: column {column!r} is missing (columns here: {have})")
        if not isinstance(row[column], str):
            raise ValueError(f"{where}: column {column!r} must be text, got {row[column]!r:.60}")
        if not row[column].strip():
            raise ValueError(f"{where}: column {column!r} is empty")
    return {column: row[column] for column in columns}


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[TextOrIds]
) -> list[list[int]]:
    """Token ids of prompts, with whatever the tokenizer puts at the start of a text (BOS)."""
    encoded = _encode(tokenizer, prompts, add_special_tokens=True)
    eos = tokenizer.eos_token_id
    # some tokenizers also end a text with EOS, which would end the response before it begins
    ids = [
        row[:-1] if isinstance(prompt, str) and len(row) > 1 and row[-1] == eos else row
        for prompt, row in zip(prompts, encoded, strict=True)
    ]
    for prompt, row in zip(prompts, ids, strict=True):
        if not row:
            raise ValueError(f"the prompt {prompt!r:.60} has no tokens")
    return ids


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
    ids = tokenizer(texts, add_special_tokens=add_special_tokens)["input_ids"] if texts else []
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


def check_lengths(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], response_tokens: int
) -> None:
    """Refuse prompts that leave no room for a response in the model's context.

    Raises:
        ValueError: names the first prompt that is too long.
    """
    context = getattr(model.config, "max_position_embeddings", None)
    for number, row in enumerate(prompts, start=1):
        if context is not None and len(row) + response_tokens > context:
            raise ValueError(
                f"prompt {number} has {len(row)} tokens; with a response of {response_tokens} "
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
