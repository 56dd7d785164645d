"""Where rows come from: what is read, how far, and what is said when it cannot be."""

import builtins
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirlhf.data_report import BadRow
from minirlhf.data_sources import NO_OBJECT, NOT_JSON, NOT_UTF8, open_source

GOOD = {"prompt": "the :", "completion": "the soup ."}


def read(source: object, **options: object) -> list[tuple[int, object]]:
    """Numbers and rows; a BadRow as its reason."""
    rows = open_source(source, **options).rows  # type: ignore[arg-type]
    return [(n, row.reason if isinstance(row, BadRow) else row) for n, row, _ in rows]


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# ------------------------------------------------------------------------------------ JSON


def test_lines_keep_their_numbers_and_blank_ones_are_none(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    other = json.dumps({"prompt": "café ☕"}, ensure_ascii=False)
    file.write_bytes(b"\xef\xbb\xbf" + lines(GOOD).encode() + f"\r\n  \n{other}\r\n".encode())
    assert read(file) == read(str(file)) == [(1, GOOD), (4, {"prompt": "café ☕"})]
    assert open_source(file).unit == "line"


BAD_LINES: dict[str, tuple[bytes, str, str]] = {
    "cut off": (b'{"prompt": "the', NOT_JSON, r"not valid JSON \(Unterminated"),
    "two": (b"{} {}", NOT_JSON, r"not valid JSON \(Extra data\)"),
    "a raw control character": (b'{"prompt": "\x00"}', NOT_JSON, r"\(Invalid control"),
    "a number without end": (b'{"prompt": ' + b"9" * 5000 + b"}", NOT_JSON, "not valid JSON"),
    "lists without end": (b"[" * 200_000, NOT_JSON, "not valid JSON"),
    "Latin-1": (b'{"prompt": "caf\xe9"}', NOT_UTF8, "not UTF-8 text"),
    "UTF-16": ('{"prompt": "the"}'.encode("utf-16"), NOT_UTF8, "not UTF-8 text"),
    "a list": (b'["the :"]', NO_OBJECT, r"wanted an object such as .* got \['the :'\]"),
    "a text": (b'"the :"', NO_OBJECT, "got 'the :'"),
    "nothing": (b"null", NO_OBJECT, "got None"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_stands_alone(case: str, tmp_path: Path) -> None:
    content, reason, detail = BAD_LINES[case]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(lines(GOOD).encode() + content + b"\n" + lines(GOOD).encode())
    assert read(file) == [(1, GOOD), (2, reason), (3, GOOD)]
    problem = list(open_source(file).rows)[1][1]
    with pytest.raises(BadRow, match=detail) as caught:
        raise problem  # type: ignore[misc]
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_no_more_lines_are_read_than_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(lines({"prompt": "1"}, {"prompt": "2"}, {"prompt": "3"}))
    parsed: list[str] = []
    real = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(text) or real(text))
    assert read(file, max_rows=2) == [(1, {"prompt": "1"}), (2, {"prompt": "2"})]
    assert len(parsed) == 2
    assert len(read(file, max_rows=9)) == 3
    with pytest.raises(ValueError, match="max_rows must be a whole number ≥ 1, got 0"):
        open_source(file, max_rows=0)


def test_a_json_file_may_be_one_array(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([GOOD, 7], indent=2))
    assert read(file) == [(1, GOOD), (2, NO_OBJECT)] and open_source(file).unit == "row"
    file.write_text(lines(GOOD, GOOD))  # or lines
    assert read(file) == [(1, GOOD), (2, GOOD)] and open_source(file).unit == "line"
    file.write_text('[{"prompt": ')
    with pytest.raises(ValueError, match=r"rows.json: not valid JSON"):
        read(file)
    file.write_bytes(b'["\xff"]')
    with pytest.raises(ValueError, match=r"rows.json: not UTF-8 text"):
        read(file)


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nowhere.jsonl", "nowhere.json", "nowhere.parquet", "nowhere.csv"):
        with pytest.raises(ValueError, match=f"{name} does not exist; wanted a .jsonl file"):
            open_source(tmp_path / name)
    file = tmp_path / "good.jsonl"
    file.write_text(lines(GOOD))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"cannot read .*good\.jsonl: Permission denied"):
        read(file)


# --------------------------------------------------------------------------- `datasets`

CHAT = {"prompt": [{"role": "user", "content": "soup?"}], "completion": None}


def test_parquet_and_csv(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list([GOOD, {**GOOD, "prompt": "b"}, {**GOOD, "prompt": "c"}])
    table.to_parquet(tmp_path / "rows.parquet")
    table.to_csv(tmp_path / "rows.csv")
    for name in ("rows.parquet", "rows.csv"):
        assert read(tmp_path / name) == list(enumerate(table, start=1))
        assert read(tmp_path / name, max_rows=1) == [(1, GOOD)]
        assert open_source(tmp_path / name).unit == "row"
    datasets.Dataset.from_list([CHAT]).to_parquet(tmp_path / "chat.parquet")
    assert read(tmp_path / "chat.parquet") == [(1, CHAT)]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(ValueError, match=r"no file or folder '.*bad.parquet' that can be read"):
        read(tmp_path / "bad.parquet")


def test_folders(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list([GOOD])
    table.save_to_disk(tmp_path / "saved")
    assert read(tmp_path / "saved") == [(1, GOOD)]
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk(tmp_path / "splits")
    assert read(tmp_path / "splits", split="test") == [(1, GOOD)]
    with pytest.raises(ValueError, match="no split 'dev', only train, test"):
        read(tmp_path / "splits", split="dev")
    (tmp_path / "files").mkdir()
    table.to_parquet(tmp_path / "files/train-00000.parquet")
    assert read(tmp_path / "files") == [(1, GOOD)]
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"no file or folder '.*none' that can be read"):
        read(tmp_path / "none")


def hub_with(monkeypatch: pytest.MonkeyPatch, load: Callable[..., object]) -> None:
    module = types.ModuleType("datasets")
    module.load_dataset = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr("minirlhf.data_sources.check_hub", lambda *_: None)


def test_a_hub_data_set_is_streamed_where_only_its_first_rows_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    def load(name: str, *, split: str, streaming: bool) -> Iterator[object]:
        asked.append((name, split, streaming))
        for number in range(10**9):
            asked.append(number)
            yield {"prompt": str(number)}

    hub_with(monkeypatch, load)
    first = [(1, {"prompt": "0"}), (2, {"prompt": "1"})]
    assert read("someone/reviews", split="test", max_rows=2) == first
    assert asked == [("someone/reviews", "test", True), 0, 1]
    asked.clear()
    hub_with(monkeypatch, lambda name, **options: asked.append(options) or [GOOD])
    assert read("someone/reviews") == [(1, GOOD)]
    assert asked == [{"split": "train", "streaming": False}]


def test_a_hub_data_set_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, **_: object) -> None:
        raise RuntimeError(f"no {name}\nand more")

    hub_with(monkeypatch, fail)
    with pytest.raises(ValueError, match="'someone/none' that can be read: no someone") as caught:
        read("someone/none")
    assert "and more" not in str(caught.value)
    real = builtins.__import__

    def no_datasets(name: str, *rest: object) -> object:
        if name == "datasets":
            raise ImportError
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_datasets)
    with pytest.raises(ValueError, match=r"pip install 'minirlhf\[data\]'"):
        read("someone/none")


def test_json_needs_no_other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # an import of it would fail
    for name in ("rows.jsonl", "rows.json", "rows"):
        (tmp_path / name).write_text(lines(GOOD))
        assert read(tmp_path / name) == [(1, GOOD)]
