"""Exercises of the bug museum: one assert that holds for right code and fails with the bug."""

from collections.abc import Callable
from typing import Any

from minirlhf import museum
from minirlhf.exercises.exercise import Judge

HOLDS_WITH_THE_BUG = (
    "Your proof passes with the bug switched on, too, so it proves nothing about it. Does it call "
    "`minirlhf.…` (not a name imported before)?"
)
FAILS_WITHOUT = (
    "Your proof fails for the right code as well: it asserts something that is not so, or with too "
    "little room for rounding."
)


def proves(bug: str) -> Judge:
    """A judge for functions without arguments that assert what this bug breaks.

    Args:
        bug: its name in `minirlhf.museum.BUGS`.

    Raises:
        ValueError: there is no such bug.
    """
    places = ", ".join(place.replace(":", ".") for place in museum.find(bug).replaces)

    def judge(proof: Callable[[], Any]) -> str | None:
        if failed(proof):
            return FAILS_WITHOUT
        with museum.switched_on(bug):
            return None if failed(proof) else f"{HOLDS_WITH_THE_BUG} The bug acts in {places}."

    return judge


def failed(proof: Callable[[], Any]) -> bool:
    """Whether an assert of the proof fails; other exceptions go on to the caller."""
    try:
        proof()
    except AssertionError:
        return True
    return False
