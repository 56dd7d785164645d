"""Where the prompt ends and the response begins, in texts that hold both.

Nothing is lost or added: prompt + response is the text again.
"""

import unicodedata

from minirlhf.data_report import BadRow

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
FIRST_IDEOGRAPH = "⺀"  # U+2E80: from here on most scripts write no spaces between words

BAD_TRANSCRIPT, NO_PREFIX = "transcript without an answer", "no shared beginning"


def is_transcript(text: str) -> bool:
    r"""True for a dialogue as HH-RLHF writes it: "\n\nHuman: …\n\nAssistant: …"."""
    return text.lstrip().startswith(HUMAN.lstrip()) and ASSISTANT in text


def split_transcript(text: str) -> tuple[str, str]:
    r"""Prompt and response of a transcript: the last turn of the Assistant is the response.

    Args:
        text: "\n\nHuman: …\n\nAssistant: …", any number of turns.

    Returns:
        The prompt, up to and with the last "\n\nAssistant:"; the rest, with the space before it.

    Raises:
        BadRow: nobody answers, or a Human speaks last.

    Example:
        >>> split_transcript("\n\nHuman: Hi!\n\nAssistant: Hello.")
        ('\n\nHuman: Hi!\n\nAssistant:', ' Hello.')
    """
    start = text.rfind(ASSISTANT)
    end = start + len(ASSISTANT)
    if start < 0 or HUMAN in text[end:]:
        raise BadRow(BAD_TRANSCRIPT, "the transcript does not end with a turn of the Assistant")
    return text[:end], text[end:]


def split_shared_prefix(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Prompt and two responses out of two texts that begin alike.

    The cut is the last one that both texts allow: before white space, or beside a character of a
    script without spaces such as Chinese; so no word is cut in two, even where the first words of
    the responses begin alike ("warm", "watery"), and no response is empty.

    Args:
        chosen: a prompt, then the chosen response.
        rejected: the same prompt, then the rejected response.

    Returns:
        The prompt, and what follows it in either text, with the white space in between.

    Raises:
        BadRow: they have no beginning in common that could be a prompt.

    Example:
        >>> split_shared_prefix("the soup was warm", "the soup was watery")
        ('the soup was', ' warm', ' watery')
    """
    # something has to be left in both, white space apart
    longest = min(len(chosen.rstrip()), len(rejected.rstrip())) - 1
    for cut in range(min(_common(chosen, rejected), longest), 0, -1):
        before, firsts = chosen[cut - 1], (chosen[cut], rejected[cut])
        if not before.isspace() and all(_may_begin(before, first) for first in firsts):
            return chosen[:cut], chosen[cut:], rejected[cut:]
    raise BadRow(
        NO_PREFIX, "there is no column 'prompt', and chosen and rejected do not begin alike"
    )


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at the beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # halving: texts may be a million characters long
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _may_begin(before: str, first: str) -> bool:
    """Whether a response may begin with this character, after this last one of a prompt."""
    without_spaces = max(before, first) >= FIRST_IDEOGRAPH
    return first.isspace() or (without_spaces and not unicodedata.combining(first))
