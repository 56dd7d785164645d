"""A real pretrained model on real text: `run_real.py` in short, where the files are there."""

from typing import Any

import pytest
from reviews import OPENING, Reviews, read_reviews, real_folders
from run_real import SHORT, run

try:
    MODEL, DATA = real_folders()
    WHY_NOT = ""
except FileNotFoundError as error:
    WHY_NOT = str(error)

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


@pytest.fixture(scope="module")
def reviews() -> Reviews:
    return read_reviews(DATA)


def sentences(rows: list[dict[str, str]]) -> list[str]:
    return [text for row in rows for column, text in row.items() if column != "prompt"]


def test_held_out_sentences_are_never_trained_on(reviews: Reviews) -> None:
    trained = set(sentences(reviews.sft) + sentences(reviews.pairs))
    held_out = sentences(reviews.sft_held_out), sentences(reviews.pairs_held_out)
    assert trained.isdisjoint(held_out[0] + held_out[1])
    assert len(set(held_out[1])) == len(held_out[1]) >= 1000, "a sentence is in two pairs"
    openings = {" ".join(text.split()[:OPENING]) for text in trained}
    for row in reviews.prompts_held_out:
        assert row["prompt"].removeprefix("review : ") not in openings


@pytest.fixture(scope="module")
def found(reviews: Reviews, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(MODEL, reviews, tmp_path_factory.mktemp("real"), SHORT, seed=0)


@pytest.mark.slow
def test_all_three_stages_learn_from_real_text_with_lora_too(found: dict[str, Any]) -> None:
    missed = [goal for goal, reached in found["goals"].items() if not reached]
    assert not missed, {**found, "samples": "…"}
