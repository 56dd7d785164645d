"""The exact world's language: eleven words and EOS, in reviews of at most five tokens."""

from itertools import permutations, product

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from minirlhf.data import Row

THINGS = ("soup", "tea", "cake")
QUALITIES = ("good", "bad", "warm", "cold")
WORDS = (*THINGS, "was", "very", "not", *QUALITIES, "and")  # token ids 0 … 10
EOS = "<eos>"  # token id 11, the last
PROMPT = EOS  # as in GPT-2, a text begins where another ended
STEPS = 5  # tokens of an answer at most, EOS included


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word; no padding token, since masks come from lengths."""
    vocabulary = {word: i for i, word in enumerate((*WORDS, EOS))}
    words = Tokenizer(WordLevel(vocabulary))
    words.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=EOS, bos_token=EOS)


# how often people write a word: a grumbling world, in which praise is rare but not unheard of
OFTEN = {"good": 1, "bad": 3, "warm": 2, "cold": 2, "": 3, "not": 2, "very": 1}


def sft_rows() -> list[Row]:
    """Every review that the world's people write, the usual ones more often.

    "soup was very good", "not bad", "warm and good", and so on: at most four words, so that EOS
    fits in as the fifth token.

    Returns:
        rows with `prompt` and `completion`.
    """
    degrees = ("", "very", "not")
    rows: list[Row] = []
    for quality, degree in product(QUALITIES, degrees):
        judgement = f"{degree} {quality}".strip()
        texts = [judgement, *(f"{thing} was {judgement}" for thing in THINGS)]
        often = OFTEN[quality] * OFTEN[degree]
        rows += [{"prompt": PROMPT, "completion": text} for text in texts for _ in range(often)]
    for one, other in permutations(QUALITIES, 2):
        often = OFTEN[one] * OFTEN[other]
        rows += [{"prompt": PROMPT, "completion": f"{one} and {other}"} for _ in range(often)]
    return rows
