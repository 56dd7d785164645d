"""The three notebook cells of an exercise: the task, the stub to fill in, hints and solution.

They are made from the exercise itself, so that notebook, check and solution cannot drift apart.
Cells are known by their ids: `ex-NAME-task`, `ex-NAME`, `ex-NAME-help`.
"""

import ast
import inspect
import textwrap
from typing import Any

import nbformat.v4

from minirlhf.exercises.exercise import EXERCISES, Exercise

PREFIX = "ex-"


def task_text(exercise: Exercise) -> str:
    """Title, difficulty, importance, minutes, and what to do."""
    facts = (
        f"*Difficulty {dots(exercise.difficulty)} · importance {dots(exercise.importance)} · "
        f"{exercise.minutes} minutes*"
    )
    return f"### Exercise: {exercise.title}\n\n{facts}\n\n{exercise.task}"


def dots(filled: int) -> str:
    """●●○○○ for 2."""
    return "●" * filled + "○" * (5 - filled)


def stub_text(exercise: Exercise) -> str:
    """The code cell as the learner finds it."""
    return f"{stub(exercise)}\n\n\ncheck.{exercise.name}({exercise.name})"


def solved_text(exercise: Exercise) -> str:
    """The same cell with the solution filled in."""
    return f"{solution(exercise)}\n\n\ncheck.{exercise.name}({exercise.name})"


def help_text(exercise: Exercise, *, with_solution: bool = True) -> str:
    """Hints, one at a time, and the solution, all collapsed."""
    parts = [fold(f"Hint {n}", hint) for n, hint in enumerate(exercise.hints, start=1)]
    if with_solution:
        code = f"```python\n{solution(exercise)}\n```"
        parts.append(fold("Solution", "\n\n".join(filter(None, [code, exercise.remark]))))
    return "\n\n".join(parts)


def fold(summary: str, text: str) -> str:
    """Markdown that opens at a click."""
    return f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>"


def stub(exercise: Exercise) -> str:
    """A function's head and docstring, or an assignment, with `...` to be replaced."""
    if not exercise.is_function:
        return f"{exercise.name} = ...  # {exercise.form}"
    source = solution(exercise)
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    lines = source.splitlines()
    has_words = ast.get_docstring(function) is not None
    end = (function.body[0].end_lineno if has_words else function.body[0].lineno - 1) or 1
    return "\n".join([*lines[:end], "    ...  # your code here"])


def solution(exercise: Exercise) -> str:
    """The source of the solution, without its decorator."""
    if not exercise.is_function:
        return f"{exercise.name} = {literal(exercise.solution)}"
    source = textwrap.dedent(inspect.getsource(exercise.solution))
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    return "\n".join(source.splitlines()[function.lineno - 1 :])


def literal(value: Any) -> str:
    """How a value is typed; a set in order, since the order of its own changes from run to run."""
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(map(repr, sorted(value))) + "}"
    return repr(value)


def cells_of(exercise: Exercise) -> list[Any]:
    """The three cells, new."""
    start = f"{PREFIX}{exercise.name}"
    return [
        nbformat.v4.new_markdown_cell(task_text(exercise), id=f"{start}-task"),  # type: ignore[no-untyped-call]
        nbformat.v4.new_code_cell(stub_text(exercise), id=start),  # type: ignore[no-untyped-call]
        nbformat.v4.new_markdown_cell(help_text(exercise), id=f"{start}-help"),  # type: ignore[no-untyped-call]
    ]


def exercise_of(cell: Any) -> tuple[Exercise, str] | None:
    """The exercise that a cell belongs to, and its part: "task", "" (the stub) or "help"."""
    name = cell.get("id", "")
    if not name.startswith(PREFIX):
        return None
    name, _, part = name.removeprefix(PREFIX).partition("-")
    return (EXERCISES[name], part) if name in EXERCISES else None


def refresh(notebook: Any, *, solved: bool = False) -> list[str]:
    """Write every exercise's cells anew into a notebook; returns the names found, in order.

    Args:
        notebook: is changed.
        solved: fill in the solutions.
    """
    names = []
    for cell in notebook.cells:
        found = exercise_of(cell)
        if found is None:
            continue
        exercise, part = found
        if part == "task":
            cell.source = task_text(exercise)
        elif part == "help":
            cell.source = help_text(exercise)
        else:
            cell.source = solved_text(exercise) if solved else stub_text(exercise)
            names.append(exercise.name)
    return names
