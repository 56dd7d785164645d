"""Which rows fit: counted to the token, cheap for huge texts, and with a reason for the others."""

import json

import pytest
from chat_tokenizers import CHATML, chat_tokenizer
from tiny_models import TOKENIZER

from minirlhf.data import EncodableRow, encode_prompts, encode_responses
from minirlhf.data_fit import CHARACTERS_PER_TOKEN, Example, Limits, fitting_rows
from minirlhf.data_formats import Parsed
from minirlhf.data_report import DataReport

SOUP = "the soup was warm ."  # 5 tokens, 6 with EOS


def example(prompt: object, *responses: str, number: int = 1) -> Example:
    names = ("chosen", "rejected") if len(responses) == 2 else ("completion",)
    return Example(number, Parsed("", prompt, dict(zip(names, responses, strict=False))))  # type: ignore[arg-type]


def fit(
    *examples: Example, tokenizer: object = TOKENIZER, **limits: int
) -> tuple[list[EncodableRow], dict[str, int]]:
    report = DataReport("rows.jsonl", "line")
    rows = fitting_rows(examples, tokenizer, Limits(**limits), report)  # type: ignore[arg-type]
    return [row for _, row in rows], dict(report.counts)


def test_prompt_and_response_are_counted_to_the_token() -> None:
    """With the EOS that follows the response, and the longer response of two."""
    pair = example("review the soup :", SOUP, "warm .")  # 4 and 6, 4 and 3
    wanted = {"prompt": "review the soup :", "chosen": SOUP, "rejected": "warm ."}
    assert fit(pair, max_tokens=10) == ([wanted], {})
    assert fit(pair, max_tokens=9) == ([], {"too long": 1})
    assert fit(pair) == ([wanted], {})
    swapped = example("review the soup :", "warm .", SOUP)
    assert fit(swapped, max_tokens=10)[1] == {} and fit(swapped, max_tokens=9)[1] != {}
    encoded = encode_prompts(TOKENIZER, [wanted["prompt"]]), encode_responses(TOKENIZER, [SOUP])
    assert sum(len(ids[0]) for ids in encoded) == 10  # as the trainers count


def test_a_prompt_leaves_room_for_a_response_that_will_be_sampled() -> None:
    prompt = example("review the soup :")
    assert fit(prompt, max_tokens=10, response_room=6)[0] == [{"prompt": "review the soup :"}]
    assert fit(prompt, max_tokens=10, response_room=7)[1] == {"too long": 1}
    assert fit(prompt, max_tokens=4)[1] == {} and fit(prompt, max_tokens=3)[1] == {"too long": 1}
    short = example("review the soup :", "warm .", ".")
    assert fit(short, max_tokens=9, response_room=6)[1] == {"too long": 1}


def test_what_has_too_many_characters_never_meets_the_tokenizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    tokenizer = chat_tokenizer(CHATML)
    real = type(tokenizer).__call__

    def counted(self: object, text: object, **options: object) -> object:
        seen.append(len(json.dumps(text)))
        return real(self, text, **options)

    monkeypatch.setattr(type(tokenizer), "__call__", counted)
    limit = 20
    long = "x" * (CHARACTERS_PER_TOKEN * limit)
    chat = [{"role": "user", "content": long}]
    rows = [example(long + "x"), example("a", long), example(chat, "ab"), example("ab", "c")]
    kept, dropped = fit(*rows, tokenizer=tokenizer, max_tokens=limit)
    assert kept == [{"prompt": "ab", "completion": "c"}] and dropped == {"too long": 3}
    assert seen and max(seen) < 100
    assert fit(example(long), tokenizer=tokenizer, max_tokens=limit)[1] == {"too long": 1}


def test_rows_that_teach_nothing_or_the_wrong_thing() -> None:
    end = TOKENIZER.eos_token
    assert fit(example("the :", f"the {end} soup ."))[1] == {"EOS inside a response": 1}
    assert fit(example("the :", SOUP, f"soup {end}"))[1] == {"EOS inside a response": 1}
    assert fit(example(f"the {end} soup :", SOUP))[1] == {}  # a prompt may be a whole dialogue
    # different texts, the same tokens: nothing to choose between
    assert fit(example("the :", "soup .", " soup  ."))[1] == {"chosen equals rejected": 1}
    blank = "\u200b"  # no white space for Python; no token for a tokenizer that drops it
    tokenizer = chat_tokenizer(None)
    tokenizer.backend_tokenizer.normalizer = strip_zero_width()
    assert fit(example("a", blank), tokenizer=tokenizer)[1] == {"empty text": 1}
    tokenizer.backend_tokenizer.post_processor = None  # else <bos> is there
    assert fit(example(blank, "a"), tokenizer=tokenizer)[1] == {"empty text": 1}


def strip_zero_width() -> object:
    from tokenizers.normalizers import Replace

    return Replace("\u200b", "")


def test_chats_are_ids_and_texts_stay_texts() -> None:
    tokenizer = chat_tokenizer(CHATML)
    chat = example([{"role": "user", "content": "Soup?"}], "Hot.", "Cold.")
    ((row,), dropped) = fit(chat, tokenizer=tokenizer)
    assert dropped == {} and list(row) == ["prompt", "chosen", "rejected"]
    assert tokenizer.decode(row["prompt"]).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(row["rejected"]) == "Cold.<|im_end|><eos>"
    total = len(row["prompt"]) + len(row["rejected"])
    assert fit(chat, tokenizer=tokenizer, max_tokens=total)[1] == {}
    assert fit(chat, tokenizer=tokenizer, max_tokens=total - 1)[1] == {"too long": 1}


def test_many_calls_of_the_tokenizer_are_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [example(f"{'the ' * i}:", SOUP, number=i) for i in range(1, 30)]
    whole = fit(*rows, max_tokens=20)
    monkeypatch.setattr("minirlhf.data_fit.AT_ONCE", 40)
    assert fit(*rows, max_tokens=20) == whole
    assert len(whole[0]) == 13 and whole[1] == {"too long": 16}
