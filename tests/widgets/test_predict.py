"""Predict from Python: it never blocks, checks what it is given, and stores only real guesses."""

from pathlib import Path

import pytest

from minirlhf.predictions import load
from minirlhf.widgets.predict import Predict

OPTIONS = ["rise", "stay", "fall"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "predictions.json"


def test_unanswered_it_passes_through_and_stores_nothing(store: Path) -> None:
    question = Predict("q", "Gold will …", OPTIONS, store=store)
    assert repr(question) == (
        "A question to answer before the result: Gold will … (rise / stay / fall)"
    )
    question.reveal("fall", "It did.")
    assert repr(question).endswith("It is: fall. It did.")
    assert not store.exists() and question.score == {}


@pytest.mark.parametrize("guess_first", [True, False])
def test_a_guess_is_stored_once_the_truth_is_known(store: Path, guess_first: bool) -> None:
    question = Predict("q", "Gold will …", OPTIONS, store=store)
    if guess_first:
        question.guess = 2
        assert not store.exists()
        question.reveal(1)
    else:
        question.reveal("stay")
        question.guess = 2
    (kept,) = load(store)
    assert (kept.question, kept.guess, kept.truth, kept.confidence) == ("q", 2, 1, 60)
    assert question.score["guesses"] == 1 and question.score["right"] == 0


def test_knowing_nothing_is_the_least_that_can_be_said() -> None:
    least = [Predict("q", "?", list("abcdef"[:n])).least for n in (2, 3, 4, 5, 6)]
    assert least == [50, 35, 25, 20, 20]
    assert Predict("q", "?", ["a", "b"]).confidence == 60


def test_a_folder_that_cannot_be_written_costs_the_score_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    question = Predict("q", "?", OPTIONS, store=tmp_path / "file" / "p.json")
    question.guess = 0
    question.reveal(0)
    assert question.score == {} and question.truth == 0


def test_bad_input_is_refused() -> None:
    for options in (["one"], ["a", "a"], list("abcdefg")):
        with pytest.raises(ValueError, match="2 to 6 different options"):
            Predict("q", "?", options)
    with pytest.raises(ValueError, match="needs a name"):
        Predict("", "?", OPTIONS)
    question = Predict("q", "?", OPTIONS)
    with pytest.raises(ValueError, match="wanted one of"):
        question.reveal("sink")
    with pytest.raises(ValueError, match="3 options"):
        question.reveal(3)
    with pytest.raises(ValueError, match="3 options"):
        question.guess = 7
