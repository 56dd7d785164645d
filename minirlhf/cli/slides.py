"""`minirlhf slides`: a notebook as slides for a room, one HTML page."""

from pathlib import Path
from typing import Annotated

import typer

from minirlhf.cli.options import check_is_no_folder, need
from minirlhf.cli.show import console


def slides(
    notebook: Annotated[Path, typer.Argument(help="The .ipynb file; it is not run.")],
    out: Annotated[
        Path | None, typer.Option(help="The page.", show_default="exports/NOTEBOOK-slides.html")
    ] = None,
) -> None:
    """Write slides with speaker's notes (key N); the arrow keys turn them."""
    need("slides need", "nbconvert", "matplotlib")
    from minirlhf.widgets.slides import save_slides

    target = out or Path("exports") / f"{notebook.stem}-slides.html"
    check_is_no_folder(target)
    number = save_slides(notebook, target)
    console.print(f"{target}: {number} slides, open from the disk", markup=False, soft_wrap=True)
