"""The grammar of the café, as a writer of reviews.

    review  := opinion [connect opinion] "." [closing "."]
    opinion := "the" subject "was" [adverb] adjective ["and" adjective]
    connect := "and" | "but" | "while" | "though", each with or without "," before it | ","

A hidden mood (happy, mixed or unhappy) chooses the tone of each opinion and of the closing. Happy
and unhappy are treated alike, so the mean gold reward is 0 by symmetry; the probabilities below
were set so that its standard deviation is 1.5.

Left out: agreement is only a habit of the writer. It says "but" for a contrast and "and" otherwise;
the reader (`reader.py`) accepts both anywhere.
"""

import random
from collections.abc import Sequence
from typing import TypeVar

from .words import (
    ADVERBS,
    CLOSINGS,
    KIND_ADJECTIVES,
    PROMPTS,
    RUDE_ADJECTIVES,
    SORT_OF_SUBJECT,
    Tone,
    make_prompt,
    topics_of,
)

Item = TypeVar("Item")

P_MIXED = 0.4  # mood mixed; happy and unhappy share the rest equally
P_TRUE_TO_MOOD = 0.8  # an opinion has the tone of a happy or unhappy mood
P_SECOND_OPINION = 0.9  # when the prompt has one topic; with two topics always
P_ADVERB = 0.3
P_SECOND_ADJECTIVE = 0.55
P_CLOSING = 0.85
P_NEUTRAL_CLOSING = 0.15  # otherwise it has the mood's tone

AGREEING = ("and", "and", ", and", ",", "while")
CONTRASTING = ("but", "but", ", but", "though", ", though", "while", ", while")


def write_review(rng: random.Random, prompt: str | None = None) -> tuple[str, str]:
    """Writes one review, as the people do whose texts the model learns first.

    The first opinion is about the prompt's topic; with two topics, both get one, in order.

    Args:
        rng: source of randomness, moved on by the call.
        prompt: as `make_prompt` writes it; None draws one of PROMPTS, each equally likely.

    Returns:
        prompt, completion: words joined by single spaces, without <eos>.

    Raises:
        ValueError: the prompt does not ask for a review of one or two different subjects.

    Example:
        >>> write_review(random.Random(1), "review the soup :")[1]
        'the soup was delicious and fresh and the terrace was bright . i will come back .'
    """
    prompt = _pick(rng, PROMPTS) if prompt is None else prompt
    subjects = list(_checked_topics(prompt))
    if len(subjects) == 1 and rng.random() < P_SECOND_OPINION:
        subjects.append(_pick(rng, [word for word in SORT_OF_SUBJECT if word != subjects[0]]))
    mood = _draw_mood(rng)
    tones = _draw_tones(rng, mood, len(subjects))
    used: set[str] = set()
    opinions = [
        _opinion(rng, subject, tone, used) for subject, tone in zip(subjects, tones, strict=True)
    ]
    if len(opinions) == 2:
        connectives = AGREEING if tones[0] == tones[1] else CONTRASTING
        opinions.insert(1, _pick(rng, connectives))
    sentences = [" ".join(opinions), *_closing(rng, mood)]
    return prompt, " ".join(f"{sentence} ." for sentence in sentences)


def sft_rows(n: int, *, seed: int) -> list[dict[str, str]]:
    """Rows for supervised fine-tuning.

    Args:
        n: how many rows, at least 1.
        seed: the same seed gives the same rows on every machine.

    Returns:
        n rows {"prompt": ..., "completion": ...}.

    Raises:
        ValueError: n is below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}, but at least 1 row is needed")
    rng = random.Random(seed)
    reviews = (write_review(rng) for _ in range(n))
    return [{"prompt": prompt, "completion": completion} for prompt, completion in reviews]


def _pick(rng: random.Random, items: Sequence[Item]) -> Item:
    """One item, each equally likely.

    Only `random()` is promised to give the same numbers in every Python version; `choice` is not.
    """
    return items[int(rng.random() * len(items))]


def _checked_topics(prompt: str) -> tuple[str, ...]:
    topics = topics_of(prompt)
    if len(topics) not in (1, 2) or len({*topics}) < len(topics) or prompt != make_prompt(*topics):
        raise ValueError(
            f"prompt is {prompt!r}, but 'review the X :' or 'review the X and the Y :' is wanted, "
            f"with different subjects among {', '.join(SORT_OF_SUBJECT)}"
        )
    return topics


def _draw_mood(rng: random.Random) -> Tone:
    """The hidden mood; "neutral" stands for mixed feelings."""
    if rng.random() < P_MIXED:
        return "neutral"
    return _pick(rng, ("happy", "unhappy"))


def _draw_tones(rng: random.Random, mood: Tone, n: int) -> list[Tone]:
    """The tone of each of n opinions: mostly the mood's, or, with mixed feelings, one of each."""
    if mood == "neutral":
        first: Tone = _pick(rng, ("happy", "unhappy"))
        return [first, _opposite(first)][:n]
    return [mood if rng.random() < P_TRUE_TO_MOOD else _opposite(mood) for _ in range(n)]


def _opposite(tone: Tone) -> Tone:
    return "unhappy" if tone == "happy" else "happy"


def _opinion(rng: random.Random, subject: str, tone: Tone, used: set[str]) -> str:
    """One opinion. `used` holds the adjectives of the review so far, and gets the new ones."""
    adjectives = KIND_ADJECTIVES if tone == "happy" else RUDE_ADJECTIVES
    fresh = [word for word in adjectives[SORT_OF_SUBJECT[subject]] if word not in used]
    words = ["the", subject, "was"]
    if rng.random() < P_ADVERB:
        words.append(_pick(rng, ADVERBS))
    words.append(_pick(rng, fresh))
    if rng.random() < P_SECOND_ADJECTIVE:
        fresh.remove(words[-1])
        words += ["and", _pick(rng, fresh)]
    used.update(words)
    return " ".join(words)


def _closing(rng: random.Random, mood: Tone) -> list[str]:
    """No closing, or one: neutral at times, otherwise of the mood's tone (a coin for mixed)."""
    if rng.random() >= P_CLOSING:
        return []
    tone: Tone = _pick(rng, ("happy", "unhappy")) if mood == "neutral" else mood
    if rng.random() < P_NEUTRAL_CLOSING:
        tone = "neutral"
    return [_pick(rng, [closing.text for closing in CLOSINGS if closing.tone == tone])]
