"""The field's shapes of rows, read as one: a prompt and its responses, as texts or as a chat.

    for                 columns                                  as
    SFT                 prompt, completion                       text, or messages
                        messages                                 its last answer is the completion
                        text                                     an HH-RLHF transcript only
    preferences         prompt, chosen, rejected                 text, or messages
                        chosen, rejected                         text, messages or transcripts; the
                                                                 prompt is their shared beginning
    prompts             prompt                                   text, or messages
                        those of SFT and preferences             their prompts

Messages are lists of {"role": …, "content": …}. A response in a chat is one message, the
assistant's, of which only the content is kept here. Other columns are not read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from minirlhf.data import PREFERENCE_COLUMNS, PROMPT_COLUMNS, SFT_COLUMNS
from minirlhf.data_report import BadRow, excerpt
from minirlhf.data_split import is_transcript, split_shared_prefix, split_transcript

MAX_CHARACTERS = 1_000_000
"""Of one text: some 250,000 tokens of English. What is longer is dropped, never tokenised."""

MISSING, NOT_TEXT, EMPTY = "missing column", "neither text nor messages", "empty text"
HUGE, NOT_UNICODE = "too many characters", "NUL or half a character"
BAD_CHAT, MIXED = "messages that make no pair of prompt and response", "text beside a chat"
SAME, NO_BOUNDARY = "chosen equals rejected", "text without a boundary"
DIFFERENT_PROMPTS = "two different prompts"

Message = dict[str, str]
Content = str | list[Message]
TextRow = Mapping[str, object]


class Parsed(NamedTuple):
    """What a row says: its shape in words, the prompt, and each response by its column."""

    layout: str
    prompt: Content
    responses: dict[str, str]


def parse_sft(row: TextRow) -> Parsed:
    """A prompt and its completion.

    Raises:
        BadRow: says what is missing or wrong.
    """
    if "messages" in row and "completion" not in row:
        messages = _messages(row, "messages")
        parsed = _with_prompt(messages[:-1], {"completion": messages[-1:]})
        return parsed._replace(layout="messages")
    if "text" in row and not {"prompt", "completion"} & row.keys():
        text = _text(row, "text")
        if not is_transcript(text):
            raise BadRow(
                NO_BOUNDARY,
                "column 'text' does not say where the response begins; wanted 'prompt' and "
                "'completion', or 'messages'",
            )
        prompt, completion = split_transcript(text)
        return Parsed("text, a transcript", prompt, {"completion": _no_blank(completion, "text")})
    start, end = _content(row, "prompt"), _content(row, "completion")
    return _with_prompt(start, {"completion": end})


def parse_preference(row: TextRow) -> Parsed:
    """A prompt and two responses, of which one was chosen.

    Raises:
        BadRow: says what is missing or wrong; the two are the same; they have no prompt in common.
    """
    both = {name: _content(row, name) for name in ("chosen", "rejected")}
    chosen, rejected = both.values()
    if "prompt" in row and not (isinstance(row["prompt"], str) and isinstance(chosen, list)):
        parsed = _with_prompt(_content(row, "prompt"), both)
    elif isinstance(chosen, str) and isinstance(rejected, str):
        parsed = _shared_text(chosen, rejected)
    elif isinstance(chosen, list) and isinstance(rejected, list):
        parsed = _shared_messages(chosen, rejected)
        # some data sets repeat the question as text beside the two chats
        known = [message["content"] for message in parsed.prompt if isinstance(message, dict)]
        if "prompt" in row and row["prompt"] not in known:
            raise BadRow(MIXED, "column 'prompt' is a text that is no message of the two chats")
    else:
        raise BadRow(MIXED, "one of chosen and rejected is text, the other a chat")
    if parsed.responses["chosen"] == parsed.responses["rejected"]:
        raise BadRow(SAME)
    return parsed


def parse_prompt(row: TextRow) -> Parsed:
    """A prompt alone, or that of a row of the other two kinds; a chat before plain text.

    Raises:
        BadRow: says what is missing or wrong.
    """
    if isinstance(row.get("chosen"), list) or ("chosen" in row and "prompt" not in row):
        parsed = parse_preference(row)
    elif isinstance(row.get("messages"), list):
        parsed = parse_sft(row)
    else:
        parsed = _with_prompt(_content(row, "prompt"), {})
    return parsed._replace(responses={})


PARSERS: dict[tuple[str, ...], Callable[[TextRow], Parsed]] = {
    SFT_COLUMNS: parse_sft,
    PREFERENCE_COLUMNS: parse_preference,
    PROMPT_COLUMNS: parse_prompt,
}
READ_COLUMNS: dict[tuple[str, ...], set[str]] = {
    SFT_COLUMNS: {*SFT_COLUMNS, "messages", "text"},
    PREFERENCE_COLUMNS: {*PREFERENCE_COLUMNS},
    PROMPT_COLUMNS: {*PREFERENCE_COLUMNS, "messages"},
}


def parser_of(columns: Sequence[str]) -> Callable[[TextRow], Parsed]:
    """What reads rows of this kind.

    Raises:
        ValueError: there is no such kind.
    """
    if tuple(columns) not in PARSERS:
        kinds = "; ".join(", ".join(kind) for kind in PARSERS)
        raise ValueError(f"rows of columns {', '.join(columns)} are not known; wanted {kinds}")
    return PARSERS[tuple(columns)]


# ------------------------------------------------------------------- the prompt's boundary


def _with_prompt(prompt: Content, responses: Mapping[str, Content]) -> Parsed:
    """A row that has a prompt of its own, of the same kind as its responses."""
    *before, last = ["prompt", *responses]
    names = f"{', '.join(before)} and {last}" if before else last
    if any(isinstance(response, str) != isinstance(prompt, str) for response in responses.values()):
        raise BadRow(MIXED, f"{names} must all be text, or all be messages")
    if isinstance(prompt, str):
        texts = {name: text for name, text in responses.items() if isinstance(text, str)}
        return Parsed(f"{names} as text", prompt, texts)
    if not prompt or prompt[-1]["role"] == "assistant":
        got = excerpt([message["role"] for message in prompt])
        raise BadRow(BAD_CHAT, f"a prompt must end with a question, not be messages of {got}")
    answers = {name: _answer(chat) for name, chat in responses.items()}
    return Parsed(f"{names} as messages", prompt, answers)


def _shared_text(chosen: str, rejected: str) -> Parsed:
    """Two texts that begin with the same prompt."""
    if is_transcript(chosen) and is_transcript(rejected):
        layout = "chosen and rejected as transcripts"
        prompt, one = split_transcript(chosen)
        other_prompt, other = split_transcript(rejected)
        if prompt != other_prompt:
            raise BadRow(DIFFERENT_PROMPTS, "chosen and rejected answer different dialogues")
    else:
        layout = "chosen and rejected as text with a shared beginning"
        prompt, one, other = split_shared_prefix(chosen, rejected)
    return Parsed(
        layout,
        prompt,
        {"chosen": _no_blank(one, "chosen"), "rejected": _no_blank(other, "rejected")},
    )


def _shared_messages(chosen: list[Message], rejected: list[Message]) -> Parsed:
    """Two chats that differ in their last message only."""
    if chosen[:-1] != rejected[:-1] or len(chosen) < 2:
        raise BadRow(BAD_CHAT, "chosen and rejected must differ in their last message only")
    answers = {"chosen": _answer(chosen[-1:]), "rejected": _answer(rejected[-1:])}
    return Parsed("chosen and rejected as messages", chosen[:-1], answers)


def _answer(chat: Content) -> str:
    """The content of a response: one message of the assistant."""
    if not isinstance(chat, list) or len(chat) != 1 or chat[0]["role"] != "assistant":
        got = [message["role"] for message in chat if isinstance(message, dict)]
        raise BadRow(
            BAD_CHAT, f"a response must be one message of the assistant, got {excerpt(got)}"
        )
    return chat[0]["content"]


# ----------------------------------------------------------------------- texts and messages


def _content(row: TextRow, column: str) -> Content:
    """A column that holds text or messages."""
    if isinstance(row.get(column), list):
        return _messages(row, column)
    return _text(row, column)


def _text(row: TextRow, column: str) -> str:
    if column not in row:
        have = ", ".join(excerpt(name)[1:-1] for name in list(row)[:8]) or "none"
        raise BadRow(MISSING, f"column {column!r} is missing (columns here: {have})")
    value = row[column]
    if not isinstance(value, str):
        raise BadRow(NOT_TEXT, f"column {column!r} must be text, got {excerpt(value)}")
    return _no_blank(_sound(value, column), column)


def _messages(row: TextRow, column: str) -> list[Message]:
    found = row[column]
    if not isinstance(found, list) or not found:
        raise BadRow(BAD_CHAT, f"column {column!r} must be messages, got {excerpt(found)}")
    chat = []
    for one in found:
        message = {} if not isinstance(one, dict) else one
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            wanted = "a message of column {!r} must have 'role' and 'content' as text, got {}"
            raise BadRow(BAD_CHAT, wanted.format(column, excerpt(one)))
        _sound(content, column)
        if role != "system":
            _no_blank(content, column)
        chat.append({"role": _sound(role, column), "content": content})
    return chat


def _sound(text: str, column: str) -> str:
    """A text that can be tokenised."""
    if len(text) > MAX_CHARACTERS:
        raise BadRow(
            HUGE,
            f"column {column!r} has {len(text):,} characters; more than {MAX_CHARACTERS:,} are "
            "not tokenised",
        )
    if "\0" in text:
        raise BadRow(NOT_UNICODE, f"column {column!r} has a NUL character in it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRow(NOT_UNICODE, f"column {column!r} has half a surrogate pair in it") from None
    return text


def _no_blank(text: str, column: str) -> str:
    if not text.strip():
        raise BadRow(EMPTY, f"column {column!r} is empty")
    return text
