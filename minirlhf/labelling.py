"""A person's preferences, one pair at a time: questions, answers, undo, agreement, a file.

    labels = Labels(make_questions(pairs, repeats=6), path="labels.jsonl")
    labels.choose("left"); labels.undo()
    labels.rows()          # prompt, chosen, rejected: what a reward model learns from

Some pairs are asked twice, with the sides swapped: how often somebody agrees with an earlier self
bounds how well any model of them can do. Left out: "both are equally good".
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from minirlhf.atomic import write_text
from minirlhf.data import PREFERENCE_COLUMNS, Row
from minirlhf.data_rows import read_rows
from minirlhf.noise import PREFERENCES, permutation, uniform_noise

Side = Literal["left", "right"]
SIDES: tuple[Side, ...] = ("left", "right")
Taste = Callable[[str, str], float]  # how much a labeller likes (prompt, response); higher = more


@dataclass(frozen=True)
class Question:
    """Two responses to one prompt."""

    prompt: str
    left: str
    right: str
    repeats: int | None = None  # number of the earlier question that has the same two, swapped


class Agreement(NamedTuple):
    """How often two judges chose alike, of so many pairs on which both had a choice."""

    same: int
    of: int

    @property
    def share(self) -> float | None:
        """In [0, 1]; None where there was nothing to compare."""
        return self.same / self.of if self.of else None


def make_questions(
    pairs: Sequence[tuple[str, str, str]], *, repeats: int = 0, seed: int = 0
) -> list[Question]:
    """All pairs in order; in the second half some of the first half come back, sides swapped.

    Args:
        pairs: (prompt, left, right), the two different.
        repeats: how many pairs are asked twice; at most half of them.
        seed: decides which.

    Raises:
        ValueError: no pairs, two equal responses, or too many repeats.
    """
    half = len(pairs) // 2
    if not pairs or not 0 <= repeats <= half:
        raise ValueError(f"cannot ask {repeats} of {len(pairs)} pairs twice; at most half of them")
    same = [prompt for prompt, left, right in pairs if left == right]
    if same:
        raise ValueError(f"both responses to {same[0]!r} are the same; nobody can choose")
    questions = [Question(*pair) for pair in pairs[:half]]
    again = sorted(permutation(half, seed, PREFERENCES)[:repeats])
    rest = pairs[half:]
    for i, pair in enumerate(rest):
        questions.append(Question(*pair))
        for earlier in again[repeats * i // len(rest) : repeats * (i + 1) // len(rest)]:
            prompt, left, right = pairs[earlier]
            questions.append(Question(prompt, right, left, repeats=earlier))
    return questions


def simulate(questions: Sequence[Question], taste: Taste, *, seed: int = 0) -> list[Side]:
    """The answers of somebody with this taste; a tie is a toss of a coin."""
    coins = uniform_noise(seed, PREFERENCES, 1, rows=len(questions), steps=1)[:, 0].tolist()
    answers: list[Side] = []
    for question, coin in zip(questions, coins, strict=True):
        left, right = taste(question.prompt, question.left), taste(question.prompt, question.right)
        first = coin < 0.5 if left == right else left > right
        answers.append("left" if first else "right")
    return answers


class Labels:
    """The answers so far.

    Args:
        questions: as `make_questions` gives them; the same ones when a file is resumed.
        path: a JSONL file of `prompt`, `chosen`, `rejected`, written anew after every answer, so
            that it is complete or as before. If it exists, its answers are taken over.

    Raises:
        ValueError: the file holds answers to other questions.
        OSError: the file cannot be written.
    """

    def __init__(self, questions: Sequence[Question], path: str | Path | None = None) -> None:
        self.questions, self.path = tuple(questions), None if path is None else Path(path)
        self.choices: list[Side] = []
        if self.path is not None and self.path.is_file() and self.path.stat().st_size:
            self.choices = self._read(self.path)

    @property
    def complete(self) -> bool:
        """Whether every question is answered."""
        return len(self.choices) == len(self.questions)

    def choose(self, side: Side) -> None:
        """Answer the next question.

        Raises:
            ValueError: no such side, or all are answered.
        """
        self.take([*self.choices, side])

    def undo(self) -> None:
        """Take back the last answer, if there is one."""
        self.take(self.choices[:-1])

    def take(self, choices: Sequence[Side]) -> None:
        """Have these answers from now on, and write them down.

        Raises:
            ValueError: too many, or a side that is neither "left" nor "right".
        """
        if len(choices) > len(self.questions):
            raise ValueError(f"all {len(self.questions)} questions are answered already")
        for side in choices:
            if side not in SIDES:
                raise ValueError(f"choose 'left' or 'right', not {side!r}")
        before, self.choices = self.choices, list(choices)
        if self.path is None or before == self.choices:
            return
        try:
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows()))
        except OSError:
            self.choices = before
            raise

    def rows(self, *, repeats: bool = True) -> list[Row]:
        """A row for each answer, for `RewardModelTrainer`.

        Args:
            repeats: False leaves out the pairs that were asked for the second time.
        """
        return [
            _row(question, side)
            for question, side in zip(self.questions, self.choices, strict=False)
            if repeats or question.repeats is None
        ]

    def agreement_with(self, taste: Taste) -> Agreement:
        """With somebody else's taste, over the pairs between which that one has a preference."""
        differences = [
            (taste(row["prompt"], row["chosen"]) - taste(row["prompt"], row["rejected"]))
            for row in self.rows()
        ]
        return Agreement(sum(d > 0 for d in differences), sum(d != 0 for d in differences))

    def agreement_with_self(self) -> Agreement:
        """With the earlier self, over the pairs that were asked twice."""
        twice = [
            (self.choices[question.repeats], side)
            for question, side in zip(self.questions, self.choices, strict=False)
            if question.repeats is not None
        ]
        # the sides are swapped, so the same response stands on the other side
        return Agreement(sum(first != second for first, second in twice), len(twice))

    def _read(self, path: Path) -> list[Side]:
        rows = read_rows(path, PREFERENCE_COLUMNS)
        choices: list[Side] = []
        for number, row in enumerate(rows):
            question = self.questions[number] if number < len(self.questions) else None
            sides = [s for s in SIDES if question is not None and row == _row(question, s)]
            if not sides:
                raise ValueError(
                    f"{path}, line {number + 1} answers another question than the one asked here; "
                    "use the same pairs and seed as then, or another file"
                )
            choices.append(sides[0])
        return choices


def _row(question: Question, side: Side) -> Row:
    chosen, rejected = question.left, question.right
    if side == "right":
        chosen, rejected = rejected, chosen
    return {"prompt": question.prompt, "chosen": chosen, "rejected": rejected}
