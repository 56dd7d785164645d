"""The tree of answers: its numbering by hand, its counts, and every answer exactly once."""

from itertools import product

import pytest
import torch
from exact_tables import SMALL

from minirlhf.worlds.exact import WORLD, Tree

TREES = [Tree(words=2, steps=2), SMALL, Tree(words=3, steps=4), Tree(words=1, steps=4)]
TREES += [Tree(words=4, steps=1), Tree(words=1, steps=1)]


def plain_prefixes(tree: Tree) -> list[tuple[int, ...]]:
    """All prefixes, shorter ones first, then in the order of their words."""
    words = range(tree.words)
    return [p for depth in range(tree.steps) for p in product(words, repeat=depth)]


def plain_answers(tree: Tree) -> list[tuple[int, ...]]:
    """All answers, found without states: after each prefix EOS, or any word that fills it up."""
    answers = []
    for prefix in plain_prefixes(tree):
        if len(prefix) == tree.steps - 1:
            answers += [(*prefix, word) for word in range(tree.words)]
        answers.append((*prefix, tree.words))
    return answers


def test_two_words_and_three_steps_by_hand() -> None:
    prefixes = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1)]
    assert [SMALL.words_of(state) for state in range(SMALL.n_states)] == prefixes
    assert SMALL.depth.tolist() == [0, 1, 1, 2, 2, 2, 2]
    assert [SMALL.level(d) for d in range(3)] == [slice(0, 1), slice(1, 3), slice(3, 7)]
    ends, all_end = [False, False, True], [True, True, True]
    assert SMALL.is_last.tolist() == [ends] * 3 + [all_end] * 4
    assert SMALL.is_cut.tolist() == [[False] * 3] * 3 + [[True, True, False]] * 4
    assert (SMALL.eos, SMALL.n_tokens, SMALL.n_states) == (2, 3, 7)


