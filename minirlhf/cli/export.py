"""`minirlhf export`: a notebook as one HTML page that works without Jupyter and without network."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from minirlhf.cli.options import check_is_no_folder, need
from minirlhf.cli.show import console

NEEDED = ("nbformat", "nbclient", "nbconvert", "anywidget", "matplotlib")


def export(
    notebook: Annotated[Path, typer.Argument(help="The .ipynb file; it stays as it is.")],
    out: Annotated[
        Path | None, typer.Option(help="The page.", show_default="exports/NOTEBOOK.html")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="Light letters on a dark page.")] = False,
) -> None:
    """Run a notebook and write it as one HTML page, live sliders included."""
    need("pages need", *NEEDED)
    from minirlhf.widgets.export import export_notebook

    target = out or Path("exports") / f"{notebook.stem}.html"
    check_is_no_folder(target)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task("Running cells")

        def cell_done(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)
            if not console.is_terminal and done:
                console.print(f"cell {done}/{total}")

        export_notebook(notebook, target, dark=dark, cell_done=cell_done)
    megabytes = target.stat().st_size / 1e6
    console.print(f"{target}: {megabytes:.1f} MB, opens from the disk", markup=False)
