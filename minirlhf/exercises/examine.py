"""Judge an answer: right, not there yet, or wrong and in which way."""

import copy
import dis
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from minirlhf.exercises.compare import brief, difference, holds_nan
from minirlhf.exercises.exercise import Answer, Case, Exercise

State = Literal["right", "wrong", "unanswered"]


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        state: "right", "wrong" or "unanswered".
        message: what to tell the learner.
    """

    state: State
    message: str = ""


class Raised:
    """In place of a result: the function raised this."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        """In words, for the learner."""
        return f"your code raised {type(self.error).__name__}: {self.error}"


def examine(exercise: Exercise, answer: Answer) -> Verdict:
    """Try an answer on all cases; if it fails, look for the known misconception behind it.

    Args:
        exercise: which.
        answer: the learner's function or value; `...` and None count as unanswered.
    """
    if answer is None or answer is ... or is_empty(answer):
        return Verdict("unanswered", "not answered yet: replace the `...` and run the cell again")
    if not exercise.is_function:
        return _examine_value(exercise, answer)
    if not callable(answer):
        return Verdict("wrong", f"wanted the function {exercise.name}, got {brief(answer)}")
    if exercise.judge is not None:
        return _judged(exercise, answer)
    cases = exercise.all_cases()
    results = [call(exercise, answer, case) for case in cases]
    if results[0] is None:
        return Verdict("wrong", "it returns nothing (None): is the `return` missing?")
    wanted = [call(exercise, exercise.solution, case) for case in cases]
    problems = [problem(exercise, g, w) for g, w in zip(results, wanted, strict=True)]
    failed = [number for number, words in enumerate(problems) if words]
    if not failed:
        return Verdict("right", f"right, {len(cases)} case{'s' * (len(cases) > 1)}")
    return Verdict("wrong", _explain(exercise, cases, results, failed[0], problems))


def _examine_value(exercise: Exercise, answer: Answer) -> Verdict:
    given = _plain(answer)
    if difference(given, _plain(exercise.solution), exercise.tolerance) is None:
        return Verdict("right", "right")
    for wrong in exercise.wrongs:
        if difference(given, _plain(wrong.answer), exercise.tolerance) is None:
            return Verdict("wrong", wrong.message)
    return Verdict("wrong", f"{brief(answer)} is not right. Wanted: {exercise.form}")


def _plain(answer: Any) -> Any:
    """Texts without blanks and capitals, which make no answer right or wrong."""
    return "".join(answer.split()).lower() if isinstance(answer, str) else answer


def _judged(exercise: Exercise, answer: Answer) -> Verdict:
    assert exercise.judge is not None
    try:
        message = exercise.judge(answer)
    except Exception as error:
        return Verdict("wrong", str(Raised(error)))
    return Verdict("right", "right") if message is None else Verdict("wrong", message)


def _explain(
    exercise: Exercise, cases: list[Case], results: list[Any], at: int, problems: list[str | None]
) -> str:
    """The misconception, if a known wrong formula gives the same results; then the first case.

    If none gives all of them, one will do that agrees at the first failing case and at each other
    case where the learner's code gave numbers: to forget an edge as well does not hide a mistake.
    """
    case = cases[at]
    shown = [brief(value) for value in case.args]
    shown += [f"{name}={brief(value)}" for name, value in case.kwargs.items()]
    where = f"case “{case.name}”: {exercise.name}({', '.join(shown)})\n{problems[at]}"
    edges = {
        i
        for i, result in enumerate(results)
        if i != at and (isinstance(result, Raised) or holds_nan(result))
    }
    near = []
    for wrong in exercise.wrongs:
        theirs = [call(exercise, wrong.answer, one) for one in cases]
        pairs = enumerate(zip(results, theirs, strict=True))
        differ = {i for i, (g, w) in pairs if problem(exercise, g, w)}
        if not differ:
            return f"{wrong.message}\n{where}"
        if differ <= edges:
            near.append(wrong.message)
    return f"{near[0]}\n{where}" if near else where


def call(exercise: Exercise, function: Callable[..., Any], case: Case) -> Any:
    """The result of one call, with gradients if they count; or `Raised`, or None.

    Returns:
        The result; (result, gradient of its sum by each of `gradient_of`) if there are any.
    """
    args, kwargs = copy.deepcopy((case.args, case.kwargs))
    before = copy.deepcopy((args, kwargs))
    watched = []
    if exercise.gradient_of:
        bound = inspect.signature(exercise.solution).bind(*args, **kwargs).arguments
        watched = [bound[name].requires_grad_() for name in exercise.gradient_of]
    try:
        result = function(*args, **kwargs)
        if result is None:
            return None
        if difference((args, tuple(kwargs.values())), (before[0], tuple(before[1].values())), 0.0):
            raise ValueError("it changes its inputs; work on new tensors instead")
        return (result, *_gradients(result, watched)) if watched else result
    except Exception as error:
        return Raised(error)


def _gradients(result: Any, watched: list[torch.Tensor]) -> list[torch.Tensor]:
    if not isinstance(result, torch.Tensor):
        return [torch.zeros_like(one) for one in watched]
    if not result.requires_grad:
        return [torch.zeros_like(one) for one in watched]
    found = torch.autograd.grad(result.sum(), watched, allow_unused=True)
    return [
        torch.zeros_like(one) if gradient is None else gradient
        for one, gradient in zip(watched, found, strict=True)
    ]


def problem(exercise: Exercise, got: Any, want: Any) -> str | None:
    """What differs between two results, which may be exceptions; None if nothing does."""
    if isinstance(want, Raised):
        return None if isinstance(got, Raised) and type(got.error) is type(want.error) else str(got)
    if isinstance(got, Raised):
        return str(got)
    if not exercise.gradient_of:
        return difference(got, want, exercise.tolerance)
    if got is None:  # at a later case: the `return` is missing on some path
        return difference(got, want[0], exercise.tolerance)
    # the result and its gradients, as `call` gives them
    names = ("", *(f"the gradient of its sum by {name}: " for name in exercise.gradient_of))
    for name, g, w in zip(names, got, want, strict=True):
        if words := difference(g, w, exercise.tolerance):
            return f"{name}{words}"
    return None


def is_empty(function: Any) -> bool:
    """Whether a function's body is nothing but a docstring and `...`: a stub, left as it was."""
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    does_nothing = {"RESUME", "NOP", "CACHE", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}
    steps = list(dis.get_instructions(code))
    constants = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    return {step.opname for step in steps} <= does_nothing and constants == [None]
