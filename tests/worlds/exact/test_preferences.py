"""Preferences in the exact world: who is compared, who wins how often, and what a row says."""

import pytest
import torch
from exact_tables import random_log_pi

from minirlhf.data import encode_responses
from minirlhf.worlds import exact
from minirlhf.worlds.exact.preferences import answer_ids, draw_answers, preference_rows
from minirlhf.worlds.exact.tree import WORLD, Tree

TREE = Tree(words=2, steps=2)  # 7 answers


def truth(tree: Tree = TREE) -> exact.Truth:
    log_pi = random_log_pi(tree, seed=3)
    return exact.exact_truth(log_pi, log_pi, torch.zeros_like(log_pi), tree, kl_coef=0.0)


def test_answers_are_drawn_as_often_as_they_are_likely() -> None:
    likely = truth().answer_probability[TREE.is_last]
    even = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    drawn = torch.bincount(draw_answers(truth(), even), minlength=7) / 20_000
    assert torch.allclose(drawn.double(), likely, atol=1e-4)
    assert draw_answers(truth(), torch.tensor([0.0, 1.0 - 1e-16])).tolist() == [0, 6]


def test_an_answer_is_its_words_and_its_last_token() -> None:
    ids, mask = TREE.answers()
    wanted = [row[keep].tolist() for row, keep in zip(ids, mask, strict=True)]
    assert answer_ids(torch.arange(7), TREE) == wanted


def test_the_better_answer_wins_as_often_as_bradley_and_terry_say() -> None:
    gold = torch.zeros(TREE.n_states, TREE.n_tokens, dtype=torch.float64)
    gold[0, TREE.eos] = 1.0  # the empty answer is worth 1, all others nothing
    for noise in (0.5, 2.0):
        rows = preference_rows(truth(), gold, 20_000, noise=noise)
        told_apart = [r for r in rows if ([2] in (r["chosen"], r["rejected"]))]
        told_apart = [r for r in told_apart if r["chosen"] != r["rejected"]]
        won = sum(r["chosen"] == [2] for r in told_apart) / len(told_apart)
        assert won == pytest.approx(float(torch.sigmoid(torch.tensor(1.0 / noise))), abs=0.015)


def test_more_pairs_begin_with_the_fewer_and_seeds_differ() -> None:
    gold = torch.zeros(TREE.n_states, TREE.n_tokens, dtype=torch.float64)
    few, many = (preference_rows(truth(), gold, n, seed=5) for n in (10, 30))
    assert many[:10] == few
    assert preference_rows(truth(), gold, 30, seed=6) != many


def test_a_cut_answer_gets_no_eos_on_its_way_into_a_trainer() -> None:
    cut = int(WORLD.is_cut[WORLD.is_last].nonzero()[0])
    ids = answer_ids(torch.tensor([cut]))
    assert len(ids[0]) == 5 and WORLD.eos not in ids[0]
    assert encode_responses(exact.build_tokenizer(), ids) == ids
