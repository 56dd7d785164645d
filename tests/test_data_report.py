"""The report: every dropped row is counted, the first are named, and text from data stays text."""

import json

import pytest

from minirlhf.data_report import EXCERPT, FIRST, NUMBERS, BadRow, DataReport, excerpt


def report_of(*rows: tuple[int, str, str], read: int, unit: str = "line") -> DataReport:
    report = DataReport("rows.jsonl", unit, read=read)
    for number, reason, detail in rows:
        report.drop(number, BadRow(reason, detail), {"prompt": f"row {number}"})
    report.kept = read - len(rows)
    return report


def test_the_printed_report() -> None:
    report = report_of((7, "empty", ""), (9, "long", "9 tokens"), (3, "long", "3 tokens"), read=9)
    report.note_unused(["score", "id"])
    assert report.lines() == [
        "data          rows.jsonl: 6 of 9 rows",
        "  dropped 2: long (lines 3, 9)",
        "      line 3: 3 tokens, {'prompt': 'row 3'}",
        "  dropped 1: empty (line 7)",
        "      line 7: {'prompt': 'row 7'}",
        "  columns not used: score, id",
    ]
    assert report_of(read=1200).lines() == ["data          rows.jsonl: 1,200 rows"]
    assert report_of(read=1).lines() == ["data          rows.jsonl: 1 row"]


def test_many_rows_and_many_columns_are_cut_short() -> None:
    many = NUMBERS + 500
    report = report_of(*[(i, "empty", "") for i in range(many, 0, -1)], read=many)  # backwards
    report.note_unused(f"column{i}" for i in range(20))
    assert f"  dropped {many:,}: empty (lines 1, 2, 3, 4, 5, …)" in report.lines()
    assert report.lines()[-1].endswith("column6, column7, …")
    found = report.as_dict()["dropped"]["empty"]
    assert found["count"] == report.dropped == many
    assert found["rows"] == list(range(1, NUMBERS + 1))
    assert [one["row"] for one in found["first"]] == list(range(1, FIRST + 1))


def test_the_report_as_json() -> None:
    report = report_of((2, "long", "2 tokens"), read=3, unit="row")
    report.note_unused(["score", "a\ud800\x1b[31m", "k" * 10**5])
    said = json.loads(json.dumps(report.as_dict(), ensure_ascii=False).encode())
    assert said["source"] == "rows.jsonl" and (said["rows_read"], said["rows_used"]) == (3, 2)
    first = {"row": 2, "detail": "2 tokens", "excerpt": "{'prompt': 'row 2'}"}
    assert said["dropped"] == {"long": {"count": 1, "rows": [2], "first": [first]}}
    assert list(said["unused_columns"])[:2] == ["score", "'a\\ud800\\x1b[31m'"]
    assert all(len(name) <= EXCERPT for name in said["unused_columns"])


def test_an_excerpt_is_short_and_obeys_nothing() -> None:
    assert excerpt("\x1b[31m\ud800\n\0") == "'\\x1b[31m\\ud800\\n\\x00'"
    deep: object = "soup"
    for _ in range(900):
        deep = [deep]
    wide = {f"column {i}": "x" * 10**6 for i in range(10**3)}
    for content in (deep, wide, "y" * 10**7, list(range(10**6)), b"\xff" * 400, 10**300):
        assert len(excerpt(content)) <= EXCERPT
    assert excerpt({"prompt": "b", "chosen": [{"role": "user"}]}) == (
        "{'prompt': 'b', 'chosen': [{'role': 'user'}]}"
    )  # in the row's own order


def test_nothing_left_is_an_error_that_names_the_first_row() -> None:
    report_of((1, "empty", "it is"), read=2).refuse_nothing_left()
    report_of(read=2).refuse_nothing_left()
    with pytest.raises(ValueError, match=r"^data rows.jsonl is empty; wanted at least one row$"):
        report_of(read=0).refuse_nothing_left()
    with pytest.raises(ValueError, match=r"^rows.jsonl, line 1: it is$"):
        report_of((1, "empty", "it is"), read=1).refuse_nothing_left()
    rows = [(2, "empty", ""), (3, "long", "it is"), (1, "long", "this is")]
    wanted = r"^rows.jsonl, row 1: this is. None of the 3 rows can be used \(2 long, 1 empty\)$"
    with pytest.raises(ValueError, match=wanted):
        report_of(*rows, read=3, unit="row").refuse_nothing_left()


def test_the_first_problem() -> None:
    assert report_of(read=3).first_problem() is None
    assert report_of((3, "a", ""), (2, "b", "bad"), read=3).first_problem() == (
        "rows.jsonl, line 2: bad"
    )
