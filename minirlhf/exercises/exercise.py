"""What an exercise is: a solution, inputs to try it on, and the wrong answers that people give.

    @exercise(notebook="05", title="The Critic's target", difficulty=2, importance=5, minutes=8,
              task="Write $R_t + γV_{t+1}$ …", hints=("…", "…"))
    def td_target(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float):
        "R_t + γ·V_{t+1}; 0 where masked. All (B, R)."
        return ...                      # the solution; the notebook shows head and docstring only

    @td_target.cases
    def _(draw: Draw) -> Iterator[Case]:
        yield Case("one token", draw.normal(1, 1), ...)

    @td_target.wrong("You read V one token late: …")
    def _(rewards, values, response_mask, *, gamma): ...    # the formula of that misconception

An exercise is known by its name, which is the function's; names are unique over the course.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

Answer = Any  # a function, or the value that a question asks for
Judge = Callable[[Answer], str | None]  # None if right, or else what is wrong
EXERCISES: dict[str, "Exercise"] = {}  # by name, in the order of the course


class Case:
    """One call to try an answer with.

    Args:
        name: what is special about it, such as "one token"; shown to the learner.
        args: what the function gets.
        kwargs: what it gets by name.
    """

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.name, self.args, self.kwargs = name, args, kwargs


class Draw:
    """Random inputs that are the same at every run.

    Args:
        seed: of the numbers.
    """

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal numbers of that shape."""
        return torch.randn(shape, generator=self.generator)

    def log_probs(self, *shape: int) -> torch.Tensor:
        """Numbers as log-probs are: negative, mostly between −3 and 0."""
        return -self.normal(*shape).abs() - 0.01

    def ids(self, vocabulary: int, *shape: int) -> torch.Tensor:
        """Token ids from 0 to vocabulary − 1."""
        return torch.randint(vocabulary, shape, generator=self.generator)

    def mask(self, *lengths: int, width: int | None = None) -> torch.Tensor:
        """A response mask (B, R): row b has its first `lengths[b]` entries True."""
        width = max(lengths) if width is None else width
        return torch.arange(width) < torch.tensor(lengths)[:, None]


@dataclass(frozen=True)
class Wrong:
    """An answer that people give, and what to tell them.

    Attributes:
        answer: the wrong function or value.
        message: names the misconception and what to look at, without giving the solution away.
    """

    answer: Answer
    message: str


@dataclass
class Exercise:
    """One exercise.

    Attributes:
        name: unique; also the name of the function or variable that the learner writes.
        notebook: its two digits.
        title: a few words.
        difficulty: 1 to 5.
        importance: 1 to 5.
        minutes: for somebody who meets it for the first time.
        task: Markdown: what to do.
        hints: Markdown, from gentle to nearly everything.
        solution: the right function or value.
        remark: Markdown, shown below the solution: what to take from it.
        gradient_of: names of arguments; the gradient by them must be right, too.
        tolerance: for numbers, absolute and relative.
        judge: for answers that no comparison of values can judge; None = compare.
        form: of a question's answer: "a number", "a list of names", …
    """

    name: str
    notebook: str
    title: str
    difficulty: int
    importance: int
    minutes: int
    task: str
    hints: Sequence[str]
    solution: Answer
    remark: str = ""
    gradient_of: Sequence[str] = ()
    tolerance: float = 1e-4
    judge: Judge | None = None
    form: str = ""
    wrongs: list[Wrong] = field(default_factory=list)
    _cases: Callable[[Draw], Iterator[Case]] | None = None

    def __post_init__(self) -> None:
        """Refuse a name that is taken, and dots that cannot be drawn; then enter the table."""
        if self.name in EXERCISES:
            raise ValueError(f"there is an exercise {self.name!r} already")
        if not (1 <= self.difficulty <= 5 and 1 <= self.importance <= 5 and self.minutes > 0):
            raise ValueError(f"{self.name}: difficulty and importance go from 1 to 5")
        self.task, self.remark = inspect.cleandoc(self.task), inspect.cleandoc(self.remark)
        self.hints = [inspect.cleandoc(hint) for hint in self.hints]
        EXERCISES[self.name] = self

    @property
    def is_function(self) -> bool:
        """Whether the learner writes a function; otherwise it is a value."""
        return callable(self.solution)

    def cases(self, function: Callable[[Draw], Iterator[Case]]) -> None:
        """Decorator: the function that yields the inputs, the simplest first."""
        self._cases = function

    def wrong(self, message: str) -> Callable[[Callable[..., Any]], None]:
        """Decorator: a formula that people write instead, and what to tell them."""

        def add(function: Callable[..., Any]) -> None:
            self.wrongs.append(Wrong(function, message))

        return add

    def all_cases(self) -> list[Case]:
        """Fresh inputs, the same at every call."""
        if not self.is_function:
            return []
        if self._cases is None:
            return [Case("the only case")]
        return list(self._cases(Draw()))


def exercise(
    *,
    notebook: str,
    title: str,
    difficulty: int,
    importance: int,
    minutes: int,
    task: str,
    hints: Sequence[str],
    **more: Any,
) -> Callable[[Callable[..., Any]], Exercise]:
    """Decorator: the function is the solution of an exercise.

    Args:
        notebook: its two digits.
        title: a few words.
        difficulty: 1 to 5.
        importance: 1 to 5.
        minutes: for somebody who meets it for the first time.
        task: Markdown: what to do.
        hints: Markdown, from gentle to nearly everything.
        more: `remark`, `gradient_of`, `tolerance`, `judge`, as in `Exercise`.

    Raises:
        ValueError: the name is taken, or difficulty or importance is not from 1 to 5.
    """

    def make(function: Callable[..., Any]) -> Exercise:
        facts = (notebook, title, difficulty, importance, minutes)
        return Exercise(function.__name__, *facts, task, hints, function, **more)

    return make


def question(
    name: str,
    *,
    notebook: str,
    title: str,
    difficulty: int,
    importance: int,
    minutes: int,
    task: str,
    hints: Sequence[str],
    answer: Answer,
    form: str,
    wrong: Sequence[tuple[Answer, str]] = (),
    **more: Any,
) -> Exercise:
    """An exercise whose answer is a value: a number, a string, True or False, a set of strings.

    Args:
        name: unique; also the variable that the learner sets.
        notebook: its two digits.
        title: a few words.
        difficulty: 1 to 5.
        importance: 1 to 5.
        minutes: for somebody who meets it for the first time.
        task: Markdown: what is asked.
        hints: Markdown, from gentle to nearly everything.
        answer: the right one.
        form: what to type, such as "a number, in nats" or 'one of "a", "b", "c"'.
        wrong: pairs of a wrong value and what to tell those who give it.
        more: `remark`, `tolerance`, as in `Exercise`.

    Raises:
        ValueError: as for `exercise`.
    """
    facts = (notebook, title, difficulty, importance, minutes)
    wrongs = [Wrong(value, message) for value, message in wrong]
    return Exercise(name, *facts, task, hints, answer, form=form, wrongs=wrongs, **more)
