"""The word-level tokenizer."""

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from minirlhf.worlds import cafe

TOKENIZER = cafe.build_tokenizer()


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    TOKENIZER.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_special_tokens():
    assert isinstance(TOKENIZER, PreTrainedTokenizerFast)
    assert (TOKENIZER.pad_token, TOKENIZER.pad_token_id) == ("<pad>", 0)
    assert (TOKENIZER.eos_token, TOKENIZER.eos_token_id) == ("<eos>", 1)
    assert (TOKENIZER.unk_token, TOKENIZER.unk_token_id) == ("<unk>", 2)
    assert TOKENIZER.bos_token is None
    assert TOKENIZER.padding_side == "left"
    assert TOKENIZER.model_max_length == 64


def test_ids_follow_the_vocabulary():
    assert len(TOKENIZER) == len(cafe.VOCABULARY)
    assert TOKENIZER.get_vocab() == {token: i for i, token in enumerate(cafe.VOCABULARY)}


def test_nothing_is_added_and_words_are_split_at_white_space_only():
    ids = TOKENIZER("the soup was warm , but <eos>")["input_ids"]
    assert TOKENIZER.convert_ids_to_tokens(ids) == "the soup was warm , but <eos>".split()
    assert TOKENIZER("warm.")["input_ids"] == [TOKENIZER.unk_token_id]
    assert TOKENIZER("")["input_ids"] == []


def test_prompts_have_4_or_7_tokens_and_are_padded_on_the_left():
    batch = TOKENIZER(["review the soup :", "review the soup and the waiter :"], padding=True)
    assert set(batch) == {"input_ids", "attention_mask"}  # token types would disturb GPT-2
    assert batch["attention_mask"] == [[0, 0, 0, 1, 1, 1, 1], [1] * 7]
    assert batch["input_ids"][0][:3] == [0, 0, 0]
    assert batch["input_ids"][0][3:] == TOKENIZER("review the soup :")["input_ids"]


def test_every_review_survives_encoding_and_decoding():
    for row in cafe.sft_rows(2000, seed=0):
        for text in row.values():
            ids = TOKENIZER(text)["input_ids"]
            assert TOKENIZER.unk_token_id not in ids
            assert len(ids) == len(text.split())
            assert TOKENIZER.decode(ids) == text


def test_decoding_can_drop_the_special_tokens():
    ids = TOKENIZER("<pad> the soup was warm , . <eos> <pad>")["input_ids"]
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == "the soup was warm , ."
    assert TOKENIZER.decode(ids) == "<pad> the soup was warm , . <eos> <pad>"


def test_every_single_token_decodes_to_itself():
    assert [TOKENIZER.decode([i]) for i in range(len(TOKENIZER))] == [*cafe.VOCABULARY]


def test_saved_and_loaded_it_is_the_same(reloaded):
    assert isinstance(reloaded, PreTrainedTokenizerFast)
    assert reloaded.get_vocab() == TOKENIZER.get_vocab()
    for name in (
        "pad_token_id",
        "eos_token_id",
        "unk_token_id",
        "bos_token",
        "padding_side",
        "model_max_length",
        "model_input_names",
        "clean_up_tokenization_spaces",
    ):
        assert getattr(reloaded, name) == getattr(TOKENIZER, name), name
    texts = ["review the soup :", "the soup was warm , but zebra . <eos>"]
    assert dict(reloaded(texts, padding=True)) == dict(TOKENIZER(texts, padding=True))
    ids = TOKENIZER(texts[1])["input_ids"]
    assert reloaded.decode(ids) == TOKENIZER.decode(ids)


def test_building_twice_gives_equal_but_separate_tokenizers():
    other = cafe.build_tokenizer()
    assert other is not TOKENIZER
    assert other.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()
