"""Pairs of answers and which of them people prefer: all that DPO and a reward model get to see."""

import torch
from torch import Tensor

from minirlhf.data import EncodableRow
from minirlhf.noise import PREFERENCES, uniform_noise
from minirlhf.worlds.exact.tree import WORLD, Tree
from minirlhf.worlds.exact.truth import Truth
from minirlhf.worlds.exact.words import PROMPT


def preference_rows(
    truth: Truth, gold: Tensor, pairs: int, *, noise: float = 1.0, seed: int = 0
) -> list[EncodableRow]:
    """Pairs of the actor's own answers, chosen between by people who are not always sure.

        P(first preferred) = σ((gold of first − gold of second) / noise)

    Args:
        truth: of the actor whose answers are compared, usually the reference.
        gold: (S, V) reward units.
        pairs: how many.
        noise: reward units; large = people choose almost at random.
        seed: the same seed gives the same pairs, and the first pairs of a longer list.

    Returns:
        rows with `prompt` (text), `chosen` and `rejected` (token ids: only these can say that an
        answer was cut before its EOS).
    """
    tree = truth.tree
    u = uniform_noise(seed, PREFERENCES, 0, rows=pairs, steps=3)
    first, second = (draw_answers(truth, u[:, column]) for column in (0, 1))
    worth = gold[tree.is_last]
    sure = torch.sigmoid((worth[first] - worth[second]) / noise)
    first_preferred = u[:, 2] < sure
    chosen = answer_ids(torch.where(first_preferred, first, second), tree)
    rejected = answer_ids(torch.where(first_preferred, second, first), tree)
    return [
        {"prompt": PROMPT, "chosen": better, "rejected": worse}
        for better, worse in zip(chosen, rejected, strict=True)
    ]


def draw_answers(truth: Truth, noise: Tensor) -> Tensor:
    """Numbers (n,) of answers, in the order of `Tree.answers`, from uniform noise (n,)."""
    cumulative = truth.answer_probability[truth.tree.is_last].double().cumsum(dim=0)
    drawn = torch.searchsorted(cumulative, noise.double() * cumulative[-1], right=True)
    return drawn.clamp(max=len(cumulative) - 1)


def answer_ids(answers: Tensor, tree: Tree = WORLD) -> list[list[int]]:
    """Token ids of answers (n,) given by their numbers in the order of `Tree.answers`."""
    last = tree.is_last.nonzero()[answers].tolist()
    return [[*tree.words_of(state), action] for state, action in last]
