"""`minirlhf slides`: a notebook as slides for a room, one HTML page."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from minirlhf.cli.show import console


def slides(
    notebook: Annotated[Path, typer.Argument(help="The .ipynb file; it is not run.")],
    out: Annotated[
        Path | None, typer.Option(help="The page.", show_default="exports/NOTEBOOK-slides.html")
    ] = None,
) -> None:
    """Write slides with speaker's notes (key N); the arrow keys turn them."""
    if any(importlib.util.find_spec(name) is None for name in ("nbconvert", "matplotlib")):
        raise ValueError("slides need more packages: pip install 'minirlhf[course]'")
    from minirlhf.widgets.slides import save_slides

    target = out or Path("exports") / f"{notebook.stem}-slides.html"
    if target.is_dir():
        raise ValueError(f"--out {target} is a folder; wanted the name of a file")
    number = save_slides(notebook, target)
    console.print(f"{target}: {number} slides, open from the disk", markup=False, soft_wrap=True)
