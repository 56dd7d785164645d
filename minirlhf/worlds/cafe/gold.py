"""The gold reward of the café: the taste of the human, known exactly.

Nobody but the preference sampler and the course sees it; the reward model has to guess it. Each
word of a response gets one verdict and its points (before scaling):

    +1  a kind word; the last word of a happy closing
    −1  a rude word; the last word of an unhappy closing
    −1  a subject or an adjective said before (and no credit)
    −1  a word that breaks the grammar: out of place, unknown, an adjective of the wrong sort
    −1  the subject of an opinion is not the topic that the prompt asks for
    −2  the response ends without a full stop, or is cut off before <eos>
    −3  the response says nothing

Every point is worth 0.6 reward units, so the best well-formed review (four kind words and a happy
closing) scores exactly 3.0, and reviews of the grammar have mean 0 and standard deviation 1.5.
No other text scores more: see `reader.py`.

Left out on purpose: adverbs carry nothing, and no word's worth depends on another's, so that the
points can be read off one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from .reader import ADJECTIVE_SLOTS, CLOSING_TONES, SUBJECT_SLOTS, Move, expected, move
from .words import (
    EOS_TOKEN,
    KIND_WORDS,
    SORT_OF_ADJECTIVE,
    SORT_OF_SUBJECT,
    VOCABULARY,
    topics_of,
)

POINT = 0.6
"""Reward units for one point: 5 points are the best review, and that shall score 3.0."""

_KNOWN = frozenset(VOCABULARY[3:])  # without the special tokens
_CONTENT = frozenset([*SORT_OF_SUBJECT, *SORT_OF_ADJECTIVE])
_Verdict = tuple[int, str]  # points before scaling, reason
_TONE_POINTS = {"happy": 1, "unhappy": -1, "neutral": 0}
_CLOSING_VERDICTS: dict[str, _Verdict] = {
    slot: (_TONE_POINTS[tone], f"{tone} closing") for slot, tone in CLOSING_TONES.items()
}


@dataclass(frozen=True)
class TokenScore:
    """What one token contributes to the gold reward, and why."""

    token: str  # the word; "<eos>", or "" when the response was cut off, in the last entry
    points: float  # reward units
    reason: str


def gold_reward(prompt: str, completion: str, *, ended: bool = True) -> float:
    """How much the human likes a response.

    Args:
        prompt: names the topics; a prompt without a known subject asks for nothing in particular.
        completion: words separated by spaces, without <eos>; any text is accepted.
        ended: True when the response ended with <eos>, False when it was cut off.

    Returns:
        Reward units, at most 3.0; about 0 ± 1.5 for reviews of the grammar.

    Example:
        >>> gold_reward("review the soup :", "the soup was warm . we loved it .")
        1.2
        >>> gold_reward("review the soup :", "the soup was cold and cold .")
        -1.2
    """
    return POINT * sum(points for _, (points, _) in _verdicts(prompt, completion, ended))


def gold_breakdown(prompt: str, completion: str, *, ended: bool = True) -> list[TokenScore]:
    """Why this score: the points of every word and of the ending.

    Args:
        prompt: as in `gold_reward`.
        completion: as in `gold_reward`.
        ended: as in `gold_reward`.

    Returns:
        One entry for each word, then one for the ending; the points sum to the gold reward.

    Example:
        >>> for score in gold_breakdown("review the tea :", "the tea was rude ."):
        ...     print(f"{score.points:4.1f} {score.token:5} {score.reason}")
         0.0 the   fits
         0.0 tea   on topic
         0.0 was   fits
        -0.6 rude  not said of a tea
         0.0 .     fits
         0.0 <eos> ends properly
    """
    return [
        TokenScore(token, POINT * points, reason)
        for token, (points, reason) in _verdicts(prompt, completion, ended)
    ]


def _verdicts(prompt: str, completion: str, ended: bool) -> Iterator[tuple[str, _Verdict]]:
    """Each word with its verdict, then the ending with its own."""
    topics, words = topics_of(prompt), completion.split()
    state = "start"
    subject = ""  # of the opinion being read; "" when it has none (yet)
    said: set[str] = set()
    for word in words:
        step = move(state, word)
        if step.slot == "the 2":
            subject = ""
        elif step.slot in SUBJECT_SLOTS and step.slot != state:
            subject = word
        yield word, _judge(word, state, step, subject, topics, said)
        if word in _CONTENT:
            said.add(word)
        state = step.slot
    yield EOS_TOKEN if ended else "", _judge_ending(words, ended)


def _judge(
    word: str, state: str, step: Move, subject: str, topics: tuple[str, ...], said: set[str]
) -> _Verdict:
    """The verdict on one word; the first rule that applies decides."""
    if word not in _KNOWN:
        return -1, "unknown word"
    if not step.fits:
        return -1, f"breaks the sentence: {expected(state)} wanted"
    if word in said:
        return -1, "said before"
    if step.slot in SUBJECT_SLOTS:
        return _judge_subject(word, topics[SUBJECT_SLOTS[step.slot] :])
    if step.slot in ADJECTIVE_SLOTS:
        return _judge_adjective(word, subject)
    return _CLOSING_VERDICTS.get(step.slot, (0, "fits"))


def _judge_subject(word: str, topics: tuple[str, ...]) -> _Verdict:
    """`topics` are those not yet spoken of; the first of them is due, if there is one."""
    if not topics:
        return 0, "fits"
    if word == topics[0]:
        return 0, "on topic"
    return -1, f"off topic: the prompt asks for the {topics[0]}"


def _judge_adjective(word: str, subject: str) -> _Verdict:
    """An adjective of the wrong sort is no credit and no insult, just wrong."""
    sort = SORT_OF_SUBJECT.get(subject)
    if sort is not None and SORT_OF_ADJECTIVE[word] != sort:
        return -1, f"not said of a {subject}"
    return (1, "kind word") if word in KIND_WORDS else (-1, "rude word")


def _judge_ending(words: list[str], ended: bool) -> _Verdict:
    if not words:
        return -3, "says nothing"
    if not ended:
        return -2, "cut off before <eos>"
    return (0, "ends properly") if words[-1] == "." else (-2, "ends without a full stop")
