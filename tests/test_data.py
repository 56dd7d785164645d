"""From texts to padded ids: where EOS and padding go, what is refused."""

import types

import pytest
import torch
from tiny_models import EOS, PAD, PROMPT_IDS, RESPONSE_IDS, TOKENIZER, shaped_actor
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from minirlhf.data import (
    batch_rows,
    check_lengths,
    decode_responses,
    encode_prompts,
    encode_responses,
    pad_prompts,
    pad_responses,
    prompt_text,
)  # fmt: skip

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
    assert prompt_text(TOKENIZER, " the :") == " the :" and prompt_text(TOKENIZER, [the]) == "the"


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
    check_lengths(model, [[5] * 40, [5] * 50], [24, 14])  # each with its own
    with pytest.raises(ValueError, match=r"prompt 2 has 50 tokens; with a response of 15 it does"):
        check_lengths(model, [[5] * 40, [5] * 50], [24, 15])
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
