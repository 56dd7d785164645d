"""From data sets to rows: bad rows are dropped, and never change what good ones become."""

import json
from pathlib import Path
from typing import Any

import pytest
from chat_tokenizers import CHATML, chat_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import TOKENIZER

from minirlhf.data import PREFERENCE_COLUMNS, PROMPT_COLUMNS, SFT_COLUMNS
from minirlhf.data_rows import load_rows, make_rows, read_examples, read_rows
from minirlhf.provenance import rows_sha256

GOOD = {"prompt": "the :", "completion": "the soup ."}
PAIR = {"prompt": "the :", "chosen": "the soup .", "rejected": "the waiter ."}


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "soup?"}, {"role": "assistant", "content": text}]


# ------------------------------------------------------------------- bad rows among good ones

WORDS = st.lists(st.sampled_from(["the", "soup", "was", "warm", "cold"]), min_size=1, max_size=4)
TEXT = WORDS.map(" ".join)
GOOD_PAIRS = st.fixed_dictionaries({"prompt": TEXT, "chosen": TEXT, "rejected": TEXT}).filter(
    lambda row: row["chosen"] != row["rejected"]
)
JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.just(""), st.just("a\0"),
                 st.just("\ud800"), st.lists(st.integers(), max_size=2), st.just("the " * 100),
                 st.dictionaries(st.text(max_size=3), st.integers(), max_size=2))  # fmt: skip
BAD_OBJECTS = st.builds(
    lambda row, column, junk: {**row, column: junk},
    GOOD_PAIRS, st.sampled_from(["prompt", "chosen", "rejected"]), JUNK,
)  # fmt: skip
BAD_LINES = st.one_of(
    BAD_OBJECTS.map(json.dumps),
    st.builds(lambda row, column: json.dumps({k: v for k, v in row.items() if k != column}),
              GOOD_PAIRS, st.sampled_from(["chosen", "rejected"])),
    st.sampled_from(["{", "[1]", "7", "null", '"the"', "\ufeff{}", "[" * 5000, "{} {}"]),
).map(str.encode) | st.sampled_from([b"\xff", b"{\x00}"])  # fmt: skip


@given(
    st.lists(GOOD_PAIRS, min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 5), BAD_LINES), max_size=6),
)
def test_bad_rows_never_change_what_good_rows_become(
    tmp_path_factory: pytest.TempPathFactory, good: list[Any], bad: list[tuple[int, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    encoded = [json.dumps(row).encode() for row in good]
    (folder / "good.jsonl").write_bytes(b"\n".join(encoded))
    for place, line in bad:
        encoded.insert(place, line)
    (folder / "mixed.jsonl").write_bytes(b"\n".join(encoded))
    options: dict[str, Any] = {"max_tokens": 64, "keep_duplicates": True}
    alone = load_rows(folder / "good.jsonl", PREFERENCE_COLUMNS, TOKENIZER, **options)
    among = load_rows(folder / "mixed.jsonl", PREFERENCE_COLUMNS, TOKENIZER, **options)
    assert among.rows == alone.rows == good
    assert (among.report.read, among.report.kept) == (len(good) + len(bad), len(good))
    assert among.report.dropped == len(bad)
    junk = [line for _, line in bad]
    dropped = sorted(n for numbers in among.report.numbers.values() for n in numbers)
    assert dropped == [n for n, line in enumerate(encoded, start=1) if line in junk]
    assert rows_sha256(among.rows) == rows_sha256(good)  # a run on plain rows resumes as before


def test_a_file_of_every_kind_of_trouble(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    other = {**PAIR, "prompt": "the soup :"}
    file.write_bytes(
        lines(
            PAIR,  # 1
            {**PAIR, "chosen": None},
            {"chosen": says("warm"), "rejected": says("cold")},
            {"chosen": "the soup : warm", "rejected": "the soup : cold"},
            other,  # 5: labelled both ways
            PAIR,
            {**PAIR, "prompt": "the " * 40},
            {**other, "chosen": other["rejected"], "rejected": other["chosen"]},
            {**PAIR, "prompt": "x" * 10**7},
            {**PAIR, "prompt": "the waiter :", "score": 1.5},  # 10
        ).encode()
        + b'{"prompt": "\xff"}\n\n{'
    )
    data = load_rows(file, PREFERENCE_COLUMNS, TOKENIZER, max_tokens=40)
    assert data.rows == [PAIR, {**PAIR, "prompt": "the waiter :"}]
    assert data.report.numbers == {
        "neither text nor messages": [2],
        "of another shape than most rows": [3, 4],
        "a pair labelled both ways": [5, 8],
        "the same as an earlier row": [6],
        "too long": [7],
        "too many characters": [9],
        "not UTF-8 text": [11],
        "not valid JSON": [13],
    }
    assert (data.report.read, data.report.kept, data.report.dropped) == (12, 2, 10)
    assert data.report.unused_columns == {"score": 1}
    again = load_rows(file, PREFERENCE_COLUMNS, TOKENIZER, max_tokens=40)
    assert again.rows == data.rows and again.report == data.report
    with_all = load_rows(file, PREFERENCE_COLUMNS, TOKENIZER, keep_duplicates=True)
    assert len(with_all.rows) == 6


def test_the_shape_of_most_rows_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    chats = [{"chosen": says(word), "rejected": says("cold")} for word in ("warm", "hot", "mild")]
    file.write_text(lines(PAIR, *chats, PAIR))
    data = load_rows(file, PREFERENCE_COLUMNS, chat_tokenizer(CHATML))
    assert [row["chosen"][-1] for row in data.rows] == [2, 2, 2]  # three chats, each with EOS
    (first, _) = data.report.examples["of another shape than most rows"]
    assert first.row == 1 and first.detail == (
        "it has prompt, chosen and rejected as text, most rows have chosen and rejected as messages"
    )
    file.write_text(lines(PAIR, *chats[:1]))  # of two equally frequent ones, the first
    assert load_rows(file, PREFERENCE_COLUMNS, TOKENIZER).rows == [PAIR]


def test_chats_need_a_chat_template(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(lines({"messages": says("warm")}))
    with pytest.raises(ValueError, match="has no chat template"):
        load_rows(file, SFT_COLUMNS, TOKENIZER)
    (row,) = load_rows(file, SFT_COLUMNS, chat_tokenizer(CHATML)).rows
    assert list(row) == ["prompt", "completion"] and isinstance(row["completion"], list)
    (prompt,) = load_rows(file, PROMPT_COLUMNS, chat_tokenizer(CHATML)).rows
    assert prompt == {"prompt": row["prompt"]}
    assert rows_sha256([row]) != rows_sha256([prompt])


def test_the_first_rows_of_a_large_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(lines(GOOD, {}, {**GOOD, "prompt": "soup :"}, {**GOOD, "prompt": "warm :"}))
    data = load_rows(file, SFT_COLUMNS, TOKENIZER, max_rows=3)
    assert [row["prompt"] for row in data.rows] == ["the :", "soup :"]
    assert data.report.read == 3 and data.report.kept == 2


NOTHING_LEFT: dict[str, tuple[str, str]] = {
    "empty": ("", "rows.jsonl is empty; wanted at least one row"),
    "blank lines": ("\n \n", "rows.jsonl is empty; wanted at least one row"),
    "one bad row": (lines({"prompt": "a"}), r"line 1: column 'completion' is missing \(columns h"),
    "bad rows": ("{\n" + lines(3, 4), r"line 1: not valid JSON .*\(2 not an object, 1 not valid J"),
    "too long": (lines({**GOOD, "prompt": "the " * 9}), "line 1: a prompt of 9 tokens and a resp"),
    "text alone": (lines({"text": "x"}), "line 1: column 'text' does not say where the response"),
}


@pytest.mark.parametrize("case", NOTHING_LEFT)
def test_nothing_left_is_an_error(case: str, tmp_path: Path) -> None:
    content, message = NOTHING_LEFT[case]
    (tmp_path / "rows.jsonl").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_rows(tmp_path / "rows.jsonl", SFT_COLUMNS, TOKENIZER, max_tokens=8)
    assert "\n" not in str(caught.value)


def test_pairs_that_cancel_out_leave_nothing(tmp_path: Path) -> None:
    swapped = {**PAIR, "chosen": PAIR["rejected"], "rejected": PAIR["chosen"]}
    (tmp_path / "rows.jsonl").write_text(lines(PAIR, swapped))
    examples = read_examples(tmp_path / "rows.jsonl", PREFERENCE_COLUMNS)
    with pytest.raises(
        ValueError, match=r"None of the 2 rows can be used \(2 a pair labelled both"
    ):
        make_rows(examples, TOKENIZER)


# -------------------------------------------------------------------------- rows of our own


def test_plain_rows_keep_their_order_and_only_the_named_columns(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    other = {"completion": "café ☕", "prompt": " the : ", "score": 3, "id": None}
    file.write_text(lines(GOOD) + "\n   \n" + json.dumps(other, ensure_ascii=False), "utf-8")
    wanted = [GOOD, {"prompt": " the : ", "completion": "café ☕"}]
    assert read_rows(file, SFT_COLUMNS) == read_rows(str(file), SFT_COLUMNS) == wanted
    assert read_rows(file, PROMPT_COLUMNS) == [{"prompt": row["prompt"]} for row in wanted]
    file.write_text(lines(GOOD, GOOD))
    assert read_rows(file, SFT_COLUMNS) == [GOOD, GOOD]  # nothing is dropped


@pytest.mark.parametrize("row", [{}, 7, {**GOOD, "prompt": 3}, {**GOOD, "prompt": ""}])
def test_of_plain_rows_none_may_be_bad(tmp_path: Path, row: object) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(GOOD, row))
    with pytest.raises(ValueError, match=r"rows.jsonl, line 2: "):
        read_rows(tmp_path / "rows.jsonl", SFT_COLUMNS)
    (tmp_path / "rows.jsonl").write_text(lines({"messages": says("warm")}))
    with pytest.raises(ValueError, match=r"rows.jsonl, line 1: column 'prompt' must be text"):
        read_rows(tmp_path / "rows.jsonl", SFT_COLUMNS)
