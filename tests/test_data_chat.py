"""Chats as token ids: the template's special tokens once, EOS at the end, nothing lost."""

import pytest
from chat_tokenizers import BOS, CHATML, EOS, IM_END, IM_START, INST, THINK, chat_tokenizer

from minirlhf.data import encode_prompts, encode_responses
from minirlhf.data_chat import check_chat_template, encode_chat
from minirlhf.data_formats import Message
from minirlhf.data_report import BadRow

ASK: Message = {"role": "user", "content": "Soup?"}
TALK: list[Message] = [ASK, {"role": "assistant", "content": "Hot."}, {**ASK, "content": "Why?"}]


def test_a_template_that_ends_a_turn_with_eos() -> None:
    tokenizer = chat_tokenizer(INST)
    prompt, (yes, no) = encode_chat(tokenizer, TALK, ["Fire.", "No."])
    assert tokenizer.decode(prompt) == "<bos>[INST] Soup? [/INST] Hot.<eos>[INST] Why? [/INST]"
    assert prompt.count(BOS) == 1 and prompt[0] == BOS  # though the tokenizer adds one by itself
    assert tokenizer.decode(yes) == " Fire.<eos>" and tokenizer.decode(no) == " No.<eos>"
    assert yes.count(EOS) == no.count(EOS) == 1 and yes[-1] == no[-1] == EOS


def test_a_turn_whose_end_is_the_tokenizers_eos() -> None:
    """Instruct models of Qwen: EOS is <|im_end|>; the new line after it is the next turn's."""
    tokenizer = chat_tokenizer(CHATML, eos="<|im_end|>")
    prompt, (answer,) = encode_chat(tokenizer, [ASK], ["Hot."])
    assert tokenizer.decode(prompt) == (
        "<|im_start|>user\nSoup?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert prompt[0] == IM_START and BOS not in prompt  # a template that writes none gets none
    assert tokenizer.decode(answer) == "Hot.<|im_end|>" and answer.count(IM_END) == 1


def test_a_turn_that_ends_with_another_token_keeps_it_and_eos_follows() -> None:
    """Base models of Qwen: turns end with <|im_end|>, sampling ends at EOS alone."""
    tokenizer = chat_tokenizer(CHATML)
    _, (answer,) = encode_chat(tokenizer, [ASK], ["Hot.\n"])
    assert answer[-2:] == [IM_END, EOS] and answer.count(EOS) == 1
    assert tokenizer.decode(answer, skip_special_tokens=True) == "Hot.\n"


@pytest.mark.parametrize("template", [CHATML, INST])
def test_prompt_and_response_are_what_the_template_writes(template: str) -> None:
    tokenizer = chat_tokenizer(template)
    answer = {"role": "assistant", "content": "Hot <b>&</b>."}
    prompt, (ids,) = encode_chat(tokenizer, TALK, [answer["content"]])
    whole = tokenizer.apply_chat_template([*TALK, answer], tokenize=False).rstrip()
    assert tokenizer.decode(prompt + ids).removesuffix("<eos>") == whole.removesuffix("<eos>")
    asked = tokenizer.apply_chat_template(
        TALK, tokenize=True, add_generation_prompt=True, return_dict=False
    )
    assert prompt == asked  # the very ids that a chat program would begin with


def test_trainers_leave_these_ids_as_they_are() -> None:
    tokenizer = chat_tokenizer(INST)
    prompt, (answer,) = encode_chat(tokenizer, [ASK], ["Hot."])
    assert encode_prompts(tokenizer, [prompt]) == [prompt]
    assert encode_responses(tokenizer, [answer]) == [answer]


def test_messages_that_the_template_refuses() -> None:
    with pytest.raises(BadRow, match=r"the chat template refuses it: roles must alternate$") as bad:
        encode_chat(chat_tokenizer(INST), [ASK, ASK], ["Hot."])
    assert bad.value.reason == "refused by the chat template"


def test_a_template_that_writes_the_prompt_in_two_ways() -> None:
    with pytest.raises(BadRow, match="writes the prompt in another way once a response follows"):
        encode_chat(chat_tokenizer(THINK), [ASK], ["Hot."])
    prompt, none = encode_chat(chat_tokenizer(THINK), [ASK], [])  # sampling needs no response
    assert none == [] and chat_tokenizer(THINK).decode(prompt).endswith("assistant: <think>")


def test_a_tokenizer_without_a_template() -> None:
    check_chat_template(chat_tokenizer(CHATML))
    with pytest.raises(ValueError, match=r"has no chat template.*-Instruct.*chat_template\.jinja"):
        check_chat_template(chat_tokenizer(None))
