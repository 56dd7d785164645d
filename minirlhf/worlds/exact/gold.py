"""The exact world's human: what a review is truly worth.

A quality counts +1 (good), −1 (bad), +½ (warm) or −½ (cold); of a cake, cold is fine and warm is
not. "very" before it makes that 1.6 times as much, "not" turns it round to −0.8 times. So what a
word is worth depends on the words before it: the reward is no sum over tokens, and an answer cannot
be judged before its end. A quality counts once; a review that nobody in this world would write
loses 1.
"""

from functools import cache

import torch
from torch import Tensor

from minirlhf.worlds.exact.tree import WORLD, Tree
from minirlhf.worlds.exact.words import QUALITIES, STEPS, WORDS, sft_rows

WORTH = {"good": 1.0, "bad": -1.0, "warm": 0.5, "cold": -0.5}
DEGREE = {"very": 1.6, "not": -0.8}
BROKEN = -1.0
SENTENCES = frozenset(row["completion"] for row in sft_rows())


def gold_reward(text: str) -> float:
    """What the human thinks of a review.

    Args:
        text: words with spaces between them, without EOS.

    Returns:
        reward units, from −3.9 to 1.9 for reviews of up to five words.

    Example:
        >>> gold_reward("soup was very good"), gold_reward("soup was not good")
        (1.6, -0.8)
    """
    words = text.split()
    worth = 0.0 if text in SENTENCES else BROKEN
    for place, word in enumerate(words):
        if word in QUALITIES and word not in words[:place]:
            before = words[place - 1] if place else ""
            turned = -1.0 if "cake" in words and word in ("warm", "cold") else 1.0
            worth += turned * DEGREE.get(before, 1.0) * WORTH[word]
    return worth


@cache
def gold_table() -> Tensor:
    """(S, V) float64, reward units: gold of each answer of `WORLD`, 0 where the answer goes on.

    An answer that was cut is judged by its words like any other; the trainer's missing-EOS penalty
    is not in here. The table is shared: do not write into it.
    """
    assert WORLD == Tree(words=len(WORDS), steps=STEPS)
    table = torch.zeros(WORLD.n_states, WORLD.n_tokens, dtype=torch.float64)
    for state, action in WORLD.is_last.nonzero().tolist():
        words = WORLD.words_of(state) + ((action,) if action != WORLD.eos else ())
        table[state, action] = gold_reward(" ".join(WORDS[word] for word in words))
    return table
