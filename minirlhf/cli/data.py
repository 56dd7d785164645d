"""How the commands that train come to their rows: options, a report of what was dropped.

On `--resume` the options are those of the run, out of its data_report.json, unless given anew.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from minirlhf.backbone import Role
from minirlhf.cli.show import console
from minirlhf.data_rows import Data, Examples, make_rows, read_examples
from minirlhf.run_folder import DATA_REPORT, RunFolder


@dataclass(frozen=True)
class DataOptions:
    """Which rows of a data set are used.

    Attributes:
        split: of a folder or a Hub data set.
        max_rows: how many rows to look at; None = all.
        max_tokens: of prompt and response; None = what the model reads.
        keep_duplicates: also keep pairs that contradict each other.
    """

    split: str = "train"
    max_rows: int | None = None
    max_tokens: int | None = None
    keep_duplicates: bool = False


def data_options(
    out: Path,
    resume: bool,
    split: str | None = None,
    max_rows: int | None = None,
    max_tokens: int | None = None,
    keep_duplicates: bool | None = None,
) -> DataOptions:
    """What was given, else what the run in `out` has when it is resumed, else the default.

    Raises:
        ValueError: the run's data_report.json cannot be read.
    """
    file = out / DATA_REPORT
    # a run without a report is older than reports, and used every row that there was
    saved = DataOptions(keep_duplicates=resume)
    if resume and file.is_file():
        try:
            saved = DataOptions(**json.loads(file.read_text(encoding="utf-8"))["options"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"cannot read {file}: {error}") from error
    given: dict[str, Any] = {
        "split": split,
        "max_rows": max_rows,
        "max_tokens": max_tokens,
        "keep_duplicates": keep_duplicates,
    }
    return replace(saved, **{k: v for k, v in given.items() if v is not None})


def read(source: str, columns: Sequence[str], options: DataOptions) -> Examples:
    """The rows that say what they must; needs no model, so it is done before one is loaded."""
    return read_examples(source, columns, split=options.split, max_rows=options.max_rows)


def rows_for(
    roles: Sequence[Role], examples: Examples, options: DataOptions, *, response_room: int = 0
) -> Data:
    """The rows that fit all of these roles; says on the console what was dropped.

    Args:
        roles: that will read the rows.
        examples: from `read`.
        options: the longest row, what to do with duplicates.
        response_room: tokens of a response that will be sampled.
    """
    limits = [role.context for role in roles] + [options.max_tokens]
    data = make_rows(
        examples,
        roles[0].tokenizer,
        max_tokens=min((limit for limit in limits if limit is not None), default=None),
        response_room=response_room,
        keep_duplicates=options.keep_duplicates,
    )
    for line in data.report.lines():
        console.print(line, markup=False, soft_wrap=True)
    return data


def run_folder(
    out: Path, resume: bool, sources: dict[str, str], data: Data, options: DataOptions
) -> RunFolder:
    """The folder of a run on these rows."""
    report = {"options": asdict(options), **data.report.as_dict()}
    return RunFolder(out, resume=resume, sources=sources, rows=data.rows, data_report=report)
