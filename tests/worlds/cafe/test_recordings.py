"""The shipped recordings: small, whole, and what the code still does."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minirlhf import METRICS
from minirlhf.cli import app
from minirlhf.config import as_dict
from minirlhf.recording import load_recording
from minirlhf.widgets.run_replay import RunReplay
from minirlhf.worlds.cafe import recipe, recordings
from minirlhf.worlds.cafe.recordings import ALGORITHMS, ITERATIONS, RECORDINGS, RESPONSES, SWEEP

FOLDER = Path(__file__).parents[3] / "assets" / "runs"


def test_every_recording_ships_and_together_they_are_small() -> None:
    files = {file.stem: file.stat().st_size for file in FOLDER.glob("*.json")}
    assert set(files) == set(RECORDINGS)
    assert max(files.values()) <= 150_000 and sum(files.values()) <= 1_500_000
    assert set(SWEEP) | set(ALGORITHMS) <= set(RECORDINGS)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_says_what_was_run_and_on_what(name: str) -> None:
    run, plan = recordings.shipped(name), RECORDINGS[name]
    # a setting younger than the recording is at its default
    recorded = as_dict(type(plan.config)(**run.config))
    assert (run.name, run.about, recorded) == (name, plan.about, as_dict(plan.config))
    assert run.seed == 1 and re.fullmatch(r"[0-9a-f]{40}\+?", run.commit or "")
    assert {"torch", "transformers", "threads", "device", "capability"} <= set(run.made_with)
    assert len(run.weights["actor"]) == len(run.weights["reward_model"]) == 64
    assert set(run.metrics) - {"step"} <= set(METRICS)
    assert {"gold", "score", "kl"} <= set(run.metrics) and None not in run.metrics["gold"]
    assert len(run.steps) == ITERATIONS and run.steps[-1] in run.responses
    assert run.start["samples"] == run.end["samples"] == 384
    assert 3 <= len(run.responses) and all(len(kept) == 4 for kept in run.responses.values())
    for kept in run.responses.values():
        for one in kept:
            assert one.gold == pytest.approx(recipe.judge(one.prompt, one.text, one.ended), 1e-4)
    assert RunReplay.from_file(FOLDER / f"{name}.json").steps == run.steps


def test_algorithms_spent_equal_numbers_of_responses() -> None:
    for name in ALGORITHMS:
        config = recordings.shipped(name).config
        if name == "dpo":
            actor, reward_model = recipe.load_shipped("cpu")
            trainer = recordings._trainer(RECORDINGS[name].config, actor, reward_model)
            pairs = len(trainer._chosen)  # type: ignore[attr-defined]
            assert 0.9 * ITERATIONS * RESPONSES <= 2 * pairs <= ITERATIONS * RESPONSES
        else:
            assert config["iterations"] * config["batch_size"] == ITERATIONS * RESPONSES


def test_what_the_course_says_of_them() -> None:
    """β = 0 pleases the reward model most and people least; every algorithm helps people."""
    ends = {name: recordings.shipped(name).end for name in RECORDINGS}
    start = recordings.shipped("ppo-td").start["gold"]
    for name in ALGORITHMS:
        assert ends[name]["gold"] > start + 1.5
    assert ends["ppo-beta-0"]["gold"] < start - 1.0
    assert ends["ppo-beta-0"]["score"] == max(end["score"] for end in ends.values())
    kls = [ends[name]["kl"] for name in SWEEP]
    assert kls == sorted(kls, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("name, steps", [("ppo-td", 3), ("dpo", 1)])
def test_the_code_still_does_what_was_recorded(name: str, steps: int) -> None:
    """Three iterations again. Other arithmetic may tip a sampled word, so later steps have room."""
    again, run = recordings.make(name, steps=steps), recordings.shipped(name)
    assert again.weights == run.weights and again.config.items() >= run.config.items()
    assert again.end == {} and len(again.steps) == steps
    for metric in ("score", "gold", "kl", "length", "entropy"):
        for i in range(steps):
            tolerance = 2e-3 if name == "ppo-td" and i == 0 else 0.1
            assert again.metrics[metric][i] == pytest.approx(
                run.metrics[metric][i], rel=tolerance, abs=tolerance
            ), (metric, i)
    if name == "ppo-td":
        new, old = again.responses[1], run.responses[1]
        assert [one.token_ids for one in new] == [one.token_ids for one in old]
        for a, b in zip(new, old, strict=True):
            for key, numbers in b.per_token.items():
                assert a.per_token[key] == pytest.approx(numbers, rel=1e-3, abs=1e-3), key


def test_the_command_lists_names_and_refuses_others(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["record"])
    assert listed.exit_code == 0 and all(name in listed.output for name in RECORDINGS)
    for wrong, said in ((["nobody"], "no recording 'nobody'"), (["dpo", "--all"], "not both")):
        result = CliRunner().invoke(app, ["record", *wrong, "--out", str(tmp_path / "x")])
        assert result.exit_code == 2 and said in result.output
    assert not (tmp_path / "x").exists()


def test_the_command_writes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = recordings.make
    judged = {"gold": 1.0, "score": 1.0, "kl": 1.0}

    def make(name: str) -> object:
        run = short(name, steps=1)
        run.start.update(judged)
        run.end.update(judged)
        return run

    monkeypatch.setattr(recordings, "make", make)
    result = CliRunner().invoke(app, ["record", "rloo", "--out", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    assert "gold 1.00 → 1.00" in result.output
    run = load_recording(tmp_path / "new" / "rloo.json")
    assert run.algorithm == "rloo" and run.end == judged
    assert json.loads((tmp_path / "new" / "rloo.json").read_text())["format"].endswith(" 1")
