"""Check the exercises in notebooks that others handed in.

Of a submission only the exercise cells are run, after the imports of the course's own notebook: a
changed or broken cell elsewhere does no harm, and a class is graded in minutes. Each notebook has a
process of its own, with a time limit for each cell. **It runs code that somebody else wrote**, with
your rights: grade where that is acceptable.
"""

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat.v4
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from minirlhf.exercises import progress
from minirlhf.exercises.cells import PREFIX, exercise_of
from minirlhf.exercises.examine import examine
from minirlhf.exercises.exercise import EXERCISES
from minirlhf.notebook_files import read_notebook

SECONDS_PER_CELL = 60
SETUP = ("import", "setup")  # ids of the cells that every notebook of the course begins with
MARK = "minirlhf-verdict "


@dataclass(frozen=True)
class Grade:
    """One exercise of one student.

    Attributes:
        student: name of the folder that the notebook was in.
        notebook: its two digits.
        exercise: its name.
        state: "right", "wrong", "unanswered", "missing" (no such cell), or "failed" (the cell
            raised an error or ran too long).
        message: what the check said.
    """

    student: str
    notebook: str
    exercise: str
    state: str
    message: str


def submissions(folder: Path) -> list[tuple[str, Path]]:
    """(student, notebook) for each `.ipynb` file under `folder/STUDENT/`, in order.

    Raises:
        ValueError: there is none.
    """
    files = sorted(folder.glob("*/**/*.ipynb"))
    found = [
        (file.relative_to(folder).parts[0], file)
        for file in files
        if ".ipynb_checkpoints" not in file.parts
    ]
    if not found:
        raise ValueError(f"no notebooks in {folder}; wanted {folder}/STUDENT/NN_name.ipynb")
    return found


def grade(student: str, submitted: Path, course: Path) -> list[Grade]:
    """Check every exercise of one submitted notebook.

    Args:
        student: whose it is.
        submitted: the notebook that was handed in.
        course: the same notebook as the course has it.

    Raises:
        ValueError: one of them is not a notebook.
    """
    original = read_notebook(course)
    setup = {cell.id: cell.source for cell in original.cells if cell.get("id") in SETUP}
    found = [exercise_of(cell) for cell in original.cells]
    names = [one[0].name for one in found if one and one[1] == ""]
    answers = dict(answer_cells(read_notebook(submitted)))
    verdicts = run([setup[name] for name in SETUP], answers, course.parent)
    missing = {"state": "missing", "message": "no cell with this exercise"}
    return [
        Grade(student, EXERCISES[name].notebook, name, **verdicts.get(name, missing))
        for name in names
    ]


def answer_cells(notebook: Any) -> Iterator[tuple[str, str]]:
    """(exercise, source) of each answer: cells with the exercise's id, or that call its check."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        called = re.search(r"^check\.(\w+)\(", cell.source, re.MULTILINE)
        name = cell.get("id", "").removeprefix(PREFIX)
        if name not in EXERCISES and called:
            name = called[1]
        if name in EXERCISES:
            yield name, cell.source


def run(setup: list[str], answers: Mapping[str, str], folder: Path) -> dict[str, dict[str, str]]:
    """Run answers one after the other; verdicts by exercise.

    An answer that ends its process has failed; those after it get a new process.

    Args:
        setup: sources of the cells to run first.
        answers: source of the answer by exercise.
        folder: to run in.
    """
    verdicts: dict[str, dict[str, str]] = {}
    left = list(answers)
    while left:
        verdicts |= run_once(setup, {name: answers[name] for name in left}, folder)
        ended = next((name for name in left if name not in verdicts), None)
        if ended is None:
            break
        verdicts[ended] = {"state": "failed", "message": "it ended its process"}
        left = left[left.index(ended) + 1 :]
    return verdicts


def run_once(
    setup: list[str], answers: Mapping[str, str], folder: Path
) -> dict[str, dict[str, str]]:
    """The verdicts that one process comes to, up to an answer that ends it."""
    notebook = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    sources = list(setup)
    for name, source in answers.items():
        # the check itself stands in a cell of ours, so that no answer can leave it out
        call = f"print_verdict({name!r}, globals().get({name!r}))"
        sources += [source, f"from minirlhf.exercises.grading import print_verdict\n{call}"]
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        interrupt_on_timeout=True,
        allow_errors=True,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # the kernel's warnings say nothing of the answers
        resources={"metadata": {"path": str(folder)}},
    )
    with tempfile.TemporaryDirectory() as own, contextlib.suppress(DeadKernelError):
        # the answers' own checks must not count as the teacher's progress
        client.execute(env={**os.environ, progress.VARIABLE: str(Path(own) / "progress.json")})
    pairs = zip(notebook.cells[len(setup) :: 2], notebook.cells[len(setup) + 1 :: 2], strict=True)
    found = {name: verdict_of(*pair) for name, pair in zip(answers, pairs, strict=True)}
    return {name: verdict for name, verdict in found.items() if verdict}


def print_verdict(name: str, answer: Any) -> None:
    """Check an answer and write the verdict as a line that `verdict_of` reads."""
    verdict = examine(EXERCISES[name], answer)
    line = json.dumps({"state": verdict.state, "message": verdict.message})
    sys.stdout.write(f"\n{MARK}{line}\n")


def verdict_of(answer: Any, check: Any) -> dict[str, str] | None:
    """State and message from the outputs of an answer's cell and of its check; None without any."""
    text = "".join(out.get("text", "") for out in check.outputs)
    lines = [line for line in text.splitlines() if line.startswith(MARK)]
    errors = [out for cell in (answer, check) for out in cell.outputs if out.output_type == "error"]
    if errors and (not lines or errors[0] in answer.outputs):
        message = f"{errors[0].ename}: {errors[0].evalue}"
        if errors[0].ename == "KeyboardInterrupt":  # ours, at the time limit
            message = f"it took longer than {SECONDS_PER_CELL} s"
        return {"state": "failed", "message": message}
    if not lines:
        return None
    verdict: dict[str, str] = json.loads(lines[-1].removeprefix(MARK))
    return verdict
