"""The café: a made-up world of reviews whose human is known exactly.

A grammar writes reviews ("the soup was warm but the waiter was rude ."), a gold reward plays the
human, and noisy preferences are all that a reward model gets to see of it.
"""

from .gold import POINT, TokenScore, gold_breakdown, gold_reward
from .grammar import sft_rows, write_review
from .preferences import prefer, preference_probability, preference_rows, write_jsonl
from .tokenizer import build_tokenizer
from .words import MAX_RESPONSE_TOKENS, PROMPTS, VOCABULARY, make_prompt, topics_of

__all__ = [
    "MAX_RESPONSE_TOKENS",
    "POINT",
    "PROMPTS",
    "VOCABULARY",
    "TokenScore",
    "build_tokenizer",
    "gold_breakdown",
    "gold_reward",
    "make_prompt",
    "prefer",
    "preference_probability",
    "preference_rows",
    "sft_rows",
    "topics_of",
    "write_jsonl",
    "write_review",
]
