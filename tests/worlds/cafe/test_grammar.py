"""The writer of reviews."""

import random
import re
import statistics

import pytest

from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import grammar, words

ROWS = cafe.sft_rows(6000, seed=0)
FAULTS = ("breaks", "unknown", "said", "off topic", "not said", "cut", "ends without", "says")


def test_every_review_is_free_of_faults():
    for row in ROWS:
        for score in cafe.gold_breakdown(row["prompt"], row["completion"]):
            assert not score.reason.startswith(FAULTS), (row, score)


def test_every_review_fits_with_eos_and_the_longest_uses_all_the_room():
    lengths = {len(row["completion"].split()) + 1 for row in cafe.sft_rows(30_000, seed=1)}
    assert max(lengths) == cafe.MAX_RESPONSE_TOKENS == 24
    assert min(lengths) == 6  # "the soup was warm ." and <eos>


def test_gold_has_mean_0_and_standard_deviation_1_5():
    golds = [cafe.gold_reward(row["prompt"], row["completion"]) for row in ROWS]
    assert statistics.mean(golds) == pytest.approx(0.0, abs=0.15)
    assert statistics.pstdev(golds) == pytest.approx(1.5, abs=0.15)
    assert max(golds) == 3.0 and min(golds) == -3.0


def test_texts_are_varied():
    texts = [row["completion"] for row in ROWS]
    assert len(set(texts)) > 0.75 * len(texts)
    used = {word for row in ROWS for text in row.values() for word in text.split()}
    assert used == set(cafe.VOCABULARY) - {"<pad>", "<eos>", "<unk>"}
    assert {row["prompt"] for row in ROWS} == set(cafe.PROMPTS)
    for closing in words.CLOSINGS:
        assert any(text.endswith(f". {closing.text} .") for text in texts)


def test_opinions_follow_the_topics_in_order():
    rng = random.Random(0)
    for prompt in cafe.PROMPTS:
        given, text = cafe.write_review(rng, prompt)
        assert given == prompt
        topics = words.topics_of(prompt)
        assert words.topics_of(text)[: len(topics)] == topics


def test_some_single_topic_reviews_have_a_second_opinion():
    rng = random.Random(0)
    texts = [cafe.write_review(rng, "review the soup :")[1] for _ in range(2000)]
    share = statistics.mean(len(words.topics_of(text)) == 2 for text in texts)
    assert share == pytest.approx(grammar.P_SECOND_OPINION, abs=4 * (0.25 / 2000) ** 0.5)


def tone(opinion):
    """True for kind, False for rude; an opinion never mixes them."""
    (kind,) = {
        word in words.KIND_WORDS for word in opinion.split() if word in words.SORT_OF_ADJECTIVE
    }
    return kind


def test_connectives_suit_the_opinions_they_join():
    seen = set()
    for row in ROWS:
        main = row["completion"].split(" .")[0]
        first, *rest = re.split(r" ((?:, )?(?:and|but|while|though)|,) the ", main)
        assert tone(first) in (True, False)
        if rest:
            connective, second = rest
            agree = tone(first) == tone(second)
            seen.add((agree, connective))
            assert connective in (grammar.AGREEING if agree else grammar.CONTRASTING), row
    assert len(seen) == len(set(grammar.AGREEING)) + len(set(grammar.CONTRASTING))


def test_kind_and_rude_are_treated_alike():
    # Mean 0 holds by symmetry: each half of a coin that is fair, within 4 standard errors.
    kind_first, happy_end = [], []
    tones = {f". {closing.text} .": closing.tone for closing in words.CLOSINGS}
    for row in ROWS:
        text = row["completion"]
        adjectives = [word for word in text.split() if word in words.SORT_OF_ADJECTIVE]
        kind_first.append(adjectives[0] in words.KIND_WORDS)
        happy_end += [t == "happy" for c, t in tones.items() if text.endswith(c) and t != "neutral"]
    for coin in (kind_first, happy_end):
        assert abs(statistics.mean(coin) - 0.5) < 4 * (0.25 / len(coin)) ** 0.5


def test_the_same_seed_gives_the_same_reviews():
    assert cafe.sft_rows(50, seed=3) == cafe.sft_rows(50, seed=3)
    assert cafe.sft_rows(50, seed=3) == cafe.sft_rows(60, seed=3)[:50]
    assert cafe.sft_rows(50, seed=3) != cafe.sft_rows(50, seed=4)


def test_seed_0_writes_these_reviews_on_every_machine():
    # Pinned: shipped checkpoints and recorded runs were made from these very texts.
    assert [tuple(row.values()) for row in cafe.sft_rows(3, seed=0)] == [
        (
            "review the barista and the kitchen :",
            "the barista was polite and friendly , the kitchen was quiet and clean . "
            "we left with a smile .",
        ),
        (
            "review the kitchen and the pasta :",
            "the kitchen was cramped and dirty while the pasta was bland . never again .",
        ),
        (
            "review the owner and the terrace :",
            "the owner was polite and friendly and the terrace was clean and quiet . "
            "we left with a smile .",
        ),
    ]


def test_rows_are_plain_dicts_of_text():
    for row in ROWS[:100]:
        assert type(row) is dict and list(row) == ["prompt", "completion"]
        assert all(type(value) is str for value in row.values())
        assert all(text == " ".join(text.split()) for text in row.values())


@pytest.mark.parametrize("n", [0, -1])
def test_no_rows_are_refused(n):
    with pytest.raises(ValueError, match=f"n is {n}, but at least 1"):
        cafe.sft_rows(n, seed=0)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "review  :",
        "review the zebra :",
        "the soup",
        "review the soup : ",
        "review the soup and the soup :",
        "review the soup and the tea and the cake :",
    ],
)
def test_a_prompt_without_one_or_two_subjects_is_refused(prompt):
    with pytest.raises(
        ValueError, match="'review the X :' or 'review the X and the Y :' is wanted"
    ):
        cafe.write_review(random.Random(0), prompt)
