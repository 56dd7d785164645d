"""Chats become token ids, by the chat template that comes with the tokenizer.

    template(prompt, and "assistant, speak")          → the prompt's ids, as at sampling
    template(prompt and answer), minus the above      → the response's ids, then EOS

The template writes all special tokens itself, BOS among them, so none is added when its text is
tokenised. How a response ends:

- Where the template ends a turn with the tokenizer's EOS, that is the response's end.
- Where the end of a turn is another token (a base model of Qwen2.5: turns end with <|im_end|>, EOS
  is <|endoftext|>), it stays and EOS follows, because only at EOS does sampling stop here. Programs
  that stop at the turn's end still find it.
- White space that a template writes after the turn belongs to the next one and is left out.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from minirlhf.data_formats import Message
from minirlhf.data_report import BadRow

NO_RENDER = "refused by the chat template"


def check_chat_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that cannot write a chat as text.

    Raises:
        ValueError: it has no chat template; says what to do.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            "the data are chats, and the model's tokenizer has no chat template to write them "
            "with; take a model that has one (often named …-Instruct), put a chat_template.jinja "
            "into the model's folder, or give the data as plain text"
        )


def encode_chat(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], responses: Sequence[str]
) -> tuple[list[int], list[list[int]]]:
    """Token ids of a prompt and of each of its responses, EOS included.

    Args:
        tokenizer: with a chat template and an EOS token.
        prompt: messages, the last of them not the assistant's.
        responses: what the assistant says in each.

    Raises:
        BadRow: the template refuses these messages, or writes the prompt in another way once a
            response follows it.
    """
    start = _render(tokenizer, prompt, add_generation_prompt=True)
    ends = []
    for response in responses:
        answer = {"role": "assistant", "content": response}
        whole = _render(tokenizer, [*prompt, answer], add_generation_prompt=False)
        if not whole.startswith(start):
            raise BadRow(
                NO_RENDER,
                "the chat template writes the prompt in another way once a response follows; "
                "give the data as plain text",
            )
        ends.append(_ids(tokenizer, whole[len(start) :].rstrip()))
    eos = int(tokenizer.eos_token_id)
    return _ids(tokenizer, start), [ids if ids[-1:] == [eos] else [*ids, eos] for ids in ends]


def _render(
    tokenizer: PreTrainedTokenizerBase, chat: Sequence[Message], *, add_generation_prompt: bool
) -> str:
    try:
        text = tokenizer.apply_chat_template(
            list(chat), tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except Exception as error:  # templates raise what they like
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadRow(NO_RENDER, f"the chat template refuses it: {first_line}") from error
    return str(text)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids
