"""Guesses over the course: the score's arithmetic, and a file that survives everything."""

import json
from pathlib import Path

import pytest

from minirlhf.predictions import Prediction, brier, calibration, default_path, load, record


def made(question: str = "q", guess: int = 0, truth: int = 0, sure: float = 70) -> Prediction:
    return Prediction(question, 3, guess, truth, sure)


def test_brier_by_hand() -> None:
    # p = (0.7, 0.15, 0.15): right 0.09 + 2·0.0225; wrong 0.49 + 0.7225 + 0.0225
    assert brier(made()) == pytest.approx(0.135)
    assert brier(made(truth=1)) == pytest.approx(1.235)
    assert brier(made(sure=100)) == 0 and brier(made(truth=2, sure=100)) == 2
    two = Prediction("q", 2, 0, 1, 80)
    assert brier(two) == pytest.approx(2 * 0.64)


def test_calibration_by_hand() -> None:
    score = calibration([made("a"), made("b", truth=1, sure=90)])
    assert (score.guesses, score.right, score.confidence) == (2, 1, 80)
    assert score.chance == pytest.approx(2 / 3)
    assert calibration([]).guesses == 0


def test_the_first_guess_counts_and_the_file_is_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "new" / "predictions.json"
    record(made("a", guess=1), path)
    assert record(made("a", guess=0), path).right == 0
    assert record(made("b"), path).guesses == 2
    assert [row["guess"] for row in json.loads(path.read_text())] == [1, 0]
    assert [p.question for p in load(path)] == ["a", "b"]


@pytest.mark.parametrize("text", ["{", "[1]", '[{"question": "a"}]', "null"])
def test_a_damaged_file_is_kept_aside(tmp_path: Path, text: str) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(text)
    assert load(path) == [] and record(made(), path).guesses == 1
    assert path.with_name("predictions.json.damaged").read_text() == text


def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MINIRLHF_PREDICTIONS", raising=False)
    assert default_path() == Path.home() / ".minirlhf" / "predictions.json"
    monkeypatch.setenv("MINIRLHF_PREDICTIONS", str(tmp_path / "p.json"))
    record(made())
    assert load()[0] == made() and default_path().parent == tmp_path
