"""`minirlhf lab`: open JupyterLab on the course."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from minirlhf.cli.show import console
from minirlhf.course_files import PACKAGE, course_folder
from minirlhf.threads import VARIABLE

FIRST = "00_the_whole_movie.ipynb"


def lab(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Option(help="Where your own copy of the notebooks goes (installed wheel only).")
    ] = Path("minirlhf-course"),
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
) -> None:
    """Open the course in JupyterLab; further options go to JupyterLab itself."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise ValueError("JupyterLab is not installed: pip install 'minirlhf[course]'")
    notebooks = your_notebooks(folder)
    command = [sys.executable, "-m", "jupyterlab", str(notebooks / FIRST), *ctx.args]
    if not browser:
        command.append("--no-browser")
    console.print(f"Opening {notebooks / FIRST}; Ctrl-C ends.", markup=False, soft_wrap=True)
    environment = {**os.environ, VARIABLE: os.environ.get(VARIABLE, "PASSIVE")}
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)


def your_notebooks(folder: Path) -> Path:
    """The notebooks of the clone; from an installed wheel, a copy that is the reader's own.

    A notebook that is there already is never overwritten: it may hold somebody's answers.

    Args:
        folder: where the copy goes.
    """
    shipped = course_folder("notebooks")
    if not shipped.is_relative_to(PACKAGE):
        return shipped
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(shipped.iterdir()):
        if file.is_file() and not (folder / file.name).exists():
            shutil.copy(file, folder / file.name)
    return folder.resolve()
