"""The field's shapes of rows: what each one means, and what is wrong with those without meaning."""

from typing import Any

import pytest

from minirlhf.data import PREFERENCE_COLUMNS, PROMPT_COLUMNS, SFT_COLUMNS
from minirlhf.data_formats import MAX_CHARACTERS, parser_of
from minirlhf.data_report import BadRow

ASK = {"role": "user", "content": "How was the soup?"}
SYSTEM = {"role": "system", "content": ""}
HUMAN = "\n\nHuman: How was the soup?\n\nAssistant:"


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


TEXT_PAIR = {"prompt": "the :", "chosen": "warm .", "rejected": "cold ."}
CHAT_PAIR = {"prompt": [ASK], "chosen": [says("Warm.")], "rejected": [says("Cold.")]}
LONG_PAIR = {"chosen": [SYSTEM, ASK, says("Warm.")], "rejected": [SYSTEM, ASK, says("Cold.")]}
HH_PAIR = {"chosen": HUMAN + " Warm.", "rejected": HUMAN + " Cold."}
WARM_COLD = {"chosen": "Warm.", "rejected": "Cold."}

PAIRS: dict[str, tuple[dict[str, Any], object, dict[str, str]]] = {
    "text": (TEXT_PAIR, "the :", {"chosen": "warm .", "rejected": "cold ."}),
    "other columns": ({**TEXT_PAIR, "score": 3, "id": None}, "the :", {
        "chosen": "warm .", "rejected": "cold ."}),
    "chat": (CHAT_PAIR, [ASK], WARM_COLD),
    "chat with a shared beginning": (LONG_PAIR, [SYSTEM, ASK], WARM_COLD),
    "the same, and the question as text": (
        {**LONG_PAIR, "prompt": ASK["content"]}, [SYSTEM, ASK], WARM_COLD),
    "more in a message than is read": (
        {**CHAT_PAIR, "chosen": [{**says("Warm."), "name": "cook"}]}, [ASK], WARM_COLD),
    "text with a shared beginning": (
        {"chosen": "Soup? Warm.", "rejected": "Soup? Cold."}, "Soup?", {
            "chosen": " Warm.", "rejected": " Cold."}),
    "transcripts": (HH_PAIR, HUMAN, {"chosen": " Warm.", "rejected": " Cold."}),
    "transcripts that begin alike to the end": (
        {"chosen": HUMAN + " It was warm.", "rejected": HUMAN + " It was cold."}, HUMAN, {
            "chosen": " It was warm.", "rejected": " It was cold."}),
}  # fmt: skip
SFT: dict[str, tuple[dict[str, Any], object, str]] = {
    "text": ({"prompt": " the :", "completion": "warm .\n"}, " the :", "warm .\n"),
    "chat": ({"prompt": [ASK], "completion": [says("Warm.")]}, [ASK], "Warm."),
    "messages": ({"messages": [ASK, says("Warm."), ASK, says("Yes.")]}, [
        ASK, says("Warm."), ASK], "Yes."),
    "messages and a prompt": ({"prompt": "x", "messages": [ASK, says("Hot.")]}, [ASK], "Hot."),
    "a transcript": ({"text": HUMAN + " Warm."}, HUMAN, " Warm."),
}  # fmt: skip


@pytest.mark.parametrize("case", PAIRS)
def test_pairs(case: str) -> None:
    row, prompt, responses = PAIRS[case]
    parsed = parser_of(PREFERENCE_COLUMNS)(row)
    assert (parsed.prompt, parsed.responses) == (prompt, responses)
    # stage 3 may be given the same rows
    alone = parser_of(PROMPT_COLUMNS)(row)
    assert (alone.prompt, alone.responses) == (prompt, {})


@pytest.mark.parametrize("case", SFT)
def test_sft(case: str) -> None:
    row, prompt, completion = SFT[case]
    parsed = parser_of(SFT_COLUMNS)(row)
    assert (parsed.prompt, parsed.responses) == (prompt, {"completion": completion})
    if "text" not in row:
        assert parser_of(PROMPT_COLUMNS)(row).prompt == prompt


def test_shapes_that_are_not_the_same_have_different_names() -> None:
    rows = [PAIRS[name][0] for name in PAIRS if name not in (
        "other columns", "the same, and the question as text", "more in a message than is read",
        "transcripts that begin alike to the end")]  # fmt: skip
    layouts = [parser_of(PREFERENCE_COLUMNS)(row).layout for row in rows]
    assert len(set(layouts)) == len(layouts)
    assert layouts[0] == "prompt, chosen and rejected as text"
    assert parser_of(PROMPT_COLUMNS)({"prompt": "the"}).layout == "prompt as text"


