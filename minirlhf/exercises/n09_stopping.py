"""Exercise of notebook 09: when to stop following a reward model."""

import math
from collections.abc import Iterator

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="09",
    title="Which checkpoint to keep",
    difficulty=2,
    importance=4,
    minutes=8,
    task="""
        Now and then people judge some responses of the Actor: a mean (gold) and its standard error.
        Go through these evaluations in order and stop at the first that lies *clearly* below the
        best so far: by more than twice the standard error of the difference,
        $2\\sqrt{e_i^2 + e_{best}^2}$. Return the number (from 0) of the best so far, the checkpoint
        to keep. What would have come after the stop is not known.
        """,
    hints=(
        "Keep the number of the best so far. At each evaluation there are three cases: clearly "
        "below it, above it, or neither.",
        "`if golds[best] - golds[i] > 2 * math.hypot(errors[i], errors[best]): break`",
    ),
    remark="""
        The score cannot tell when to stop, since it goes on rising. A few judged samples can.
        """,
)
def checkpoint_to_keep(golds: list[float], errors: list[float]) -> int:
    """Number of the best evaluation before gold has clearly fallen; reward units."""
    best = 0
    for i, gold in enumerate(golds):
        if golds[best] - gold > 2.0 * math.hypot(errors[i], errors[best]):
            break
        if gold > golds[best]:
            best = i
    return best


@checkpoint_to_keep.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("up and down", [0.0, 1.0, 2.0, 1.0, 0.0], [0.1] * 5)
    yield Case("one evaluation", [0.3], [0.1])
    yield Case("rises to the end", [0.0, 0.5, 0.9, 1.1], [0.1] * 4)
    yield Case("a dip that is only noise", [0.0, 1.0, 0.9, 1.6, 0.2, 0.1], [0.1] * 6)
    yield Case("falls in small steps", [2.0, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4, 3.0], [0.1] * 8)
    yield Case("better after the stop", [0.0, 1.0, 0.2, 1.5], [0.1] * 4)
    yield Case("few judgements: wide errors", [0.0, 1.0, 0.7, 1.2, 0.4], [0.3, 0.3, 0.3, 0.3, 0.3])


@checkpoint_to_keep.wrong(
    "You took the best of all evaluations, also of those after the stop. There is a case in which "
    "gold comes back later; nobody trains on to find out."
)
def _(golds: list[float], errors: list[float]) -> int:
    return golds.index(max(golds))


@checkpoint_to_keep.wrong(
    "You compared with the evaluation just before. Gold that falls in small steps never falls "
    "clearly from one to the next; compare with the best so far."
)
def _(golds: list[float], errors: list[float]) -> int:
    best = 0
    for i in range(1, len(golds)):
        if golds[i - 1] - golds[i] > 2.0 * math.hypot(errors[i], errors[i - 1]):
            break
        best = i if golds[i] > golds[best] else best
    return best


@checkpoint_to_keep.wrong(
    "You stop at any dip. Some dips are noise: they must be larger than two standard errors of the "
    "difference."
)
def _(golds: list[float], errors: list[float]) -> int:
    best = 0
    for i in range(1, len(golds)):
        if golds[i] < golds[best]:
            break
        best = i
    return best


@checkpoint_to_keep.wrong(
    "You return where you stopped, which is the checkpoint that people liked less. Wanted is the "
    "best one before it."
)
def _(golds: list[float], errors: list[float]) -> int:
    best = 0
    for i in range(1, len(golds)):
        if golds[best] - golds[i] > 2.0 * math.hypot(errors[i], errors[best]):
            return i
        best = i if golds[i] > golds[best] else best
    return best
