"""Every word of the café, the closings, and the prompts.

Two terms are used throughout this folder. The *sort* of a subject says what it is (a dish, one of
the staff, a place); adjectives belong to one sort, so "the soup was rude" makes no sense. The
*tone* of an opinion or a closing says what the guest thinks: kind words please, rude words hurt.

Left out on purpose: plurals, tenses, capitals, misspellings. The texts should read like texts, and
a model of 0.4 million parameters should learn them within seconds.
"""

from typing import Literal, NamedTuple

Sort = Literal["dish", "staff", "place"]
Tone = Literal["happy", "unhappy", "neutral"]

PAD_TOKEN, EOS_TOKEN, UNK_TOKEN = "<pad>", "<eos>", "<unk>"

MAX_RESPONSE_TOKENS = 24
"""Longest response in tokens, <eos> included. No review of the grammar is longer."""

SUBJECTS: dict[Sort, tuple[str, ...]] = {
    "dish": ("soup", "bread", "fish", "pasta", "cake", "tea"),
    "staff": ("waiter", "cook", "owner", "barista"),
    "place": ("room", "garden", "terrace", "kitchen"),
}

KIND_ADJECTIVES: dict[Sort, tuple[str, ...]] = {
    "dish": ("fresh", "warm", "tasty", "delicious", "rich"),
    "staff": ("kind", "friendly", "quick", "polite", "patient"),
    "place": ("cosy", "clean", "bright", "pretty", "quiet"),
}

RUDE_ADJECTIVES: dict[Sort, tuple[str, ...]] = {
    "dish": ("cold", "salty", "burnt", "bland", "stale"),
    "staff": ("rude", "slow", "grumpy", "careless", "bossy"),
    "place": ("dirty", "noisy", "dark", "cramped", "gloomy"),
}

ADVERBS = ("very", "quite", "so")
CONNECTIVES = ("and", "but", "while", "though")


class Closing(NamedTuple):
    """A last sentence; its tone counts once, on its last word."""

    text: str  # at most 5 words, none of them a subject or an adjective
    tone: Tone


CLOSINGS = (
    Closing("i will come back", "happy"),
    Closing("we loved it", "happy"),
    Closing("we left with a smile", "happy"),
    Closing("never again", "unhappy"),
    Closing("i want my money back", "unhappy"),
    Closing("we left in tears", "unhappy"),
    Closing("we paid and left", "neutral"),
    Closing("that is all", "neutral"),
)

SORT_OF_SUBJECT = {word: sort for sort, words in SUBJECTS.items() for word in words}
SORT_OF_ADJECTIVE = {
    word: sort
    for adjectives in (KIND_ADJECTIVES, RUDE_ADJECTIVES)
    for sort, words in adjectives.items()
    for word in words
}
KIND_WORDS = frozenset(word for words in KIND_ADJECTIVES.values() for word in words)


def make_prompt(*topics: str) -> str:
    """The prompt that asks for a review of one or two subjects.

    Example:
        >>> make_prompt("soup")
        'review the soup :'
        >>> make_prompt("soup", "waiter")
        'review the soup and the waiter :'
    """
    return "review " + " and ".join(f"the {topic}" for topic in topics) + " :"


def topics_of(prompt: str) -> tuple[str, ...]:
    """The subjects that a prompt names, in order; () when it names none.

    Example:
        >>> topics_of("review the soup and the waiter :")
        ('soup', 'waiter')
    """
    return tuple(word for word in prompt.split() if word in SORT_OF_SUBJECT)


def _pairs() -> list[tuple[str, str]]:
    """Each subject once with a partner of the next sort: dish, staff; staff, place; place, dish."""
    partners = {"dish": SUBJECTS["staff"], "staff": SUBJECTS["place"], "place": SUBJECTS["dish"]}
    return [
        (subject, partners[sort][i % len(partners[sort])])
        for sort, subjects in SUBJECTS.items()
        for i, subject in enumerate(subjects)
    ]


PROMPTS: tuple[str, ...] = (
    *(make_prompt(subject) for subject in SORT_OF_SUBJECT),  # 4 tokens each
    *(make_prompt(*pair) for pair in _pairs()),  # 7 tokens each
)


def _vocabulary() -> tuple[str, ...]:
    """All tokens by id: special tokens, grammar words, subjects, adjectives, closings."""
    tokens = [PAD_TOKEN, EOS_TOKEN, UNK_TOKEN, "review", ":", "the", "was", ",", "."]
    tokens += [*CONNECTIVES, *ADVERBS, *SORT_OF_SUBJECT, *SORT_OF_ADJECTIVE]
    tokens += [word for closing in CLOSINGS for word in closing.text.split()]
    return tuple(dict.fromkeys(tokens))  # a word keeps its first place


VOCABULARY: tuple[str, ...] = _vocabulary()
