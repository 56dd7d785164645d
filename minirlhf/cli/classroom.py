"""For teachers: `minirlhf student`, `minirlhf key` and `minirlhf grade`."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from minirlhf.atomic import write_text
from minirlhf.cli.options import need
from minirlhf.cli.show import console
from minirlhf.course_files import course_folder

if TYPE_CHECKING:
    from minirlhf.exercises.grading import Grade


NEEDED = ("nbformat", "nbclient")


def student(
    out: Annotated[Path, typer.Argument(help="A new folder for the copies.")],
) -> None:
    """Write copies of all notebooks without solutions and quiz answers."""
    need("this needs", *NEEDED)
    from minirlhf.exercises.copies import write_student_copies

    copies = write_student_copies(notebooks(), out)
    console.print(f"{len(copies)} notebooks without solutions in {out}", markup=False)


def key(
    out: Annotated[Path, typer.Argument(help="The file (Markdown).")] = Path("answer-key.md"),
) -> None:
    """Write the answer key: solutions, wrong answers to expect, quiz answers."""
    need("this needs", *NEEDED)
    from minirlhf.exercises.copies import answer_key

    write_text(out, answer_key(notebooks()))
    console.print(f"{out}", markup=False)


def grade(
    folder: Annotated[Path, typer.Argument(help="Holds STUDENT/NN_name.ipynb, any number.")],
    out: Annotated[Path, typer.Option(help="The table, one row an exercise.")] = Path("grades.csv"),
) -> None:
    """Check the exercises of a class. Runs the code that was handed in, with your rights."""
    need("this needs", *NEEDED)
    from minirlhf.exercises.grading import grade as grade_one
    from minirlhf.exercises.grading import submissions

    course = {path.name[:2]: path for path in notebooks()}
    grades: list[Grade] = []
    for who, path in submissions(folder):
        original = course.get(path.name[:2])
        if original is None:
            console.print(f"{path}: left out, no notebook of the course", markup=False)
            continue
        console.print(f"{who}: {path.name}", markup=False)
        grades += grade_one(who, path, original)
        write_text(out, as_csv(grades))  # what is done is kept if a later one fails
    console.print(table_of(grades))
    console.print(f"{out}: {len(grades)} rows", markup=False)


def notebooks() -> list[Path]:
    """The course's notebooks, in order."""
    return sorted(course_folder("notebooks").glob("[0-9][0-9]_*.ipynb"))


def as_csv(grades: "Sequence[Grade]") -> str:
    """One row an exercise, with a head. Text from submissions never begins a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["student", "notebook", "exercise", "state", "message"])
    for one in grades:
        # a spreadsheet would compute a cell that begins so
        row = [f"'{value}" if value[:1] in "=+-@" else value for value in asdict(one).values()]
        writer.writerow(row)
    return text.getvalue()


def table_of(grades: "Sequence[Grade]") -> Table:
    """Exercises by state for each student."""
    states = ("right", "wrong", "unanswered", "missing", "failed")
    table = Table("student", *states)
    for who in dict.fromkeys(one.student for one in grades):
        counts = Counter(one.state for one in grades if one.student == who)
        table.add_row(who, *(str(counts[state]) for state in states))
    return table
