"""Rows said twice, and pairs labelled both ways: the majority stays, once."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from minirlhf.data import EncodableRow
from minirlhf.data_duplicates import AGAIN, BOTH_WAYS, drop_duplicates
from minirlhf.data_fit import Example
from minirlhf.data_formats import Parsed
from minirlhf.data_report import DataReport


def kept(rows: list[EncodableRow]) -> tuple[list[int], DataReport]:
    """Numbers of the rows that stay, from 1."""
    report = DataReport("rows.jsonl", "line")
    numbered = [(Example(i, Parsed("", "", {})), row) for i, row in enumerate(rows, start=1)]
    return [example.number for example, _ in drop_duplicates(numbered, report)], report


def pair(text: str, prompt: str = "p") -> EncodableRow:
    return {"prompt": prompt, "chosen": text[0], "rejected": text[1]}


def test_the_first_of_equal_rows_stays() -> None:
    rows: list[EncodableRow] = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}, {"prompt": "a"}]
    numbers, report = kept(rows)
    assert numbers == [1, 2] and report.counts == {AGAIN: 2}
    assert report.examples[AGAIN][0].detail == "the same as line 1"
    assert kept([{"prompt": "a", "completion": "b"}, {"prompt": "b", "completion": "a"}])[0] == [
        1,
        2,
    ]
    ids: list[EncodableRow] = [{"prompt": [1, 2]}, {"prompt": [1, 2]}, {"prompt": [1]}]
    assert kept(ids)[0] == [1, 3]


def test_the_label_that_was_given_more_often_stays_once() -> None:
    numbers, report = kept([pair("ba"), pair("ab"), pair("cd"), pair("ab"), pair("ab", "q")])
    assert numbers == [2, 3, 5]
    assert report.counts == {BOTH_WAYS: 1, AGAIN: 1}
    (first,) = report.examples[BOTH_WAYS]
    assert first.row == 1 and first.detail == "labelled the other way 2 times, this way once"


def test_nothing_stays_of_a_tie() -> None:
    numbers, report = kept([pair("ab"), pair("ba"), pair("ab"), pair("cd"), pair("ba")])
    assert numbers == [4] and report.counts == {BOTH_WAYS: 4}


@given(st.lists(st.sampled_from(["ab", "ba", "ac", "ca", "bc"]), max_size=12))
def test_what_stays_is_what_most_people_said(texts: list[str]) -> None:
    numbers, report = kept([pair(text) for text in texts])
    times = Counter(texts)
    majority = [text for text in times if times[text] > times[text[::-1]]]
    assert sorted(texts[n - 1] for n in numbers) == sorted(majority)
    assert all(texts.index(texts[n - 1]) == n - 1 for n in numbers)  # the first of each
    assert len(numbers) + report.dropped == len(texts)
    again = kept([pair(texts[n - 1]) for n in numbers])
    assert again[0] == list(range(1, len(numbers) + 1))  # nothing more to drop
