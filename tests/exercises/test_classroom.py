"""What a teacher does: student copies, the key, grades; and `minirlhf progress`."""

import csv
import json

import nbformat
import pytest
from typer.testing import CliRunner

from minirlhf.cli import app
from minirlhf.cli.classroom import as_csv, notebooks
from minirlhf.exercises import EXERCISES
from minirlhf.exercises.cells import refresh, solution
from minirlhf.exercises.grading import Grade, grade, submissions

CRITIC = next(path for path in notebooks() if path.name.startswith("05"))
HERE = [one.name for one in EXERCISES.values() if one.notebook == "05"]
IN_ORDER = refresh(nbformat.read(CRITIC, as_version=4))  # as they stand in the notebook


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_student_copies_hold_no_solution_and_no_quiz_answer(tmp_path):
    result = run("student", tmp_path / "class")
    assert result.exit_code == 0, result.output
    copies = sorted((tmp_path / "class").glob("*.ipynb"))
    assert len(copies) == len(notebooks())
    for copy in copies:
        notebook = nbformat.read(copy, as_version=4)
        nbformat.validate(notebook)
        text = "\n".join(cell.source for cell in notebook.cells)
        assert "<summary>Solution</summary>" not in text and "<summary>Answer</summary>" not in text
        assert "*Write your answer here.*" in text and "check." in text
        assert not any(cell.get("outputs") for cell in notebook.cells)
    again = run("student", tmp_path / "class")
    assert again.exit_code == 2 and "is there already" in again.output


def test_the_key_has_every_solution_and_quiz_answer(tmp_path):
    result = run("key", tmp_path / "key.md")
    assert result.exit_code == 0, result.output
    key = (tmp_path / "key.md").read_text("utf-8")
    for name, one in EXERCISES.items():
        assert f"`check.{name}`" in key and solution(one) in key
    assert key.count("*Answer.* ") == 3 * len(notebooks())
    assert "<details>" not in key


def hand_in(folder, student, changes, *, ids=True):
    """Write notebook 05 as a student hands it in, with some cells' sources replaced."""
    notebook = nbformat.read(CRITIC, as_version=4)
    for cell in notebook.cells:
        cell.source = changes.get(cell.id, cell.source)
    if not ids:
        for number, cell in enumerate(notebook.cells):
            cell.id = f"cell{number}"
    (folder / student).mkdir(parents=True)
    nbformat.write(notebook, folder / student / CRITIC.name)


@pytest.mark.slow
def test_grades_a_class(tmp_path):
    first, second = HERE[:2]
    cell = {f"ex-{name}": f"{solution(EXERCISES[name])}\n\ncheck.{name}({name})" for name in HERE}
    hand_in(tmp_path / "all", "ada", cell)
    hand_in(tmp_path / "all", "ben", {"setup": "1/0", **cell}, ids=False)
    broken = {
        f"ex-{first}": f"def {first}(*a, **k): return 0\nprint('✓ {first}: right')",
        f"ex-{second}": f"def {second}(: pass",
    }
    hand_in(tmp_path / "all", "cyd", broken)
    result = run("grade", tmp_path / "all", "--out", tmp_path / "grades.csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8")))
    states = {(row["student"], row["exercise"]): row["state"] for row in rows}
    assert all(states[who, name] == "right" for who in ("ada", "ben") for name in HERE)
    assert states["cyd", first] == "wrong" and states["cyd", second] == "failed"
    assert {states["cyd", name] for name in HERE[2:]} == {"unanswered"}


@pytest.mark.slow
def test_an_answer_that_ends_the_process_fails_alone(tmp_path):
    killer, after = (f"ex-{name}" for name in IN_ORDER[1:3])
    answer = solution(EXERCISES[IN_ORDER[2]])
    hand_in(tmp_path, "eve", {killer: "import os\nos._exit(1)", after: answer})
    (who, path) = submissions(tmp_path)[0]
    states = {one.exercise: one.state for one in grade(who, path, CRITIC)}
    assert [states[name] for name in IN_ORDER[:4]] == [
        "unanswered",
        "failed",
        "right",
        "unanswered",
    ]


def test_a_missing_exercise_is_missing_and_other_files_are_refused(tmp_path):
    (tmp_path / "fay").mkdir()
    empty = nbformat.v4.new_notebook()
    nbformat.write(empty, tmp_path / "fay" / CRITIC.name)
    grades = grade("fay", tmp_path / "fay" / CRITIC.name, CRITIC)
    assert [one.exercise for one in grades] and {one.state for one in grades} == {"missing"}
    (tmp_path / "fay" / CRITIC.name).write_text("no notebook")
    result = run("grade", tmp_path, "--out", tmp_path / "grades.csv")
    assert result.exit_code == 2 and "is not a notebook" in result.output
    nothing = run("grade", tmp_path / "fay")
    assert nothing.exit_code == 2 and "STUDENT/NN_name.ipynb" in nothing.output


def test_a_name_cannot_become_a_formula_of_a_spreadsheet():
    text = as_csv([Grade("=1+1", "05", "td_target", "wrong", "@x,\n")])
    assert text.splitlines()[1].startswith("'=1+1,05,td_target,wrong,")
    assert "'@x" in text


def test_progress_is_shown_and_written(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIRLHF_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setenv("MINIRLHF_PREDICTIONS", str(tmp_path / "predictions.json"))
    from minirlhf.exercises import progress

    progress.record("td_target", "wrong")
    result = run("progress", "--json", tmp_path / "me.json")
    assert result.exit_code == 0 and "td_target" in result.output
    rows = json.loads((tmp_path / "me.json").read_text())["exercises"]
    assert rows["td_target"]["tries"] == 1 and not rows["td_target"]["solved"]
    assert set(rows) == set(EXERCISES)
    assert run("progress", "--json", tmp_path).exit_code == 2
