"""`check.NAME(answer)`: try an answer, print the verdict, remember it."""

import sys

from minirlhf.exercises import progress
from minirlhf.exercises.examine import State, examine
from minirlhf.exercises.exercise import EXERCISES, Answer, Exercise

SIGNS: dict[State, str] = {"right": "✓", "wrong": "✗", "unanswered": "○"}


class Check:
    """One exercise's check, as `check.NAME`; call it with your function or value."""

    def __init__(self, exercise: Exercise) -> None:
        self.exercise = exercise
        self.__doc__ = f"{exercise.title}\n\n{exercise.task}"

    def __call__(self, answer: Answer) -> None:
        """Print whether the answer is right, and if not, what may be behind it."""
        verdict = examine(self.exercise, answer)
        progress.record(self.exercise.name, verdict.state)
        sys.stdout.write(f"{SIGNS[verdict.state]} {self.exercise.name}: {verdict.message}\n")


class Checks:
    """All checks by name: `check.td_target(my_function)`."""

    def __getattr__(self, name: str) -> Check:
        """The check of that name; AttributeError if there is none."""
        if name in EXERCISES:
            return Check(EXERCISES[name])
        raise AttributeError(f"no exercise {name!r}; see `minirlhf progress` for all of them")

    def __dir__(self) -> list[str]:
        """Their names, for completion with Tab."""
        return list(EXERCISES)


check = Checks()