BIG = "x" * (MAX_CHARACTERS + 1)
BAD_PAIRS: dict[str, tuple[dict[str, Any], str, str]] = {
    "nothing": ({}, "missing column", r"'chosen' is missing \(columns here: none\)"),
    "no rejected": (
        {"prompt": "a", "chosen": "b"}, "missing", r"'rejected' is missing \(columns here: prompt"),
    "null": ({**TEXT_PAIR, "prompt": None}, "neither", "'prompt' must be text, got None"),
    "a number": ({**TEXT_PAIR, "chosen": 7}, "neither", "'chosen' must be text, got 7"),
    "a truth": ({**TEXT_PAIR, "rejected": True}, "neither", "'rejected' must be text, got True"),
    "NaN": ({**TEXT_PAIR, "chosen": float("nan")}, "neither", "must be text, got nan"),
    "an object": ({**TEXT_PAIR, "chosen": {"a": 1}}, "neither", r"must be text, got \{'a': 1\}"),
    "blank": ({**TEXT_PAIR, "prompt": "\t "}, "empty text", "column 'prompt' is empty"),
    "NUL": ({**TEXT_PAIR, "prompt": "a\0b"}, "NUL", "has a NUL character"),
    "half a character": ({**TEXT_PAIR, "chosen": "\ud83d"}, "NUL", "half a surrogate pair"),
    "huge": ({**TEXT_PAIR, "chosen": BIG}, "too many characters", "has 1,000,001 characters"),
    "the same twice": ({**TEXT_PAIR, "rejected": "warm ."}, "chosen equals", "chosen equals"),
    "text and chat": ({**TEXT_PAIR, "chosen": [says("warm")]}, "text beside", "the other a chat"),
    "chat and text": ({**TEXT_PAIR, "prompt": [ASK]}, "text beside", "must all be text, or all be"),
    "another question": ({**LONG_PAIR, "prompt": "Hm?"}, "text beside", "no message of the two"),
    "no shared beginning": (WARM_COLD, "no shared beginning", "no column 'prompt', and chosen and"),
    "other dialogues": (
        {**HH_PAIR, "rejected": "\n\nHuman: Hm?\n\nAssistant: Cold."}, "two dif", "different"),
    "Human at the end": (
        {"chosen": HUMAN + "\n\nHuman: Hm?", "rejected": HUMAN + " No."}, "transcript", "turn of"),
    "an empty turn": ({**HH_PAIR, "chosen": HUMAN + " "}, "empty text", "'chosen' is empty"),
    "messages that part early": (
        {**LONG_PAIR, "chosen": [ASK, says("Warm.")]}, "messages", "in their last message only"),
    "an answer only": (
        {"chosen": [says("a")], "rejected": [says("b")]}, "messages", "in their last message only"),
    "answers by the user": (
        {"chosen": [ASK, ASK], "rejected": [ASK, {**ASK, "content": "b"}]}, "mess", r"\['user'\]"),
    "two answers": (
        {**CHAT_PAIR, "chosen": [says("a"), says("b")]}, "messages", "must be one message of the"),
    "a prompt that is answered": ({**CHAT_PAIR, "prompt": [ASK, says("a")]}, "mess", "question"),
    "no messages": ({**CHAT_PAIR, "prompt": []}, "messages", r"must be messages, got \[\]"),
    "messages of text": ({**CHAT_PAIR, "prompt": ["hi"]}, "messages", "must have 'role'"),
    "no role": ({**CHAT_PAIR, "prompt": [{"content": "hi"}]}, "messages", "must have 'role'"),
    "content in parts": (
        {**CHAT_PAIR, "chosen": [{"role": "assistant", "content": [{"type": "text"}]}]},
        "messages", "as text, got"),
    "blank content": ({**CHAT_PAIR, "chosen": [says(" ")]}, "empty text", "'chosen' is empty"),
    "NUL in content": ({**CHAT_PAIR, "chosen": [says("a\0")]}, "NUL", "has a NUL"),
    "huge content": ({**CHAT_PAIR, "chosen": [says(BIG)]}, "too many", "1,000,001 characters"),
}  # fmt: skip
BAD_SFT: dict[str, tuple[dict[str, Any], str, str]] = {
    "text alone": ({"text": "the soup was warm"}, "text without", "where the response begins"),
    "no completion": ({"prompt": "a", "text": "x"}, "missing", r"'completion' .*: prompt, text\)"),
    "messages that end with a question": ({"messages": [ASK, says("a"), ASK]}, "messages", "user"),
    "one message": ({"messages": [says("a")]}, "messages", r"not be messages of \[\]"),
    "two answers": ({"messages": [ASK, says("a"), says("b")]}, "messages", "'assistant'"),
    "messages as text": ({"messages": "hi"}, "messages", "must be messages, got 'hi'"),
    "a long name": ({"x" * 999: 1}, "missing", "'prompt' is missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_bad_pairs(case: str) -> None:
    refuses(PREFERENCE_COLUMNS, *BAD_PAIRS[case])


@pytest.mark.parametrize("case", BAD_SFT)
def test_bad_sft(case: str) -> None:
    refuses(SFT_COLUMNS, *BAD_SFT[case])


def refuses(columns: tuple[str, ...], row: dict[str, Any], reason: str, detail: str) -> None:
    with pytest.raises(BadRow, match=detail) as caught:
        parser_of(columns)(row)
    assert caught.value.reason.startswith(reason)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_other_kinds_of_rows_are_not_known() -> None:
    with pytest.raises(ValueError, match="rows of columns completion are not known; wanted prompt"):
        parser_of(["completion"])
