"""Rows that say what another row has said, or the opposite of it.

    the same row again                 the first stays
    a pair labelled both ways          the label that was given more often stays, once
    as often one way as the other      nothing stays: nobody knows which is right

Two pairs are labelled both ways when they have the same prompt and the same two responses, one
chosen here and the other there.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from minirlhf.data import EncodableRow, TextOrIds
from minirlhf.data_fit import Example
from minirlhf.data_report import BadRow, DataReport

AGAIN, BOTH_WAYS = "the same as an earlier row", "a pair labelled both ways"

Key = tuple[str | tuple[int, ...], ...]


def drop_duplicates(
    rows: Iterable[tuple[Example, EncodableRow]], report: DataReport
) -> Iterator[tuple[Example, EncodableRow]]:
    """The rows that stay, in their order; the others are dropped in the report.

    Args:
        rows: each with the example that it was made of.
        report: what is dropped is counted there.
    """
    keyed = [(example, row, _key(row.values())) for example, row in rows]
    times = Counter(key for _, _, key in keyed)
    first: dict[Key, int] = {}
    for example, row, key in keyed:
        number = first.setdefault(key, example.number)
        opposite = (key[0], *reversed(key[1:]))
        if opposite != key and times[opposite] >= times[key]:
            detail = (
                f"labelled the other way {_times(times[opposite])}, this way {_times(times[key])}"
            )
            report.drop(example.number, BadRow(BOTH_WAYS, detail), example.content())
        elif number != example.number:
            again = BadRow(AGAIN, f"the same as {report.unit} {number}")
            report.drop(example.number, again, example.content())
        else:
            yield example, row


def _key(values: Iterable[TextOrIds]) -> Key:
    return tuple(value if isinstance(value, str) else tuple(value) for value in values)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
