"""Every answer that can be given, as one tree of prefixes.

A state S_t is the answer's first t words; an action is the next token. The states are numbered like
a heap, so that no table of pointers is needed:

    root 0 (nothing written yet);  state s followed by word v is state  s·words + 1 + v

EOS ends an answer in any state; in the deepest states, one token before the longest answer, every
token does. So a pair (state, action) whose action is EOS or whose state is deepest *is* an answer,
and each quantity of the world is a table: (S,) for each state, (S, V) for each state and action.

With 11 words and 5 steps there are 16,105 states, 16,105 answers that ended and 161,051 that were
cut, 177,156 in all.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from minirlhf.masks import check_response_mask, check_same_shape, response_mask_from_lengths


@dataclass(frozen=True)
class Tree:
    """The prefixes of all answers over some words.

    Attributes:
        words: number of words; their token ids are 0 … words−1.
        steps: R, the longest answer in tokens, EOS included.

    Raises:
        ValueError: either is no whole number ≥ 1.
    """

    words: int = 11
    steps: int = 5

    def __post_init__(self) -> None:
        """Refuse a tree without a word or a step."""
        for name, size in (("words", self.words), ("steps", self.steps)):
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a whole number ≥ 1, got {size!r}")

    @property
    def eos(self) -> int:
        """Token id of EOS: the last one."""
        return self.words

    @property
    def n_tokens(self) -> int:
        """V: the words and EOS."""
        return self.words + 1

    @property
    def n_states(self) -> int:
        """S: prefixes of 0 … steps−1 words."""
        return sum(self.words**depth for depth in range(self.steps))

    def level(self, depth: int) -> slice:
        """The states after `depth` words; they stand next to each other."""
        first = sum(self.words**d for d in range(depth))
        return slice(first, first + self.words**depth)

    @cached_property
    def depth(self) -> Tensor:
        """(S,) int: words written so far, t."""
        sizes = torch.tensor([self.words**d for d in range(self.steps)])
        return torch.arange(self.steps).repeat_interleave(sizes)

    @cached_property
    def is_last(self) -> Tensor:
        """(S, V) bool: True where the action ends the answer."""
        last = (self.depth == self.steps - 1)[:, None].repeat(1, self.n_tokens)
        last[:, self.eos] = True
        return last

    @cached_property
    def is_cut(self) -> Tensor:
        """(S, V) bool: True where the answer ends without EOS, because it is as long as may be."""
        cut = self.is_last.clone()
        cut[:, self.eos] = False
        return cut

    def words_of(self, state: int) -> tuple[int, ...]:
        """The words written before a state, as token ids."""
        words: list[int] = []
        while state > 0:
            state, word = divmod(state - 1, self.words)
            words.append(word)
        return tuple(reversed(words))

    def leaves(self) -> Tensor:
        """(words^(steps−1), steps−1) int: the words of the deepest states, in their order."""
        digits = [torch.arange(self.words)] * (self.steps - 1)
        if not digits:
            return torch.zeros(1, 0, dtype=torch.long)
        return torch.cartesian_prod(*digits).view(-1, self.steps - 1)

    def at_each_state(self, of_leaves: Tensor) -> Tensor:
        """Gather (S, …) from (words^(steps−1), steps, …): what was computed along each leaf's path.

        A state at depth d is passed by words^(steps−1−d) leaves, which are neighbours and all say
        the same about it; the first of them is taken.
        """
        strides = (self.words ** (self.steps - 1 - depth) for depth in range(self.steps))
        return torch.cat([of_leaves[::stride, d] for d, stride in enumerate(strides)])

    def led_to(self, values: Tensor) -> Tensor:
        """(n, V) for the states of one level, from values (n·words,) of the level below.

        Each word leads to a state there; EOS, the last column, leads to none and gets 0.
        """
        below = values.view(-1, self.words)
        return torch.cat([below, torch.zeros_like(below[:, :1])], dim=1)

    def answers(self) -> tuple[Tensor, Tensor]:
        """Every answer once, in the order of `is_last.nonzero()`.

        Returns:
            ids (N, steps) int, EOS after the end, and mask (N, steps) bool.
        """
        states, actions = self.is_last.nonzero().T
        ids = torch.full((len(states), self.steps), self.eos)
        depth, left = self.depth[states], states.clone()
        ids[torch.arange(len(states)), depth] = actions
        for t in reversed(range(self.steps - 1)):
            inside = t < depth
            ids[inside, t] = (left[inside] - 1) % self.words
            left[inside] = (left[inside] - 1) // self.words
        return ids, response_mask_from_lengths(depth + 1, self.steps)

    def states_of(self, response_ids: Tensor, response_mask: Tensor) -> Tensor:
        """The state S_t in which each token was chosen.

        Args:
            response_ids: (B, R) int, R ≤ steps.
            response_mask: (B, R) bool.

        Returns:
            (B, R) int; 0 where masked.

        Raises:
            ValueError: a counted token is none of the tree's, a response is too long or goes on
                after EOS, a mask row has a gap, or the shapes differ.
        """
        check_response_mask(response_mask)
        check_same_shape(response_mask, response_ids=response_ids)
        ids = response_ids.where(response_mask, self.eos)
        if ids.shape[1] > self.steps or bool(((ids < 0) | (ids > self.eos)).any()):
            raise ValueError(
                f"responses must have at most {self.steps} tokens with ids 0 … {self.eos}, "
                f"got {tuple(ids.shape)} with ids {int(ids.min())} … {int(ids.max())}"
            )
        if bool((response_mask[:, 1:] & (ids[:, :-1] == self.eos)).any()):
            raise ValueError("a response has a counted token after EOS")
        states = torch.zeros_like(ids)
        for t in range(1, ids.shape[1]):
            states[:, t] = states[:, t - 1] * self.words + 1 + ids[:, t - 1]
        return states.where(response_mask, 0)


WORLD = Tree()
