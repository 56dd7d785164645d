"""Where rows come from: JSON Lines and JSON files, parquet, CSV, folders, the Hub.

JSON needs no other package; the rest is read by `datasets` (extra `minirlhf[data]`). Rows come one
by one, so that the first N of a huge data set cost N rows: files are read as far as needed, and a
Hub data set of which only the first rows are wanted is streamed.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from minirlhf.data_report import BadRow, excerpt
from minirlhf.hub import check_hub

BUILDERS = {".parquet": "parquet", ".csv": "csv"}  # what `datasets` calls them
SAVED_TO_DISK = ("state.json", "dataset_dict.json")  # of `datasets.save_to_disk`
NOT_JSON, NOT_UTF8, NO_OBJECT = "not valid JSON", "not UTF-8 text", "not an object"


class Source(NamedTuple):
    """Numbered rows; what could not be read as a row is a BadRow in its place, with what is there.

    Attributes:
        unit: what the numbers count: "line" or "row".
        rows: (number from 1, row or BadRow, what stands there).
    """

    unit: str
    rows: Iterator[tuple[int, dict[str, Any] | BadRow, object]]


def open_source(source: str | Path, *, split: str = "train", max_rows: int | None = None) -> Source:
    """Open a data set; its rows are read as they are asked for.

    Args:
        source: a file (.jsonl, .json, .parquet, .csv; any other is read as JSON Lines), a folder
            (as `datasets` saves it, or of such files), or the name of a data set on the Hub.
        split: of a folder or a Hub data set.
        max_rows: how many rows to look at; the rest is not even downloaded. None = all.

    Raises:
        ValueError: there is no such data set, it cannot be read, or `datasets` is needed and not
            installed. Also while rows are read, when the disk or the network fails.
    """
    if max_rows is not None and max_rows < 1:
        raise ValueError(f"max_rows must be a whole number ≥ 1, got {max_rows}")
    path = Path(source)
    unit = "row"
    if path.is_file() and path.suffix in BUILDERS:
        found = _with_datasets(source, lambda datasets: _load_file(datasets, path))
    elif path.is_file():
        is_array = path.suffix == ".json" and _first_character(path) == "["
        unit = "row" if is_array else "line"
        found = _read_array(path) if is_array else _read_lines(path)
    elif path.is_dir():
        found = _with_datasets(source, lambda datasets: _load_folder(datasets, path, split))
    elif path.exists() or path.suffix in (".jsonl", ".json", *BUILDERS):
        problem = "is not a file" if path.exists() else "does not exist"
        raise ValueError(f"data file {source} {problem}; wanted a .jsonl file")
    else:
        found = _read_hub(str(source), split, streaming=max_rows is not None)
    return Source(unit, _checked(islice(found, max_rows)))


def _checked(
    rows: Iterable[tuple[int, object]],
) -> Iterator[tuple[int, dict[str, Any] | BadRow, object]]:
    for number, row in rows:
        if isinstance(row, tuple):  # a BadRow and the bytes that are there
            yield number, *row
        elif isinstance(row, dict):
            yield number, row, row
        else:
            wanted = f'wanted an object such as {{"prompt": …}}, got {excerpt(row)}'
            yield number, BadRow(NO_OBJECT, wanted), row


# ------------------------------------------------------------------------------------ JSON


def _read_lines(path: Path) -> Iterator[tuple[int, object]]:
    """A JSON value from each line that is not blank."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")  # how some systems begin UTF-8
                if line.strip():
                    yield number, _parse_line(line.strip())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None


def _parse_line(line: bytes) -> object:
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError:
        return BadRow(NOT_UTF8), line[:400]
    except json.JSONDecodeError as error:
        return BadRow(NOT_JSON, f"{NOT_JSON} ({error.msg})"), _as_text(line)
    except (ValueError, RecursionError) as error:  # a number too long, lists a thousand deep
        return BadRow(NOT_JSON, f"{NOT_JSON} ({error!s:.80})"), _as_text(line)


def _as_text(line: bytes) -> str:
    return line[:400].decode(errors="replace")


def _first_character(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(1000).removeprefix(b"\xef\xbb\xbf").lstrip()[:1].decode(errors="replace")


def _read_array(path: Path) -> Iterator[tuple[int, object]]:
    """The values of one JSON array, which is read whole."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: {NOT_UTF8}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {NOT_JSON} ({error!s:.80})") from None
    yield from enumerate(rows, start=1)


# -------------------------------------------------------------------------- with `datasets`


def _read_hub(name: str, split: str, *, streaming: bool) -> Iterator[tuple[int, object]]:
    check_hub("data set", name)
    return _with_datasets(
        name, lambda datasets: datasets.load_dataset(name, split=split, streaming=streaming)
    )


def _load_file(datasets: Any, path: Path) -> Iterable[object]:
    builder = BUILDERS[path.suffix]
    # streaming: without it the whole file would be copied into a cache first
    rows: Iterable[object] = datasets.load_dataset(
        builder, data_files=str(path), split="train", streaming=True
    )
    return rows


def _load_folder(datasets: Any, path: Path, split: str) -> Iterable[object]:
    if any((path / name).is_file() for name in SAVED_TO_DISK):
        found = datasets.load_from_disk(str(path))
        if isinstance(found, dict) and split not in found:
            raise ValueError(f"it has no split {split!r}, only {', '.join(found)}")
        rows: Iterable[object] = found[split] if isinstance(found, dict) else found
        return rows
    rows = datasets.load_dataset(str(path.resolve()), split=split, streaming=True)
    return rows


def _with_datasets(
    source: str | Path, load: Callable[[Any], Iterable[object]]
) -> Iterator[tuple[int, object]]:
    """Rows that `datasets` loads; whatever fails on the way is one clear error."""
    try:
        import datasets
    except ImportError:
        raise ValueError(
            f"{source} is no JSON file here; to read other files, folders and the Hub: "
            "pip install 'minirlhf[data]'"
        ) from None
    try:
        yield from enumerate(load(datasets), start=1)
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        kind = "file or folder" if Path(source).exists() else "file or Hub data set"
        raise ValueError(f"no {kind} {str(source)!r} that can be read: {first_line}") from error
