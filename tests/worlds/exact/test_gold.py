"""The exact world's gold: hand values, the table on every answer, and that no sum equals it."""

import pytest
import torch

from minirlhf.worlds.exact import WORDS, WORLD, gold_reward, gold_table, sft_rows
from minirlhf.worlds.exact.gold import BROKEN


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("good", 1.0),
        ("soup was bad", -1.0),
        ("soup was very good", 1.6),
        ("soup was very bad", -1.6),
        ("soup was not good", -0.8),
        ("soup was not bad", 0.8),
        ("soup was cold", -0.5),
        ("tea was very warm", 0.8),
        ("cake was cold", 0.5),  # of a cake, the other way round
        ("cake was warm", -0.5),
        ("cake was not warm", 0.4),
        ("cake was good", 1.0),  # only warm and cold turn
        ("warm and good", 1.5),
        ("good and cold", 0.5),
        ("", BROKEN),
        ("soup was", BROKEN),
        ("soup was very very good", BROKEN + 1.6),  # nobody writes so
        ("good good", BROKEN + 1.0),  # a quality counts once
        ("good very good", BROKEN + 1.0),  # at its first place
        ("very good not bad", BROKEN + 2.4),
        ("warm cake", BROKEN - 0.5),  # the cake may come later
        ("not and good", BROKEN + 1.0),  # the degree must stand right before it
        ("good very", BROKEN + 1.0),
    ],
)
def test_gold_by_hand(text: str, worth: float) -> None:
    assert gold_reward(text) == pytest.approx(worth, abs=1e-12)


def text_of(ids: list[int]) -> str:
    return " ".join(WORDS[i] for i in ids if i != WORLD.eos)


def test_the_table_holds_the_gold_of_every_answer_s_words() -> None:
    ids, mask = WORLD.answers()
    lengths = mask.sum(dim=1).tolist()
    texts = [text_of(row[:n]) for row, n in zip(ids.tolist(), lengths, strict=True)]
    table = gold_table()
    assert table.dtype == torch.float64 and table.shape == (WORLD.n_states, WORLD.n_tokens)
    assert table[WORLD.is_last].tolist() == [gold_reward(text) for text in texts]
    assert not table[~WORLD.is_last].any()
    assert (float(table.min()), float(table.max())) == pytest.approx((-3.9, 1.9))


def test_people_write_nothing_that_is_broken() -> None:
    worths = [gold_reward(row["completion"]) for row in sft_rows()]
    assert min(worths) == pytest.approx(-1.6) and max(worths) == pytest.approx(1.6)
    assert min(gold_reward(f"{row['completion']} and") for row in sft_rows()) < min(worths)


def unexplained(rows: torch.Tensor) -> float:
    """Share of gold's variance that the best sum over (place, token) leaves; rows: (N,) bool."""
    ids, mask = WORLD.answers()
    places = torch.nn.functional.one_hot(ids, WORLD.n_tokens).double() * mask[:, :, None]
    features, gold = places.flatten(1)[rows], gold_table()[WORLD.is_last][rows]
    fitted = features @ torch.linalg.pinv(features.T @ features) @ (features.T @ gold)
    return float((gold - fitted).square().sum() / (gold - gold.mean()).square().sum())


def test_no_sum_over_tokens_gives_gold_not_even_one_that_knows_their_places() -> None:
    """A sum gives the same step from "good" to "bad" whatever stands before; gold does not."""
    step = gold_reward("soup was good") - gold_reward("soup was bad")
    after_very = gold_reward("soup was very good") - gold_reward("soup was very bad")
    after_not = gold_reward("soup was not good") - gold_reward("soup was not bad")
    assert (step, after_very, after_not) == pytest.approx((2.0, 3.2, -1.6))

    written = {row["completion"] for row in sft_rows()}
    ids, _ = WORLD.answers()
    rows = torch.tensor([text_of(row) in written for row in ids.tolist()])
    assert int(rows.sum()) == len(written) == 60
    assert unexplained(rows) == pytest.approx(0.594, abs=0.001)
    assert unexplained(torch.ones_like(rows)) == pytest.approx(0.530, abs=0.001)
