"""From files to padded ids: what is read, what is refused and how, where EOS and padding go."""

import builtins
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import EOS, PAD, PROMPT_IDS, RESPONSE_IDS, TOKENIZER, shaped_actor
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from minirlhf.data import (
    PREFERENCE_COLUMNS,
    PROMPT_COLUMNS,
    SFT_COLUMNS,
    batch_rows,
    check_lengths,
    decode_responses,
    encode_prompts,
    encode_responses,
    pad_prompts,
    pad_responses,
    read_rows,
)  # fmt: skip

GOOD = {"prompt": "the :", "completion": "the soup ."}


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# ------------------------------------------------------------------------------- reading


def test_rows_keep_their_order_and_only_the_named_columns(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    other = {"completion": "café ☕", "prompt": " the : ", "score": 3, "id": None}
    file.write_text(lines(GOOD) + "\n   \n" + json.dumps(other, ensure_ascii=False), "utf-8")
    wanted = [GOOD, {"prompt": " the : ", "completion": "café ☕"}]
    assert read_rows(file, SFT_COLUMNS) == read_rows(str(file), SFT_COLUMNS) == wanted
    assert read_rows(file, PROMPT_COLUMNS) == [{"prompt": row["prompt"]} for row in wanted]
    assert [list(row) for row in read_rows(file, ("completion", "prompt"))] == [
        ["completion", "prompt"]
    ] * 2


BAD_FILES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "bad.jsonl is empty; wanted at least one row"),
    "only blank lines": ("\n \n", "bad.jsonl is empty; wanted at least one row"),
    "cut off": (lines(GOOD) + "\n" + '{"prompt": "the', r"bad.jsonl, line 3: not valid JSON \("),
    "two on a line": ("{} {}\n", "line 1: not valid JSON"),
    "not UTF-8": (b"\xff\xfe{}\n", "bad.jsonl: not UTF-8 text"),
    "a list": (lines(GOOD, ["the :", "the soup ."]), "line 2: wanted an object such as"),
    "text": (lines("the :"), "line 1: wanted an object such as .* got 'the :'"),
    "no such column": (
        lines(GOOD, {"prompt": "the :", "text": "x"}),
        r"line 2: column 'completion' is missing \(columns here: prompt, text\)",
    ),
    "no column at all": (lines({}), r"column 'prompt' is missing \(columns here: none\)"),
    "null": (lines({**GOOD, "prompt": None}), "line 1: column 'prompt' must be text, got None"),
    "NaN": (lines({**GOOD, "completion": float("nan")}), "'completion' must be text, got nan"),
    "a number": (lines({**GOOD, "completion": 7}), "column 'completion' must be text, got 7"),
    "a chat": (lines({**GOOD, "prompt": [{"role": "user"}]}), "'prompt' must be text, got"),
    "blank text": (lines(GOOD, {**GOOD, "completion": "\t "}), "line 2: column 'completion' is em"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_by_line(case: str, tmp_path: Path) -> None:
    content, message = BAD_FILES[case]
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as caught:
        read_rows(file, SFT_COLUMNS)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(file))


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nowhere.jsonl", "nowhere.json"):
        with pytest.raises(ValueError, match=f"{name} does not exist; wanted a .jsonl file"):
            read_rows(tmp_path / name, SFT_COLUMNS)
    with pytest.raises(ValueError, match="is not a file; wanted a "):
        read_rows(tmp_path, SFT_COLUMNS)
    file = tmp_path / "good.jsonl"
    file.write_text(lines(GOOD))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"cannot read .*good\.jsonl: Permission denied"):
        read_rows(file, SFT_COLUMNS)


def hub_with(monkeypatch: pytest.MonkeyPatch, load: Callable[..., object]) -> None:
    module = types.ModuleType("datasets")
    module.load_dataset = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr("minirlhf.data.check_hub", lambda *_: None)


def test_a_hub_data_set_is_read_and_its_rows_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    hub_with(monkeypatch, lambda name, split: asked.append((name, split)) or [GOOD, {"prompt": ""}])
    with pytest.raises(ValueError, match="someone/reviews, line 2: column 'prompt' is empty"):
        read_rows("someone/reviews", PROMPT_COLUMNS, split="test")
    assert asked == [("someone/reviews", "test")]
    hub_with(monkeypatch, lambda name, split: [GOOD] * 2)
    assert read_rows("someone/reviews", ("completion",)) == [{"completion": "the soup ."}] * 2


def test_a_hub_data_set_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, split: str) -> None:
        raise RuntimeError(f"no {name}\nand more")

    hub_with(monkeypatch, fail)
    with pytest.raises(ValueError, match="Hub data set 'someone/none': no someone/none") as caught:
        read_rows("someone/none", SFT_COLUMNS)
    assert "and more" not in str(caught.value)
    real = builtins.__import__

    def no_datasets(name: str, *rest: object) -> object:
        if name == "datasets":
            raise ImportError
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_datasets)
    with pytest.raises(ValueError, match=r"pip install 'minirlhf\[data\]'"):
        read_rows("someone/none", PREFERENCE_COLUMNS)


