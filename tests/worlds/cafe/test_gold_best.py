"""3.0 is the best gold reward: of all well-formed reviews, and of all texts."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import words
from minirlhf.worlds.cafe.reader import ADJECTIVE_SLOTS, CLOSING_TONES, FORM, move

PAIR = "review the soup and the waiter :"
BEST = "the soup was fresh and warm and the waiter was kind and quick . we loved it ."
TONE_POINTS = {"happy": 1, "unhappy": -1, "neutral": 0}


def opinions(subjects):
    """Every shape and tone of an opinion, with its points: for one subject of each sort."""
    for subject in subjects:
        sort = words.SORT_OF_SUBJECT[subject]
        kind, rude = words.KIND_ADJECTIVES[sort], words.RUDE_ADJECTIVES[sort]
        for adverb, credits in itertools.product(
            ("", "very "), [(1,), (-1,), (1, 1), (1, -1), (-1, 1), (-1, -1)]
        ):
            # Subjects of the second opinion take other words, so that nothing is said twice.
            offset = 0 if subject in ("soup", "waiter", "room") else 2
            said = [(kind if c > 0 else rude)[offset + i] for i, c in enumerate(credits)]
            yield f"the {subject} was {adverb}{' and '.join(said)}", sum(credits)


def test_3_is_the_best_of_all_well_formed_reviews():
    endings = [(".", 0), *((f". {c.text} .", TONE_POINTS[c.tone]) for c in words.CLOSINGS)]
    firsts = list(opinions(("soup", "waiter", "room")))
    seconds = list(opinions(("tea", "owner", "terrace")))
    mains = [
        *firsts,
        *((f"{a} and {b}", p + q) for (a, p), (b, q) in itertools.product(firsts, seconds)),
    ]
    best = []
    for (main, p), (ending, q) in itertools.product(mains, endings):
        text = f"{main} {ending}"
        gold = cafe.gold_reward("", text)
        assert gold == pytest.approx(0.6 * (p + q), abs=1e-12), text
        if gold >= 3.0:
            best.append((text, gold))
    assert {gold for _, gold in best} == {3.0}
    # Two kind words for each of two subjects (3 × 3 sorts, adverbs or not) and a happy closing.
    assert len(best) == 9 * 4 * sum(c.tone == "happy" for c in words.CLOSINGS)


def test_no_text_at_all_scores_more_than_3():
    # Dynamic programming over every path of the automaton, broken words included: the most points
    # with which a state can be reached. A crossed-out word leaves the state and costs a point.
    states = list(FORM)
    most = dict.fromkeys(states, -math.inf) | {"start": 0}
    for state in states:  # moves only lead further down this list
        for word in cafe.VOCABULARY[3:]:
            step = move(state, word)
            gain = (
                1
                if step.slot in ADJECTIVE_SLOTS
                else TONE_POINTS[CLOSING_TONES.get(step.slot, "neutral")]
            )
            gain = gain if step.fits else -1
            assert step.slot == state or states.index(step.slot) > states.index(state)
            if step.slot == state:
                assert gain == -1
            most[step.slot] = max(most[step.slot], most[state] + gain)
    assert max(most.values()) == 5


FRAGMENTS = [
    *BEST.split(" and the "),
    "the soup was fresh and warm and the waiter was kind and quick",
    "and the room was cosy and clean",
    ", the tea was tasty and rich",
    "the owner was polite and patient",
    "light and lovely",
    ". i will come back .",
    "what a treat .",
    "it made my day",
    *cafe.VOCABULARY,
    "zebra",
]


@settings(max_examples=500)
@given(
    st.sampled_from([*cafe.PROMPTS, "", "zebra"]),
    st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(" ".join),
    st.booleans(),
)
def test_no_patchwork_scores_more_than_3(prompt, text, ended):
    assert cafe.gold_reward(prompt, text, ended=ended) <= 3.0


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 2), st.sampled_from(cafe.VOCABULARY)),
        min_size=1,
        max_size=4,
    )
)
def test_no_edit_of_the_best_review_helps(edits):
    tokens = BEST.split()
    for place, removed, word in edits:
        place %= len(tokens) + 1
        tokens[place : place + removed] = [word]
    assert cafe.gold_reward(PAIR, " ".join(tokens)) <= 3.0


def test_every_single_edit_that_leaves_the_language_costs_something():
    tokens = BEST.split()
    for place, word in itertools.product(range(len(tokens) + 1), cafe.VOCABULARY):
        text = " ".join([*tokens[:place], word, *tokens[place:]])
        gold = cafe.gold_reward(PAIR, text)
        legal = word in words.ADVERBS and tokens[place - 1] == "was" and place > 0
        legal |= word in (*words.CONNECTIVES, ",") and (place, word) == (6, ",")
        assert gold == 3.0 if legal else gold < 3.0, text
