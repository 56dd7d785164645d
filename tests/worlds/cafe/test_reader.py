"""The automaton, against an independent description of the same language: a regular expression."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from minirlhf.worlds.cafe import VOCABULARY, words
from minirlhf.worlds.cafe.reader import (
    ADJECTIVE_SLOTS,
    CLOSING_TONES,
    FORM,
    SUBJECT_SLOTS,
    expected,
    move,
)

WORDS = VOCABULARY[3:]
STATES = list(FORM)


def any_of(choices):
    return "(?:" + "|".join(choices) + ")"


ADJECTIVE = any_of(words.SORT_OF_ADJECTIVE)
OPINION = (
    f"the {any_of(words.SORT_OF_SUBJECT)} was (?:{any_of(words.ADVERBS)} )?"
    f"{ADJECTIVE}(?: and {ADJECTIVE})?"
)
CONNECT = r"(?:(?:, )?(?:and|but|while|though)|,)"
CLOSING = any_of(closing.text for closing in words.CLOSINGS)
REVIEW = re.compile(rf"{OPINION}(?: {CONNECT} {OPINION})? \.(?: {CLOSING} \.)?")


def read(text):
    """The final state, and the places of broken words."""
    state, broken = "start", []
    for i, word in enumerate(text.split()):
        state, fits = move(state, word)
        if not fits:
            broken.append(i)
    return state, broken


def accepts(text):
    state, broken = read(text)
    return state in ("stop", "end") and not broken


def all_accepted(alphabet):
    """Every text over an alphabet that the automaton accepts."""
    found, unfinished = [], [("start", [])]
    while unfinished:
        state, so_far = unfinished.pop()
        if state in ("stop", "end"):
            found.append(" ".join(so_far))
        for word in alphabet:
            step = move(state, word)
            if step.fits:
                unfinished.append((step.slot, [*so_far, word]))
    return found


def test_accepts_exactly_the_language_of_the_grammar():
    # One word for each class, and every word of the closings.
    closing_words = {word for closing in words.CLOSINGS for word in closing.text.split()}
    alphabet = sorted({"the", "soup", "was", "very", "fresh", "but", ",", "."} | closing_words)
    assert "and" in alphabet
    alphabet += ["while", "though"]
    texts = all_accepted(alphabet)
    assert len(texts) == len(set(texts))
    assert all(REVIEW.fullmatch(text) for text in texts)
    # 4 shapes of an opinion, 9 ways to connect two, with or without one of the closings.
    assert len(texts) == (4 + 4 * 9 * 4) * (1 + len(words.CLOSINGS))


def test_every_word_of_a_class_is_treated_alike():
    for text in [
        *(f"the {subject} was fresh ." for subject in words.SORT_OF_SUBJECT),
        *(f"the soup was {adverb} fresh ." for adverb in words.ADVERBS),
        *(f"the soup was {adjective} ." for adjective in words.SORT_OF_ADJECTIVE),
        *(f"the soup was fresh and {adjective} ." for adjective in words.SORT_OF_ADJECTIVE),
    ]:
        assert accepts(text), text


reviews = st.from_regex(REVIEW, fullmatch=True)
edits = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "replace"]),
        st.integers(0, 40),
        st.sampled_from(["the", "soup", "was", "very", "fresh", "and", "but", ",", ".", "i", "we"]),
    ),
    max_size=2,
)


def edited(text, changes):
    tokens = text.split()
    for kind, place, word in changes:
        place %= len(tokens) + 1
        if kind == "insert":
            tokens.insert(place, word)
        else:
            tokens[place : place + 1] = [word] if kind == "replace" else []
    return " ".join(tokens)


@settings(max_examples=400)
@given(reviews, edits)
def test_agrees_with_the_regular_expression_on_reviews_and_near_misses(review, changes):
    text = edited(review, changes)
    assert accepts(text) == bool(REVIEW.fullmatch(text))


def test_a_slip_costs_little():
    slips = {
        "the soup fresh . we loved it .": [2],  # 'was' is missing
        "soup was fresh . we loved it .": [0],  # 'the' is missing
        "the the soup was fresh . we loved it .": [1],
        "the soup was very very fresh . we loved it .": [4],
        "the soup was fresh the waiter was kind .": [4],  # a connective is missing
        "the soup was fresh and warm waiter was kind .": [6],  # ', the' is missing
        "the soup was fresh we loved it .": [4],  # the full stop is missing
        "the soup was fresh and the waiter was kind we loved it .": [9],
        "the soup was fresh . we loved it": [],
        "the soup was fresh . we indeed loved it .": [6],
        "the soup was fresh . . we loved it .": [5],
        "the soup was zebra fresh .": [3],
        "the soup was .": [3],
        "the soup was fresh . we . loved it .": [6, 7, 8, 9],  # the full stop ended the closing
    }
    for text, broken in slips.items():
        assert read(text)[1] == broken, text


def test_nothing_fits_after_the_second_opinion_and_the_closing():
    three = "the soup was fresh and the waiter was kind and the room was cosy ."
    assert read(three)[1] == [10, 11, 12]  # 'the room was'
    assert read("the soup was fresh . the tea was warm .")[1] == [5, 6, 7, 8, 9]
    assert read("the soup was fresh . we loved it . we loved it .")[1] == [9, 10, 11, 12]


def test_reading_never_goes_back():
    # With this no text can fill a slot twice: what makes 3.0 the best score of all texts.
    for state in STATES:
        for word in (*WORDS, "zebra"):
            step = move(state, word)
            if STATES.index(step.slot) <= STATES.index(state):
                assert step == (state, False), (state, word, step)


def test_only_one_closing_can_be_completed():
    for state in CLOSING_TONES:
        targets = {move(state, word).slot for word in WORDS}
        assert targets <= {state, "end"}
    assert {move("end", word) for word in WORDS} == {("end", False)}


def test_every_slot_is_used_and_named():
    reached = {move(state, word).slot for state in STATES for word in WORDS}
    assert reached == set(STATES)  # "start" when a first word is crossed out
    assert set(SUBJECT_SLOTS) | ADJECTIVE_SLOTS | set(CLOSING_TONES) <= set(STATES)
    assert len(CLOSING_TONES) == len(words.CLOSINGS)
    assert expected("start") == "'the'"
    assert expected("adjective 2a") == "'and' or a full stop"
    assert expected("stop") == "a closing or the end"
    assert expected("end") == "the end"
