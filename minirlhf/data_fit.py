"""Rows in the tokenizer's words: which of them fit the model, and which cannot be learned from.

A row fits when its prompt and its longest response, EOS included, have no more tokens than the
model reads; where responses are sampled, a prompt must leave room for one of those, too. Nothing
is cut short: an answer without its end would teach never to end.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from minirlhf.data import EncodableRow, TextOrIds, encode_responses, prompt_ids
from minirlhf.data_chat import encode_chat
from minirlhf.data_formats import EMPTY, SAME, Parsed
from minirlhf.data_report import BadRow, DataReport

NO_FIT, EOS_INSIDE = "too long", "EOS inside a response"

CHARACTERS_PER_TOKEN = 100
"""Of a text in any language, on average, and far more. What exceeds it is too long, uncounted."""

AT_ONCE = 1_000_000
"""Characters that are handed to the tokenizer at once, about."""


class Example(NamedTuple):
    """A row that was understood: its number in the source, and what it says."""

    number: int
    parsed: Parsed

    def content(self) -> dict[str, object]:
        """The row, for an excerpt."""
        return {"prompt": self.parsed.prompt, **self.parsed.responses}

    def characters(self) -> int:
        """Of the longest text that it makes: the prompt with its longest response."""
        prompt = self.parsed.prompt
        texts = [prompt] if isinstance(prompt, str) else [one["content"] for one in prompt]
        return sum(map(len, texts)) + max(map(len, self.parsed.responses.values()), default=0)


class Limits(NamedTuple):
    """How long rows may be.

    Attributes:
        max_tokens: of prompt and response together; None = no limit.
        response_room: tokens that a prompt leaves free for a sampled response.
    """

    max_tokens: int | None = None
    response_room: int = 0


def fitting_rows(
    examples: Iterable[Example],
    tokenizer: PreTrainedTokenizerBase,
    limits: Limits,
    report: DataReport,
) -> Iterator[tuple[Example, EncodableRow]]:
    """The rows that fit, each with its example; the others are dropped in the report."""
    chunk: list[Example] = []
    size = 0
    for example in examples:
        characters = example.characters()
        if limits.max_tokens and characters > CHARACTERS_PER_TOKEN * limits.max_tokens:
            detail = f"{characters:,} characters are more than {limits.max_tokens} tokens can be"
            report.drop(example.number, BadRow(NO_FIT, detail), example.content())
            continue
        chunk.append(example)
        size += characters
        if size > AT_ONCE:
            yield from _fitting_chunk(chunk, tokenizer, limits, report)
            chunk, size = [], 0
    yield from _fitting_chunk(chunk, tokenizer, limits, report)


def _fitting_chunk(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    limits: Limits,
    report: DataReport,
) -> Iterator[tuple[Example, EncodableRow]]:
    """One call of the tokenizer for many texts, then each row by itself."""
    rows: list[tuple[Example, dict[str, TextOrIds]]] = []
    for example in examples:
        try:
            rows.append((example, _as_row(example.parsed, tokenizer)))
        except BadRow as problem:
            report.drop(example.number, problem, example.content())
    prompts = prompt_ids(tokenizer, [row["prompt"] for _, row in rows])
    texts = [row[column] for example, row in rows for column in example.parsed.responses]
    responses = iter(encode_responses(tokenizer, texts))
    for (example, row), prompt in zip(rows, prompts, strict=True):
        answers = {column: next(responses) for column in example.parsed.responses}
        try:
            _check(prompt, answers, limits, int(tokenizer.eos_token_id))
        except BadRow as problem:
            report.drop(example.number, problem, example.content())
        else:
            yield example, row


def _as_row(parsed: Parsed, tokenizer: PreTrainedTokenizerBase) -> dict[str, TextOrIds]:
    """Texts as they are, a chat as token ids."""
    if isinstance(parsed.prompt, str):
        return {"prompt": parsed.prompt, **parsed.responses}
    prompt, answers = encode_chat(tokenizer, parsed.prompt, list(parsed.responses.values()))
    return {"prompt": prompt, **dict(zip(parsed.responses, answers, strict=True))}


def _check(prompt: Sequence[int], answers: dict[str, list[int]], limits: Limits, eos: int) -> None:
    """Refuse a row that does not fit, or whose response ends before its end.

    Raises:
        BadRow: says which.
    """
    if not prompt:
        raise BadRow(EMPTY, "column 'prompt' has no tokens")
    for column, ids in answers.items():
        if len(ids) < 2:
            raise BadRow(EMPTY, f"column {column!r} has no tokens but EOS")
        if eos in ids[:-1]:
            raise BadRow(EOS_INSIDE, f"column {column!r} has the EOS token in the middle")
    if len(answers) == 2 and len(set(map(tuple, answers.values()))) == 1:
        raise BadRow(SAME, "chosen and rejected are the same tokens")
    room = max(limits.response_room, *map(len, answers.values()), 0)
    if limits.max_tokens is not None and len(prompt) + room > limits.max_tokens:
        raise BadRow(
            NO_FIT,
            f"a prompt of {len(prompt)} tokens and a response of {room} are more than the "
            f"{limits.max_tokens} that fit",
        )
