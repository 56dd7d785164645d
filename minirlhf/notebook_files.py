"""Reading a notebook file; needs nbformat, so only what the extra `course` brings imports this."""

from pathlib import Path
from typing import Any

import nbformat


def read_notebook(path: Path) -> Any:
    """The notebook in that file.

    Raises:
        ValueError: it is none.
        OSError: it cannot be read.
    """
    try:
        return nbformat.reads(path.read_text("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, ValueError, AttributeError):
        raise ValueError(f"{path} is not a notebook; wanted an .ipynb file") from None
