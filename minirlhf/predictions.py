"""What a learner guessed before looking, kept over the course: how often right, and how sure.

Guesses are rows of one JSON file, `~/.minirlhf/predictions.json`, or where the environment variable
MINIRLHF_PREDICTIONS says. It lies outside the course's folder, so it survives a fresh clone and is
never committed by accident; nothing is sent anywhere. Delete the file to begin again.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from minirlhf.atomic import write_text

VARIABLE = "MINIRLHF_PREDICTIONS"


@dataclass(frozen=True)
class Prediction:
    """One guess, made before the result was seen.

    Attributes:
        question: its name, the same in every run of the notebook.
        options: how many answers there were.
        guess: number of the chosen option, from 0.
        truth: number of the right one.
        confidence: how sure, in percent.
    """

    question: str
    options: int
    guess: int
    truth: int
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the guess was right."""
        return self.guess == self.truth


@dataclass(frozen=True)
class Calibration:
    """How well a learner knows what they know.

    Attributes:
        guesses: how many.
        right: how many of them were right.
        confidence: mean, in percent.
        brier: mean Brier score, Σ_k (p_k − [k is true])²: 0 is best, 2 worst. p is the confidence
            on the guess, and the rest of it shared by the other options (Brier 1950).
        chance: Brier score of somebody who gives every option the same p: 1 − 1/options, mean.
    """

    guesses: int
    right: int
    confidence: float
    brier: float
    chance: float


def calibration(predictions: Sequence[Prediction]) -> Calibration:
    """The sums over all guesses; all 0 without any."""
    n = len(predictions)
    if not n:
        return Calibration(0, 0, 0.0, 0.0, 0.0)
    return Calibration(
        guesses=n,
        right=sum(p.right for p in predictions),
        confidence=sum(p.confidence for p in predictions) / n,
        brier=sum(map(brier, predictions)) / n,
        chance=sum(1 - 1 / p.options for p in predictions) / n,
    )


def brier(prediction: Prediction) -> float:
    """Σ_k (p_k − [k is true])² over the options of one guess."""
    sure = prediction.confidence / 100
    others = (1 - sure) / (prediction.options - 1)
    if prediction.right:
        return (1 - sure) ** 2 + (prediction.options - 1) * others**2
    return sure**2 + (1 - others) ** 2 + (prediction.options - 2) * others**2


def default_path() -> Path:
    """Where guesses are kept."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path.home() / ".minirlhf" / "predictions.json"


def load(path: Path | None = None) -> list[Prediction]:
    """All guesses so far; none if the file is missing or damaged.

    Args:
        path: of the file; None = `default_path()`.
    """
    try:
        rows = json.loads((path or default_path()).read_text("utf-8"))
        return [Prediction(**row) for row in rows]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def record(prediction: Prediction, path: Path | None = None) -> Calibration:
    """Keep a guess and return the score; a question's first guess is the one that counts.

    Args:
        prediction: the guess.
        path: of the file; None = `default_path()`. It is complete at every moment, and two
            notebooks may write at once. A damaged one is kept beside the new one as `.damaged`.

    Raises:
        OSError: the file cannot be written; what was there stays.
    """
    path = path or default_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        known = load(path)
        if not known and path.exists() and path.read_bytes().strip() not in (b"", b"[]"):
            path.replace(path.with_name(path.name + ".damaged"))
        if prediction.question not in {p.question for p in known}:
            known.append(prediction)
            lines = ",\n".join(json.dumps(asdict(p)) for p in known)
            write_text(path, f"[\n{lines}\n]\n")
    return calibration(known)
