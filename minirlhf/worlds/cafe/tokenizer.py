"""The tokenizer of the café: one word, one token.

Left out: a beginning-of-text token (the prompt's first word does its work) and lower-casing (the
world has no capitals). <pad> and <eos> are different tokens, so that "ended" can always be seen.
"""

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from .words import EOS_TOKEN, PAD_TOKEN, UNK_TOKEN, VOCABULARY

MAX_CONTEXT_TOKENS = 64
"""Prompt, response and <eos> together need at most 7 + 24 = 31 tokens; the rest is room to play."""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over `words.VOCABULARY`; a token's id is its place in that tuple.

    <pad> is 0, <eos> 1, <unk> 2, then grammar words, subjects, adjectives and closings. Texts are
    split at white space, so "warm." is one unknown word while "warm ." is two known ones. Nothing
    is added on encoding; prompts are padded on the left.

    Returns:
        A tokenizer that `save_pretrained` and `AutoTokenizer.from_pretrained` carry unchanged.

    Example:
        >>> tokenizer = build_tokenizer()
        >>> tokenizer("review the soup :")["input_ids"]
        [3, 5, 16, 4]
        >>> tokenizer.decode([5, 19, 6, 1], skip_special_tokens=True)
        'the pasta was'
    """
    ids = {token: i for i, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNK_TOKEN))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD_TOKEN,
        eos_token=EOS_TOKEN,
        unk_token=UNK_TOKEN,
        padding_side="left",
        model_max_length=MAX_CONTEXT_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
