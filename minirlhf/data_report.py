"""What became of the rows of a data set: how many are used, which were dropped, and why.

    data          pairs.jsonl: 1,846 of 2,003 rows
      dropped 41: not valid JSON (lines 3, 8, 19, 24, 31, …)
          line 3: not valid JSON (Unterminated string starting at), '{"prompt": "the'

Bad rows are no error while good ones are left; they are counted here by reason, the first few with
their number and a short excerpt. Excerpts are `repr`s: text from data is text, never obeyed.
"""

import reprlib
from bisect import insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

FIRST = 10  # dropped rows of each reason that are remembered with detail and excerpt
NUMBERS = 1000  # of each reason whose number is remembered
SHOWN = 5  # of those, in the printed line
EXCERPT = 100  # characters
MOST_NAMES = 8  # of columns, in the printed line


class BadRow(ValueError):
    """A row that cannot be used.

    Args:
        reason: what such rows are counted under; the same words for every row of the kind.
        detail: about this row; the reason when left out.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


@dataclass(frozen=True)
class Dropped:
    """One dropped row: its number, from 1; what is wrong with it; how it begins."""

    row: int
    detail: str
    excerpt: str


@dataclass
class DataReport:
    """What became of each row.

    Attributes:
        source: file, folder or name, as given.
        unit: what rows are counted in: "line" of a file, else "row".
        read: rows that were looked at.
        kept: rows that can be used.
        counts: dropped rows by reason.
        numbers: by reason, which rows: the first `NUMBERS` of them, in order.
        examples: by reason, the first `FIRST` dropped rows, in order.
        unused_columns: columns that are not read, and in how many rows each is.
    """

    source: str
    unit: str = "row"
    read: int = 0
    kept: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    examples: dict[str, list[Dropped]] = field(default_factory=dict)
    unused_columns: Counter[str] = field(default_factory=Counter)

    @property
    def dropped(self) -> int:
        """Rows that are not used."""
        return self.counts.total()

    def drop(self, row: int, problem: BadRow, content: object) -> None:
        """Count a row as dropped.

        Args:
            row: its number, from 1.
            problem: what is wrong with it.
            content: the row, for the excerpt.
        """
        self.counts[problem.reason] += 1
        numbers = self.numbers.setdefault(problem.reason, [])
        insort(numbers, row)
        first = self.examples.setdefault(problem.reason, [])
        if numbers.index(row) < FIRST:
            insort(first, Dropped(row, str(problem), excerpt(content)), key=lambda one: one.row)
        del numbers[NUMBERS:], first[FIRST:]

    def note_unused(self, columns: Iterable[str]) -> None:
        """Count columns of one row that nobody reads."""
        names = (
            name if name.isprintable() and len(name) <= EXCERPT else excerpt(name)
            for name in columns
        )
        self.unused_columns.update(names)

    def where(self, row: int) -> str:
        """A row as messages name it: "pairs.jsonl, line 3"."""
        return f"{self.source}, {self.unit} {row}"

    def first_problem(self) -> str | None:
        """What is wrong with the first dropped row, and where it is; None when all are used."""
        found = [one for rows in self.examples.values() for one in rows]
        first = min(found, key=lambda one: one.row, default=None)
        return None if first is None else f"{self.where(first.row)}: {first.detail}"

    def refuse_nothing_left(self) -> None:
        """Refuse to go on with no row at all.

        Raises:
            ValueError: says what is wrong with the first row, and how many have other problems.
        """
        problem = self.first_problem()
        if self.read == 0 or problem is None:
            if self.read == 0:
                raise ValueError(f"data {self.source} is empty; wanted at least one row")
            return
        if self.dropped < self.read:
            return
        if self.read > 1:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.counts.most_common(3))
            problem += f". None of the {self.read:,} rows can be used ({reasons})"
        raise ValueError(problem)

    def lines(self) -> list[str]:
        """The report for people: one line, and one more for each reason."""
        rows = "row" if self.read == 1 else "rows"
        count = f"{self.read:,}" if self.kept == self.read else f"{self.kept:,} of {self.read:,}"
        lines = [f"{'data':<14}{self.source}: {count} {rows}"]
        for reason, number in self.counts.most_common():
            first = self.examples[reason][0]
            numbers = ", ".join(map(str, self.numbers[reason][:SHOWN]))
            more = ", …" if number > SHOWN else ""
            plural = "s" if number > 1 else ""
            detail = "" if first.detail == reason else f"{first.detail}, "
            lines += [
                f"  dropped {number:,}: {reason} ({self.unit}{plural} {numbers}{more})",
                f"      {self.unit} {first.row}: {detail}{first.excerpt}",
            ]
        if self.unused_columns:
            names = list(self.unused_columns)
            more = ", …" if len(names) > MOST_NAMES else ""
            lines.append(f"  columns not used: {', '.join(names[:MOST_NAMES])}{more}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return {
            "source": self.source,
            "rows_read": self.read,
            "rows_used": self.kept,
            "dropped": {
                reason: {
                    "count": number,
                    "rows": self.numbers[reason],
                    "first": [vars(one) for one in self.examples[reason]],
                }
                for reason, number in self.counts.items()
            },
            "unused_columns": dict(self.unused_columns),
        }


def excerpt(content: object) -> str:
    """How something from a data set begins, as a short `repr`, whatever its size or depth.

    Example:
        >>> excerpt({"prompt": "the soup", "chosen": "x" * 10**6})
        "{'prompt': 'the soup', 'chosen': 'xxxxxxxxxxxx...xxxxxxxxxxxxx'}"
    """
    text = _SHORT.repr(content)
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"


class _Short(reprlib.Repr):
    """Short `repr`s; columns stay in the row's own order, unlike in reprlib's."""

    maxstring, maxother, maxlevel, maxdict = 40, 40, 3, 6

    def repr_dict(self, row: dict[Any, Any], level: int) -> str:
        if level <= 0:
            return "{…}"
        shown = list(row.items())[: self.maxdict]
        parts = [f"{self.repr1(k, level - 1)}: {self.repr1(v, level - 1)}" for k, v in shown]
        return "{" + ", ".join(parts + ["…"][: len(row) > self.maxdict]) + "}"


_SHORT = _Short()
