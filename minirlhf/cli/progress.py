"""`minirlhf progress`: which exercises are solved, and how well you guessed."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from minirlhf import __version__, predictions
from minirlhf.atomic import write_text
from minirlhf.cli.options import check_is_no_folder
from minirlhf.cli.show import console

if TYPE_CHECKING:
    from minirlhf.exercises.progress import Attempts


def progress(
    out: Annotated[
        Path | None, typer.Option("--json", help="Also write it to this file, for a teacher.")
    ] = None,
) -> None:
    """Show the exercises by notebook: solved, tried, and the minutes that are left."""
    from minirlhf.exercises.progress import default_path, load

    done = load()
    console.print(table_of(done))
    guesses = predictions.calibration(predictions.load())
    if guesses.guesses:
        console.print(
            f"{guesses.guesses} guesses, {guesses.right} right, {guesses.confidence:.0f} % sure. "
            f"Brier score {guesses.brier:.2f}; without knowing anything {guesses.chance:.2f}."
        )
    console.print(f"Kept in {default_path()}", markup=False, soft_wrap=True)
    if out is not None:
        check_is_no_folder(out, "--json")
        write_text(out, json.dumps(report(done), indent=1) + "\n")
        console.print(f"Written to {out}", markup=False, soft_wrap=True)


def table_of(done: "Mapping[str, Attempts]") -> Table:
    """One line for each notebook, and one for each exercise that was tried and not solved."""
    from minirlhf.exercises import EXERCISES

    table = Table("notebook", "solved", "of", "tries", "minutes left", "tried, not solved")
    for number in sorted({one.notebook for one in EXERCISES.values()}):
        here = [one for one in EXERCISES.values() if one.notebook == number]
        tried = {one.name: done[one.name] for one in here if one.name in done}
        solved = [name for name, attempts in tried.items() if attempts.solved]
        left = sum(one.minutes for one in here if one.name not in solved)
        tries = sum(attempts.tries for attempts in tried.values())
        open_ones = ", ".join(name for name in tried if name not in solved)
        table.add_row(number, str(len(solved)), str(len(here)), str(tries), str(left), open_ones)
    return table


def report(done: "Mapping[str, Attempts]") -> dict[str, Any]:
    """What a teacher collects: every exercise, and the score of the guesses."""
    from minirlhf.exercises import EXERCISES
    from minirlhf.exercises.progress import Attempts

    rows = {
        name: {"notebook": one.notebook, **asdict(done.get(name, Attempts()))}
        for name, one in EXERCISES.items()
    }
    guesses = predictions.calibration(predictions.load())
    return {"minirlhf": __version__, "exercises": rows, "guesses": asdict(guesses)}
