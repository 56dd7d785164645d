"""From any data set to rows that trainers take, and a report of the rows that were dropped.

    data = load_rows("pairs.jsonl", PREFERENCE_COLUMNS, tokenizer, max_tokens=1024)
    trainer = RewardModelTrainer(reward_model, data.rows)
    print(*data.report.lines(), sep="; ")

Two steps, since the first needs no model: `read_examples` reads rows and understands them, and
`make_rows` brings them into the tokenizer's words and drops what does not fit, duplicates and
contradictions. The same data and options give the same rows in the same order; what is wrong with
one row never changes what another one becomes.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from minirlhf.data import EncodableRow, Row
from minirlhf.data_chat import check_chat_template
from minirlhf.data_duplicates import drop_duplicates
from minirlhf.data_fit import Example, Limits, fitting_rows
from minirlhf.data_formats import READ_COLUMNS, parser_of
from minirlhf.data_report import BadRow, DataReport
from minirlhf.data_sources import open_source

MINORITY = "of another shape than most rows"


@dataclass
class Examples:
    """The rows of a data set that say what rows of its kind must say.

    Attributes:
        columns: of the rows to be made.
        rows: all of one shape.
        report: what became of the others.
    """

    columns: Sequence[str]
    rows: list[Example]
    report: DataReport


class Data(NamedTuple):
    """Rows for a trainer, and what became of the others."""

    rows: list[EncodableRow]
    report: DataReport


def load_rows(
    source: str | Path,
    columns: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    split: str = "train",
    max_rows: int | None = None,
    max_tokens: int | None = None,
    response_room: int = 0,
    keep_duplicates: bool = False,
) -> Data:
    """`read_examples`, then `make_rows`; see there."""
    examples = read_examples(source, columns, split=split, max_rows=max_rows)
    return make_rows(
        examples,
        tokenizer,
        max_tokens=max_tokens,
        response_room=response_room,
        keep_duplicates=keep_duplicates,
    )


def read_examples(
    source: str | Path, columns: Sequence[str], *, split: str = "train", max_rows: int | None = None
) -> Examples:
    """Read rows in any shape that `minirlhf.data_formats` knows.

    A row is dropped, and counted in the report, when it cannot be read, does not say what it must,
    or has another shape than most rows (a chat among plain texts, a pair without a prompt of its
    own among pairs that have one): what its prompt is would be a guess.

    Args:
        source: a .jsonl, .json, .parquet or .csv file, a folder, or the name of a data set on the
            Hub; see `minirlhf.data_sources`.
        columns: SFT_COLUMNS, PREFERENCE_COLUMNS or PROMPT_COLUMNS.
        split: of a folder or a Hub data set.
        max_rows: how many rows to look at; the rest is not read. None = all.

    Raises:
        ValueError: there is no such data set, it is empty, or none of its rows can be used.
    """
    parse, known = parser_of(columns), READ_COLUMNS[tuple(columns)]
    opened = open_source(source, split=split, max_rows=max_rows)
    report = DataReport(str(source), opened.unit)
    rows: list[Example] = []
    for number, row, content in opened.rows:
        report.read += 1
        try:
            if isinstance(row, BadRow):
                raise row
            rows.append(Example(number, parse(row)))
        except BadRow as problem:
            report.drop(number, problem, content)
        if not isinstance(row, BadRow):
            report.note_unused(name for name in row if name not in known)
    kept = list(_of_one_shape(rows, report))
    report.kept = len(kept)
    report.refuse_nothing_left()
    return Examples(columns, kept, report)


def _of_one_shape(rows: Sequence[Example], report: DataReport) -> Iterator[Example]:
    """The rows of the most frequent shape; of equally frequent ones, of that which came first."""
    shapes = Counter(row.parsed.layout for row in rows).most_common()
    for row in rows:
        if row.parsed.layout == shapes[0][0]:
            yield row
        else:
            detail = f"it has {row.parsed.layout}, most rows have {shapes[0][0]}"
            report.drop(row.number, BadRow(MINORITY, detail), row.content())


def make_rows(
    examples: Examples,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_tokens: int | None = None,
    response_room: int = 0,
    keep_duplicates: bool = False,
) -> Data:
    """Rows that a trainer takes: texts as they are, chats as token ids.

    Args:
        examples: as `read_examples` gives them; their report is carried on.
        tokenizer: of the model that will read the rows.
        max_tokens: drop rows whose prompt and longest response have more; the model's context, or
            less. None = no limit.
        response_room: tokens that a prompt must leave free for a response that will be sampled.
        keep_duplicates: keep rows that are there already, and pairs that contradict each other:
            right where many people judged the same pairs, since their number counts then.

    Raises:
        ValueError: no row is left, or the tokenizer has no chat template and the data are chats.
    """
    report = examples.report
    if any(isinstance(row.parsed.prompt, list) for row in examples.rows):
        check_chat_template(tokenizer)
    made = fitting_rows(examples.rows, tokenizer, Limits(max_tokens, response_room), report)
    if not keep_duplicates:
        made = drop_duplicates(made, report)
    rows = [row for _, row in made]
    report.kept = len(rows)
    report.refuse_nothing_left()
    return Data(rows, report)


def read_rows(source: str | Path, columns: Sequence[str]) -> list[Row]:
    """Read rows of plain text from a data set in which nothing may be wrong, such as one of ours.

    Args:
        source: as for `read_examples`.
        columns: that every row must have; one of the three kinds.

    Raises:
        ValueError: there is no such data set, it is empty, or a row is bad; names the first.
    """
    examples = read_examples(source, columns)
    problem = examples.report.first_problem()
    if problem is not None:
        raise ValueError(problem)
    rows: list[Row] = []
    for number, parsed in examples.rows:
        if not isinstance(parsed.prompt, str):
            raise ValueError(f"{examples.report.where(number)}: column 'prompt' must be text")
        rows.append({"prompt": parsed.prompt, **parsed.responses})
    return rows
