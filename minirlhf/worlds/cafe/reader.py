"""The reader of the café: a finite automaton that finds the words which break the grammar.

A review is seen as a form with slots ("the 1", "subject 1", ..., "stop", "end"). The state is the
slot that was filled last; `FORM` says which words fill each slot and which slots may follow. A word
that fits no following slot is broken, and the word itself decides how reading goes on:

1. it fits the current slot once more ("very very"): it is crossed out;
2. it fits a later slot of the same opinion ("the soup fresh"): words are missing, go there;
3. it opens something later (the second opinion, the full stop, the closing): go there;
4. otherwise it is crossed out.

Reading therefore never goes back. That is why no text, however strange, can fill the four adjective
slots and the closing twice, and why no text at all scores more than the best well-formed review.

Left out: what needs a memory of words (repetition, an adjective that does not suit its subject, the
topic); that is `gold.py`'s part. And a connective is not asked to suit the two opinions it joins.
"""

from collections.abc import Iterable
from typing import NamedTuple

from .words import (
    ADVERBS,
    CLOSINGS,
    CONNECTIVES,
    SORT_OF_ADJECTIVE,
    SORT_OF_SUBJECT,
    Tone,
)


class Slot(NamedTuple):
    """One place of the form."""

    name: str  # what stands here, for people
    words: frozenset[str]  # the words that fill it
    following: tuple[str, ...]  # the slots that may come next, the preferred one first


class Move(NamedTuple):
    """What a word does to a state."""

    slot: str  # the state after the word
    fits: bool  # False: the word is broken


def _slot(name: str, words: Iterable[str], *following: str) -> Slot:
    return Slot(name, frozenset(words), following)


def _opinion(n: int, *after: str) -> dict[str, Slot]:
    """The slots of opinion n; `after` are the slots that may follow a complete opinion."""
    next_opinion = ("the 2",) if n == 1 else ()  # "... was warm and the waiter was kind"
    return {
        f"the {n}": _slot("'the'", ["the"], f"subject {n}"),
        f"subject {n}": _slot("a subject", SORT_OF_SUBJECT, f"was {n}"),
        f"was {n}": _slot("'was'", ["was"], f"adverb {n}", f"adjective {n}a"),
        f"adverb {n}": _slot("an adverb", ADVERBS, f"adjective {n}a"),
        f"adjective {n}a": _slot("an adjective", SORT_OF_ADJECTIVE, f"and {n}", *after),
        f"and {n}": _slot("'and'", ["and"], f"adjective {n}b", *next_opinion),
        f"adjective {n}b": _slot("an adjective", SORT_OF_ADJECTIVE, *after),
    }


def _closings() -> dict[str, Slot]:
    """One slot for each beginning of a closing: "closing: i", "closing: i will", ..."""
    slots: dict[str, Slot] = {}
    for closing in CLOSINGS:
        words = closing.text.split()
        for i in range(1, len(words) + 1):
            key = _closing_key(words[:i])
            known = slots[key].following if key in slots else ()  # "we ..." goes on in many ways
            after = "end" if i == len(words) else _closing_key(words[: i + 1])
            slots[key] = _slot(
                f"'{words[i - 1]}'", words[i - 1 : i], *dict.fromkeys((*known, after))
            )
    return slots


def _closing_key(words: Iterable[str]) -> str:
    return "closing: " + " ".join(words)


_CLOSING_SLOTS = _closings()
_OPENINGS = tuple(dict.fromkeys(_closing_key(c.text.split()[:1]) for c in CLOSINGS))
_CONNECT = ("comma", "connective", "stop")

_FIRST = {
    "start": _slot("the start", (), "the 1"),
    **_opinion(1, *_CONNECT),
    "comma": _slot("a comma", [","], "connective", "the 2"),
    "connective": _slot("a connective", CONNECTIVES, "the 2"),
}
_SECOND = _opinion(2, "stop")

FORM: dict[str, Slot] = {
    **_FIRST,
    **_SECOND,
    "stop": _slot("a full stop", ["."], *_OPENINGS),
    **_CLOSING_SLOTS,
    "end": _slot("a full stop", ["."]),
}

SUBJECT_SLOTS = {"subject 1": 0, "subject 2": 1}
"""Slot -> which opinion's subject stands there, counted from 0 as the topics of a prompt are."""

ADJECTIVE_SLOTS = frozenset({"adjective 1a", "adjective 1b", "adjective 2a", "adjective 2b"})

CLOSING_TONES: dict[str, Tone] = {_closing_key([c.text]): c.tone for c in CLOSINGS}
"""Slot of a closing's last word -> its tone."""


def _jumps(state: str) -> tuple[str, ...]:
    """The slots to which a broken word may lead on from a state, the nearest first."""
    for part, beyond in (
        (_FIRST, ("the 2", "subject 2", "stop", *_OPENINGS)),
        (_SECOND, ("stop", *_OPENINGS)),
        (_CLOSING_SLOTS, ()),
    ):
        if state in part:
            names = list(part)
            later = names[names.index(state) + 1 :] if part is not _CLOSING_SLOTS else ["end"]
            return (*later, *beyond)
    return ()


def _moves(state: str) -> dict[str, Move]:
    """What every word that is not simply crossed out does in a state."""
    moves: dict[str, Move] = {}
    for targets, fits in ((FORM[state].following, True), ((state,), False), (_jumps(state), False)):
        for target in targets:
            for word in FORM[target].words:
                moves.setdefault(word, Move(target, fits))
    return moves


_MOVES = {state: _moves(state) for state in FORM}
_CROSSED_OUT = {state: Move(state, fits=False) for state in FORM}


def move(state: str, word: str) -> Move:
    """The automaton: the state after a word, and whether the word fits.

    Example:
        >>> move("subject 1", "was")
        Move(slot='was 1', fits=True)
        >>> move("subject 1", "fresh")  # "the soup fresh": 'was' is missing
        Move(slot='adjective 1a', fits=False)
        >>> move("subject 1", "zebra")  # crossed out
        Move(slot='subject 1', fits=False)
    """
    return _MOVES[state].get(word, _CROSSED_OUT[state])


def expected(state: str) -> str:
    """What may come next in a state, in words.

    Example:
        >>> expected("was 1")
        'an adverb or an adjective'
    """
    if state == "stop":
        return "a closing or the end"
    return " or ".join(FORM[slot].name for slot in FORM[state].following) or "the end"
