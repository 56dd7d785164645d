"""Where the prompt ends: nothing is lost, no word is cut, and what has no prompt is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirlhf.data_report import BadRow
from minirlhf.data_split import (
    ASSISTANT,
    HUMAN,
    is_transcript,
    split_shared_prefix,
    split_transcript,
)

SPLITS = [
    ("Q: warm? A: yes", "Q: warm? A: no", "Q: warm? A:", " yes", " no"),
    ("the soup was warm", "the soup was watery", "the soup was", " warm", " watery"),  # one "wa"
    ("A: yes", "A: yes sir", "A:", " yes", " yes sir"),  # one is the beginning of the other
    ("the soup\n\nwarm", "the soup\n\ncold", "the soup", "\n\nwarm", "\n\ncold"),
    ("the soup \n warm", "the soup \n", "the", " soup \n warm", " soup \n"),  # none is blank
    ("the soup warm", "the soup\twarm", "the soup", " warm", "\twarm"),
    ("问：汤怎么样？答：好", "问：汤怎么样？答：不好", "问：汤怎么样？答：", "好", "不好"),
    ("e\u0301a warm", "e\u0302a cold", None, None, None),
    ("汤 好", "汤 坏", "汤", " 好", " 坏"),
    ("warm", "cold", None, None, None),
    ("warm soup", "water soup", None, None, None),
    (" warm", " cold", None, None, None),  # a prompt of white space is none
    ("soup", "soup", None, None, None),
    ("the soup", "the soup", "the", " soup", " soup"),
]


@pytest.mark.parametrize(("chosen", "rejected", "prompt", "one", "other"), SPLITS)
def test_the_cut_is_before_the_first_word_that_differs(
    chosen: str, rejected: str, prompt: str | None, one: str, other: str
) -> None:
    if prompt is None:
        with pytest.raises(BadRow, match="do not begin alike"):
            split_shared_prefix(chosen, rejected)
        return
    assert split_shared_prefix(chosen, rejected) == (prompt, one, other)


TEXTS = st.text(alphabet="ab \n汤e\u0301.", max_size=12)


@given(TEXTS, TEXTS, TEXTS)
def test_prompt_and_response_are_the_text_again(shared: str, one: str, other: str) -> None:
    chosen, rejected = shared + one, shared + other
    try:
        prompt, first, second = split_shared_prefix(chosen, rejected)
    except BadRow:
        # then no white space, and no character of Chinese, stood where a cut could have been
        words = shared.rstrip().split()
        assert len(words) < 2 or not one.strip() or not other.strip() or not shared[:1].strip()
        return
    assert prompt + first == chosen and prompt + second == rejected
    assert prompt.strip() and first.strip() and second.strip()
    assert not prompt[-1].isspace()
    for answer in (first, second):
        assert answer[0].isspace() or "汤" in prompt[-1] + answer[0]


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8), st.text(max_size=8))
def test_swapping_the_two_swaps_the_responses(one: str, other: str, shared: str) -> None:
    try:
        prompt, first, second = split_shared_prefix(f"{shared} {one}", f"{shared} {other}")
    except BadRow:
        return
    swapped = split_shared_prefix(f"{shared} {other}", f"{shared} {one}")
    assert swapped == (prompt, second, first)


def test_a_million_shared_characters_are_no_trouble() -> None:
    """Neither in one word nor in many."""
    long = "汤" + "a" * 900_000
    assert split_shared_prefix(long + "b", long + "c")[0] == "汤"
    words = "soup " * 200_000
    assert split_shared_prefix(words + "b", words + "c") == (words[:-1], " b", " c")


# -------------------------------------------------------------------------- transcripts


TURNS = st.lists(
    st.tuples(st.sampled_from([HUMAN, ASSISTANT]), st.text(alphabet="ab \n:", max_size=6)),
    min_size=1,
    max_size=5,
)


@given(TURNS)
def test_the_last_turn_of_the_assistant_is_the_response(turns: list[tuple[str, str]]) -> None:
    text = "".join(speaker + said for speaker, said in turns)
    if turns[-1][0] == HUMAN:
        with pytest.raises(BadRow, match="does not end with a turn of the Assistant"):
            split_transcript(text)
        return
    prompt, response = split_transcript(text)
    assert prompt + response == text and response == turns[-1][1]
    assert prompt.endswith(ASSISTANT)


def test_what_is_a_transcript() -> None:
    assert is_transcript("\n\nHuman: Hi!\n\nAssistant: Hello.")
    assert is_transcript("Human: Hi!\n\nAssistant: Hello.")  # some copies are stripped
    assert not is_transcript("\n\nHuman: Hi!")
    assert not is_transcript("A Human: Hi!\n\nAssistant: Hello.")
    assert not is_transcript("the soup was warm")
