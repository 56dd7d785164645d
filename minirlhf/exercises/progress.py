"""Which exercises were tried and solved: one JSON file at home, that a teacher can collect.

The file is `~/.minirlhf/progress.json`, or what the environment variable MINIRLHF_PROGRESS names.
It lies outside the course's folder, so it survives a fresh clone; nothing is sent anywhere. Running
a notebook whose exercises are unanswered writes nothing.
"""

import datetime
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from minirlhf.atomic import write_text
from minirlhf.exercises.examine import State

VARIABLE = "MINIRLHF_PROGRESS"


@dataclass(frozen=True)
class Attempts:
    """What was done about one exercise.

    Attributes:
        tries: how often an answer was checked, up to the first right one.
        solved: whether one was right.
        day: of the last change, year-month-day.
    """

    tries: int = 0
    solved: bool = False
    day: str = ""


def default_path() -> Path:
    """Where progress is kept."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path.home() / ".minirlhf" / "progress.json"


def load(path: Path | None = None) -> dict[str, Attempts]:
    """Attempts by exercise; empty if the file is missing or damaged.

    Args:
        path: of the file; None = `default_path()`.
    """
    try:
        rows = json.loads((path or default_path()).read_text("utf-8"))
        return {name: Attempts(**row) for name, row in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def record(name: str, state: State, path: Path | None = None) -> None:
    """Keep the outcome of a check; an unanswered one, or one solved before, changes nothing.

    A file that cannot be written is no reason to disturb a learner: then nothing is kept.

    Args:
        name: of the exercise.
        state: what the check found.
        path: of the file; None = `default_path()`. A damaged one is kept as `.damaged`.
    """
    if state == "unanswered":
        return
    path = path or default_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            known = load(path)
            if not known and path.exists() and path.read_bytes().strip() not in (b"", b"{}"):
                path.replace(path.with_name(path.name + ".damaged"))
            before = known.get(name, Attempts())
            if before.solved:
                return
            today = datetime.date.today().isoformat()
            known[name] = Attempts(before.tries + 1, state == "right", today)
            rows = {one: asdict(attempts) for one, attempts in known.items()}
            write_text(path, json.dumps(rows, indent=1) + "\n")
    except OSError:
        return
