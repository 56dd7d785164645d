"""Copies of the notebooks for a class without solutions, and the answer key for its teacher."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from minirlhf.atomic import write_text
from minirlhf.exercises.cells import exercise_of, help_text, solution
from minirlhf.exercises.exercise import Exercise
from minirlhf.notebook_files import read_notebook

# a collapsed quiz answer, as the course's notebooks write it
ANSWER = re.compile(r"<details><summary>Answer</summary>\n\n(.*?)\n\n</details>", re.DOTALL)
QUESTION = re.compile(r"^\*\*\d\.\*\* ", re.MULTILINE)
NO_ANSWER = "*Write your answer here.*"


def student_copy(notebook: Any) -> None:
    """Take out of a notebook, in place, solutions, answers of the quiz, and all outputs.

    With outputs, the result of every prediction would stand below the question.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        found = exercise_of(cell)
        if found and found[1] == "help":
            cell.source = help_text(found[0], with_solution=False)
        elif cell.cell_type == "markdown":
            cell.source = ANSWER.sub(NO_ANSWER, cell.source)


def write_student_copies(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Write copies of these notebooks without solutions into a folder.

    Args:
        paths: the notebooks.
        folder: is made if need be.

    Returns:
        The copies.

    Raises:
        ValueError: a copy is there already: somebody may have worked in it.
    """
    targets = [folder / path.name for path in paths]
    taken = [str(target) for target in targets if target.exists()]
    if taken:
        raise ValueError(f"{taken[0]} is there already; wanted a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, target in zip(paths, targets, strict=True):
        notebook = read_notebook(path)
        student_copy(notebook)
        write_text(target, nbformat.writes(notebook) + "\n")  # type: ignore[no-untyped-call]
    return targets


def answer_key(paths: Sequence[Path]) -> str:
    """Markdown for the teacher: solutions, the wrong answers to expect, and the quizzes' answers.

    Args:
        paths: the notebooks, in the order of the course.
    """
    return "\n\n".join(["# minirlhf: answer key", *map(key_of, paths)]) + "\n"


def key_of(path: Path) -> str:
    """The part of one notebook."""
    notebook = read_notebook(path)
    title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
    parts = [f"## {title}"]
    for cell in notebook.cells:
        found = exercise_of(cell)
        if found and found[1] == "help":
            parts.append(entry(found[0]))
        elif cell.cell_type == "markdown" and ANSWER.search(cell.source):
            parts.append("### Quiz")
            for question in QUESTION.split(cell.source)[1:]:
                parts.append(ANSWER.sub(r"*Answer.* \1", question).strip())
    return "\n\n".join(parts)


def entry(exercise: Exercise) -> str:
    """One exercise of the key: its solution, and what a wrong answer is told."""
    expected = [f"- {' '.join(wrong.message.split())}" for wrong in exercise.wrongs]
    return "\n\n".join(
        [
            f"### {exercise.title} (`check.{exercise.name}`, {exercise.minutes} minutes)",
            f"```python\n{solution(exercise)}\n```",
            *([exercise.remark] if exercise.remark else []),
            *(["Wrong answers that the check knows:", "\n".join(expected)] if expected else []),
        ]
    )