def test_the_answers_of_two_words_and_two_steps_by_hand() -> None:
    ids, mask = Tree(words=2, steps=2).answers()
    #             EOS      a a     a b     a EOS   b a     b b     b EOS
    assert ids.tolist() == [[2, 2], [0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert mask.tolist() == [[True, False]] + [[True, True]] * 6


def test_the_world_has_177156_answers() -> None:
    assert (WORLD.words, WORLD.steps, WORLD.n_tokens) == (11, 5, 12)
    assert WORLD.n_states == 1 + 11 + 11**2 + 11**3 + 11**4 == 16_105
    assert int(WORLD.is_last.sum()) == len(WORLD.answers()[0]) == 177_156
    assert int((WORLD.is_last & ~WORLD.is_cut).sum()) == 16_105
    assert int(WORLD.is_cut.sum()) == 11**5 == 161_051


@pytest.mark.parametrize("tree", [*TREES, WORLD], ids=str)
def test_every_answer_stands_in_the_list_exactly_once(tree: Tree) -> None:
    ids, mask = tree.answers()
    listed = [tuple(row[:n]) for row, n in zip(ids.tolist(), mask.sum(1).tolist(), strict=True)]
    assert listed == plain_answers(tree)
    assert len(set(listed)) == len(listed) == int(tree.is_last.sum())
    assert (ids[~mask] == tree.eos).all() and ids.shape[1] == tree.steps


@pytest.mark.parametrize("tree", [*TREES, WORLD], ids=str)
def test_states_are_numbered_level_by_level_and_the_child_of_s_by_v_follows_the_rule(
    tree: Tree,
) -> None:
    prefixes = [tree.words_of(state) for state in range(tree.n_states)]
    assert prefixes == plain_prefixes(tree)
    assert tree.depth.tolist() == [len(prefix) for prefix in prefixes]
    for depth in range(tree.steps):
        states = range(tree.n_states)[tree.level(depth)]
        assert [len(prefixes[state]) for state in states] == [depth] * tree.words**depth
    for state in (0, tree.n_states // 3, tree.n_states - 1):
        for word in range(tree.words):
            if not tree.is_last[state, word]:
                assert prefixes[state * tree.words + 1 + word] == (*prefixes[state], word)


@pytest.mark.parametrize("tree", [*TREES, WORLD], ids=str)
def test_answers_and_states_go_round_in_a_circle(tree: Tree) -> None:
    ids, mask = tree.answers()
    states = tree.states_of(ids, mask)
    last = mask.sum(dim=1, keepdim=True) - 1
    end = torch.stack([states.gather(1, last)[:, 0], ids.gather(1, last)[:, 0]], dim=1)
    assert torch.equal(end, tree.is_last.nonzero())  # the order that the docstring promises
    assert torch.equal(tree.depth[states][mask], torch.arange(tree.steps).expand_as(ids)[mask])
    assert (states[~mask] == 0).all()
    assert torch.equal(states[mask].unique(), torch.arange(tree.n_states))


def test_states_of_reads_nothing_that_is_masked_and_takes_narrow_batches() -> None:
    ids = torch.tensor([[1, 0, -100], [2, 99, -100], [-100, -100, -100]])
    mask = torch.tensor([[True, True, False], [True, False, False], [False] * 3])
    assert SMALL.states_of(ids, mask).tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 0]]
    assert SMALL.states_of(ids[:, :2], mask[:, :2]).tolist() == [[0, 2], [0, 0], [0, 0]]
    assert SMALL.states_of(ids[:, :0], mask[:, :0]).shape == (3, 0)


@pytest.mark.parametrize("tree", [*TREES, WORLD], ids=str)
def test_what_is_computed_along_the_leaves_is_gathered_for_each_state(tree: Tree) -> None:
    leaves = tree.leaves()
    assert leaves.shape == (tree.words ** (tree.steps - 1), tree.steps - 1)
    deepest = plain_prefixes(tree)[tree.level(tree.steps - 1)]
    assert [tuple(leaf) for leaf in leaves.tolist()] == deepest
    # at each place of a leaf's path, a number that tells the words so far apart: base words + 1
    digits = torch.cat([torch.zeros(len(leaves), 1, dtype=torch.long), leaves + 1], dim=1)
    along = torch.zeros_like(digits)
    for t in range(1, tree.steps):
        along[:, t] = along[:, t - 1] * (tree.words + 1) + digits[:, t]
    expected = []
    for prefix in plain_prefixes(tree):
        number = 0
        for word in prefix:
            number = number * (tree.words + 1) + word + 1
        expected.append(number)
    assert tree.at_each_state(along).tolist() == expected
    assert tree.at_each_state(along[:, :, None].expand(-1, -1, 3)).shape == (tree.n_states, 3)


def test_trees_of_one_step_and_of_one_word() -> None:
    decision = Tree(words=4, steps=1)
    assert decision.n_states == 1 and decision.is_last.all()
    assert decision.answers()[0].tolist() == [[0], [1], [2], [3], [4]]
    chain = Tree(words=1, steps=3)  # EOS, a EOS, a a a, a a EOS
    assert chain.answers()[0].tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ([[0, 3]], [[True, True]], "ids 0 … 2, got"),
        ([[-1]], [[True]], "ids 0 … 2, got"),
        ([[0, 0, 0, 0]], [[True] * 4], "at most 3 tokens"),
        ([[2, 1]], [[True, True]], "after EOS"),
        ([[0, 1]], [[False, True]], "gap"),
        ([[0, 1]], [[True]], "response_ids must have the mask's shape"),
        ([[0]], [[1]], "must be bool"),
    ],
)
def test_responses_that_are_none_of_the_tree_are_refused(
    ids: list[list[int]], mask: list[list[bool]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SMALL.states_of(torch.tensor(ids), torch.tensor(mask))


@pytest.mark.parametrize("sizes", [{"words": 0}, {"steps": 0}, {"words": -1}, {"steps": 2.0}])
def test_a_tree_without_words_or_steps_is_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="whole number ≥ 1, got"):
        Tree(**sizes)
