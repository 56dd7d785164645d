"""The gold reward: hand-computed scores, and any text whatever."""

import dataclasses
import math
import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirlhf.worlds import cafe

SOUP = "review the soup :"
PAIR = "review the soup and the waiter :"
BEST = "the soup was fresh and warm and the waiter was kind and quick . we loved it ."


def points(prompt, text, **flags):
    """Points before scaling, one for each entry."""
    return [round(score.points / 0.6, 6) for score in cafe.gold_breakdown(prompt, text, **flags)]


def reasons(prompt, text, **flags):
    return {score.token: score.reason for score in cafe.gold_breakdown(prompt, text, **flags)}


HAND_COMPUTED = {
    "plain": (SOUP, "the soup was warm .", [0, 0, 0, 1, 0, 0]),
    "rude": (SOUP, "the soup was very cold .", [0, 0, 0, 0, -1, 0, 0]),
    "mixed": (
        SOUP,
        "the soup was warm but the waiter was rude .",
        [0, 0, 0, 1, 0, 0, 0, 0, -1, 0, 0],
    ),
    "best": (PAIR, BEST, [0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0]),
    "worst well-formed": (
        PAIR,
        "the soup was cold and salty , the waiter was rude and slow . never again .",
        [0, 0, 0, -1, 0, -1, 0, 0, 0, 0, -1, 0, -1, 0, 0, -1, 0, 0],
    ),
    "neutral closing": (
        SOUP,
        "the soup was warm . we paid and left .",
        [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    ),
    "repeated kind word": (SOUP, "the soup was warm and warm .", [0, 0, 0, 1, 0, -1, 0, 0]),
    "repeated rude word": (SOUP, "the soup was cold and cold .", [0, 0, 0, -1, 0, -1, 0, 0]),
    "repeated subject": (
        SOUP,
        "the soup was warm and the soup was fresh .",
        [0, 0, 0, 1, 0, 0, -1, 0, 1, 0, 0],
    ),
    "rude word of another sort": (SOUP, "the soup was rude .", [0, 0, 0, -1, 0, 0]),
    "kind word of another sort": (SOUP, "the soup was polite .", [0, 0, 0, -1, 0, 0]),
    "off topic": (SOUP, "the tea was warm .", [0, -1, 0, 1, 0, 0]),
    "off topic in sort too": (SOUP, "the waiter was kind .", [0, -1, 0, 1, 0, 0]),
    "topics in the wrong order": (
        PAIR,
        "the waiter was kind and the soup was warm .",
        [0, -1, 0, 1, 0, 0, -1, 0, 1, 0, 0],
    ),
    "second topic left out": (PAIR, "the soup was warm .", [0, 0, 0, 1, 0, 0]),
    "word salad": (
        SOUP,
        "the fresh was fresh and fresh owner was kind . fresh",
        [0, -1, -1, -1, 0, -1, -1, 0, 1, 0, -1, -2],
    ),
    "only kind words": (SOUP, "fresh warm tasty", [-1, -1, -1, -2]),
    "ends on a comma": (SOUP, "the soup was warm ,", [0, 0, 0, 1, 0, -2]),
    "no full stop": (SOUP, "the soup was warm", [0, 0, 0, 1, -2]),
    "closing without full stop": (
        SOUP,
        "the soup was warm . we loved it",
        [0, 0, 0, 1, 0, 0, 0, 1, -2],
    ),
    "unfinished closing": (SOUP, "the soup was warm . we .", [0, 0, 0, 1, 0, 0, -1, 0]),
    "only a closing": (SOUP, "we loved it .", [-1, 0, 1, 0, 0]),
    "second closing": (
        SOUP,
        "the soup was warm . we loved it . what a treat .",
        [0, 0, 0, 1, 0, 0, 0, 1, 0, -1, -1, -1, -1, 0],
    ),
    "third opinion": (
        PAIR,
        "the soup was warm and the waiter was kind and the room was cosy .",
        [0, 0, 0, 1, 0, 0, 0, 0, 1, 0, -1, -1, -1, -1, 0, 0],
    ),
    "no subject": (SOUP, "the was warm .", [0, -1, 1, 0, 0]),
    "second opinion without subject": (
        SOUP,
        "the soup was warm and the was kind .",
        [0, 0, 0, 1, 0, 0, -1, 1, 0, 0],
    ),
    "subject crossed out": (SOUP, "the soup waiter was kind .", [0, 0, -1, 0, -1, 0, 0]),
    "unknown words": (SOUP, "the zebra was warm .", [0, -1, -1, 1, 0, 0]),
    "glued full stop": (SOUP, "the soup was warm.", [0, 0, 0, -1, -2]),
    "special tokens as text": (SOUP, "<pad> <eos>", [-1, -1, -2]),
    "words of the prompt": (SOUP, "review the soup :", [-1, 0, 0, -1, -2]),
    "only a full stop": (SOUP, ".", [-1, 0]),
    "empty": (SOUP, "", [-3]),
    "white space": (SOUP, " \n\t ", [-3]),
    "emoji": (SOUP, "🍲👍", [-1, -2]),
}


@pytest.mark.parametrize("name", HAND_COMPUTED)
def test_hand_computed(name):
    prompt, text, expected = HAND_COMPUTED[name]
    assert points(prompt, text) == expected
    assert cafe.gold_reward(prompt, text) == pytest.approx(0.6 * sum(expected), abs=1e-12)


def test_one_point_is_worth_0_6_and_the_best_review_exactly_3():
    assert cafe.POINT == 0.6
    assert cafe.gold_reward(PAIR, BEST) == 3.0
    assert [s.points for s in cafe.gold_breakdown(SOUP, "the soup was warm .")][3] == 0.6


def test_cut_off_responses():
    assert points(SOUP, "the soup was warm .", ended=False) == [0, 0, 0, 1, 0, -2]
    assert points(SOUP, "the soup was", ended=False) == [0, 0, 0, -2]
    assert points(SOUP, "", ended=False) == [-3]
    assert cafe.gold_breakdown(SOUP, "the soup was", ended=False)[-1].token == ""
    assert cafe.gold_breakdown(SOUP, "the soup was")[-1].token == "<eos>"
    assert cafe.gold_reward(SOUP, "the soup was warm .", ended=False) == pytest.approx(-0.6)


def test_reasons_say_what_happened():
    text = "the soup was rude and warm but the tea very warm zebra . we loved it ."
    said = reasons(PAIR, text)
    assert said["soup"] == "on topic"
    assert said["rude"] == "not said of a soup"
    assert said["tea"] == "off topic: the prompt asks for the waiter"
    assert said["very"] == "breaks the sentence: 'was' wanted"
    assert said["warm"] == "said before"  # the second one
    assert said["zebra"] == "unknown word"
    assert reasons(PAIR, "<pad>")["<pad>"] == "unknown word"  # as text it is no special token
    assert said["it"] == "happy closing"
    assert said["<eos>"] == "ends properly"
    assert reasons(SOUP, "the soup was warm and cold")["warm"] == "kind word"
    assert reasons(SOUP, "the soup was warm and cold")["cold"] == "rude word"
    assert reasons(SOUP, "the soup was warm")["<eos>"] == "ends without a full stop"
    assert reasons(SOUP, "the soup", ended=False)[""] == "cut off before <eos>"
    assert reasons(SOUP, "") == {"<eos>": "says nothing"}


def test_a_prompt_without_topics_asks_for_nothing():
    for prompt in ("", "hello", "review the zebra :"):
        assert cafe.gold_reward(prompt, BEST) == 3.0


def test_token_scores_are_frozen():
    score = cafe.TokenScore("warm", 0.6, "kind word")
    with pytest.raises(dataclasses.FrozenInstanceError):
        score.points = 3.0


# ---- any text ------------------------------------------------------------------------------------

any_text = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(st.sampled_from(cafe.VOCABULARY), st.text(max_size=5))).map(" ".join),
)


@settings(max_examples=400)
@given(st.one_of(st.sampled_from(cafe.PROMPTS), any_text), any_text, st.booleans())
def test_every_text_has_a_finite_score_that_its_points_add_up_to(prompt, text, ended):
    gold = cafe.gold_reward(prompt, text, ended=ended)
    scores = cafe.gold_breakdown(prompt, text, ended=ended)
    assert math.isfinite(gold) and type(gold) is float
    assert sum(score.points for score in scores) == pytest.approx(gold, abs=1e-9)
    assert [score.token for score in scores] == [*text.split(), "<eos>" if ended else ""]
    assert all(score.reason for score in scores)


def test_a_long_response_is_scored_quickly():
    text = (
        "the curry was really rich and light , and the owner was so kind and quick . never again ."
    )
    repeats = 200
    best = min(timeit.repeat(lambda: cafe.gold_reward(SOUP, text), number=repeats, repeat=5))
    assert best / repeats < 500e-6  # about 12 µs on a laptop; thousands are scored at a time