# --------------------------------------------------------------------------- to token ids


def with_ends(template: str) -> PreTrainedTokenizerFast:
    """A tokenizer that puts something around each text."""
    vocabulary = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "the": 3, ":": 4, "soup": 5, ".": 6}
    tokenizer = Tokenizer(WordLevel(vocabulary))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")


@pytest.mark.parametrize(
    ("template", "wanted"),
    [("$A", [3, 4]), ("<bos> $A", [2, 3, 4]), ("$A <eos>", [3, 4]), ("<bos> $A <eos>", [2, 3, 4])],
)
def test_a_prompt_keeps_its_beginning_and_has_no_end(template: str, wanted: list[int]) -> None:
    """T5 and others end each text with EOS: a response would be over before it begins."""
    tokenizer = with_ends(template)
    assert encode_prompts(tokenizer, ["the :", "the soup :"])[0] == wanted
    assert encode_responses(tokenizer, ["the soup .", "."]) == [[3, 5, 6, 1], [6, 1]]


def test_token_ids_stay_as_they_are_among_texts() -> None:
    """A response that was cut before its end can only be given as ids: no EOS follows it."""
    the = TOKENIZER.convert_tokens_to_ids("the")
    assert encode_responses(TOKENIZER, [[7, 8], "the", [9]]) == [[7, 8], [the, EOS], [9]]
    assert encode_prompts(TOKENIZER, [[7, EOS], "the"]) == [[7, EOS], [the]]


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="the prompt ' ' has no tokens"):
        encode_prompts(TOKENIZER, ["the :", " "])


# ------------------------------------------------------------------------------- padding


def test_prompts_are_padded_on_the_left() -> None:
    prompts = pad_prompts([[5, 6, 7], [8], [PAD, 9]], PAD)
    assert prompts.prompt_ids.tolist() == [[5, 6, 7], [PAD, PAD, 8], [PAD, PAD, 9]]
    assert prompts.prompt_mask.tolist() == [
        [True, True, True], [False, False, True], [False, True, True],
    ]  # fmt: skip
    assert prompts.prompt_mask.dtype == torch.bool and prompts.prompt_ids.dtype == torch.int64


def test_responses_are_padded_on_the_right() -> None:
    ids, mask = pad_responses([[5, 6, EOS], [EOS], [7, PAD]], PAD)
    assert ids.tolist() == [[5, 6, EOS], [EOS, PAD, PAD], [7, PAD, PAD]]
    assert mask.tolist() == [[True, True, True], [True, False, False], [True, True, False]]
    assert mask.dtype == torch.bool


def test_decoding_takes_counted_tokens_without_the_special_ones() -> None:
    ids, mask = pad_responses(RESPONSE_IDS, PAD)
    ids[~mask] = 19  # a word where nothing is counted
    texts = decode_responses(TOKENIZER, ids, mask)
    words = [[i for i in row if i not in (EOS, PAD)] for row in RESPONSE_IDS]
    assert texts == [TOKENIZER.decode(row) for row in words] and texts[1] == ""
    completion = "the soup was warm ."
    ids, mask = pad_responses(encode_responses(TOKENIZER, [completion]), PAD)
    assert decode_responses(TOKENIZER, ids, mask) == [completion]


def test_a_prompt_that_leaves_no_room_is_named() -> None:
    model = shaped_actor().model  # 64 places
    check_lengths(model, [[5] * 40, [5] * 2], 24)
    with pytest.raises(ValueError, match=r"prompt 2 has 41 tokens; with a response of 24 it does"):
        check_lengths(model, [[5] * 40, [5] * 41], 24)
    model.config = types.SimpleNamespace()  # a model without a longest context
    check_lengths(model, PROMPT_IDS, 10**6)


# ---------------------------------------------------------------------------- batches


@pytest.mark.parametrize(("n", "size"), [(10, 3), (10, 10), (7, 1), (3, 8), (1, 4), (6, 4)])
def test_every_row_comes_once_an_epoch(n: int, size: int) -> None:
    """A long walk, cut into batches; an epoch may end in the middle of one."""
    walk = [row for batch in range(5 * n) for row in batch_rows(n, size, seed=4, batch=batch)]
    epochs = [walk[i : i + n] for i in range(0, len(walk) - n + 1, n)]
    assert len(epochs) >= 5
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    if n > 5:
        assert len({tuple(epoch) for epoch in epochs[:5]}) == 5  # shuffled anew


def test_batches_depend_on_seed_and_number_alone() -> None:
    later = batch_rows(10, 4, seed=1, batch=7)
    assert all(len(batch_rows(10, 4, seed=1, batch=b)) == 4 for b in range(9))
    assert batch_rows(10, 4, seed=1, batch=7) == later != batch_rows(10, 4, seed=2, batch=7)
