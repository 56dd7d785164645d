"""Each exercise of the course: its solution is right, and every known wrong answer is told why."""

import ast
import builtins
import copy
import math

import pytest
import torch
from torch import Tensor

import minirlhf
from minirlhf.exercises import EXERCISES, check
from minirlhf.exercises.cells import help_text, solution, stub_text, task_text
from minirlhf.exercises.examine import examine
from minirlhf.worlds import cafe, exact

SAME_ANSWER_TWICE = [
    pytest.param(name, number, id=f"{name}-{number}")
    for name, one in EXERCISES.items()
    for number in range(len(one.wrongs))
]
NAMES = {
    "minirlhf": minirlhf,
    "copy": copy,
    "math": math,
    "torch": torch,
    "Tensor": Tensor,
    "check": check,
    "cafe": cafe,
    "exact": exact,
}


@pytest.fixture(params=EXERCISES)
def exercise(request):
    return EXERCISES[request.param]


def test_there_are_enough():
    notebooks = {one.notebook for one in EXERCISES.values()}
    assert len(EXERCISES) >= 40 and notebooks == {f"{n:02}" for n in range(11)}


def test_the_solution_is_right(exercise):
    verdict = examine(exercise, exercise.solution)
    assert verdict.state == "right", verdict.message


def test_a_proof_that_proves_nothing_is_told_where_to_look():
    def proof_6():
        assert minirlhf.Reference  # holds whatever happens

    message = examine(EXERCISES["proof_6"], proof_6).message
    assert "The bug acts in minirlhf.rollout.collect_rollout." in message


@pytest.mark.parametrize("name, number", SAME_ANSWER_TWICE)
def test_a_known_wrong_answer_gets_its_own_message(name, number):
    wrong = EXERCISES[name].wrongs[number]
    verdict = examine(EXERCISES[name], wrong.answer)
    assert verdict.state == "wrong"
    assert wrong.message in verdict.message
    others = [w.message for n, w in enumerate(EXERCISES[name].wrongs) if n != number]
    assert wrong.message not in others


def test_knows_wrong_answers(exercise):
    assert exercise.wrongs


def test_the_stub_is_unanswered_and_the_solved_cell_is_right(exercise, capsys, monkeypatch):
    monkeypatch.setenv("MINIRLHF_PROGRESS", "/nonexistent/never-written.json")
    stub = run_alone(stub_text(exercise))
    assert examine(exercise, stub[exercise.name]).state == "unanswered"
    assert f"○ {exercise.name}: not answered yet" in capsys.readouterr().out
    if exercise.is_function:
        solved = run_alone(solution(exercise))
        assert examine(exercise, solved[exercise.name]).state == "right"


def run_alone(source):
    """Run a cell with nothing but the names that a notebook's setup brings."""
    names = dict(NAMES)
    exec(compile(source, "cell", "exec"), names)
    return names


def test_a_solution_uses_only_names_that_the_notebook_has(exercise):
    if not exercise.is_function:
        return
    tree = ast.parse(solution(exercise))
    stored = {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    stored |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    stored |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    assert not used - stored - set(dir(builtins)) - set(NAMES)


def test_says_what_to_do_and_helps(exercise):
    assert len(exercise.task) > 30 and len(exercise.hints) >= 2
    text = task_text(exercise)
    assert text.startswith("### Exercise: ") and "Difficulty" in text
    folds = help_text(exercise)
    assert folds.count("<details>") == folds.count("</details>") == len(exercise.hints) + 1
    assert "Solution" not in help_text(exercise, with_solution=False)
    for wrong in exercise.wrongs:  # printed, not rendered
        assert "$" not in wrong.message and "\\" not in wrong.message


def test_where_the_library_has_the_same_function_it_is_right_too(exercise):
    twin = getattr(minirlhf, exercise.name, None)
    if exercise.is_function and exercise.judge is None and callable(twin):
        verdict = examine(exercise, twin)
        assert verdict.state == "right", verdict.message


def test_a_nonsense_answer_is_told_plainly(exercise):
    def broken(*args, **kwargs):
        raise RuntimeError("I am broken")

    verdict = examine(exercise, broken if exercise.is_function else object())
    assert verdict.state == "wrong" and verdict.message
    if exercise.is_function:
        assert "I am broken" in verdict.message
