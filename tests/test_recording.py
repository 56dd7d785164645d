"""Recorded runs: the file gives back what a trainer yielded; bad files say what is wrong."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_trainers import TRAINERS, ppo_trainer
from torch.testing import assert_close

from minirlhf import StepRecord
from minirlhf.recorder import Recorder, commit
from minirlhf.recording import PER_TOKEN, Recording, Response, load_recording, to_json
from minirlhf.widgets.run_replay import RunReplay
from minirlhf.widgets.token_microscope import TokenMicroscope
from minirlhf.widgets.token_rows import Settings, difference

WEIRD = "<script>alert(1)</script> \u202e\x00\nnew line 😀 &amp; \\u0041"


def record(stage: str = "ppo", **settings: Any) -> tuple[Recording, list[StepRecord]]:
    trainer = TRAINERS[stage](**settings)
    records = list(trainer)
    recorder = Recorder("tiny", "a test", trainer.actor.tokenizer, every=3, keep=2)
    recorder.watch(records)
    made = recorder.recording(trainer.config, stage, {"actor": "00"}, torch.device("cpu"))
    return made, records


@pytest.fixture(scope="module")
def tiny() -> Recording:
    return record()[0]


def test_the_file_gives_back_what_the_trainer_yielded(tmp_path: Path) -> None:
    made, records = record()
    made.save(tmp_path / "tiny.json")
    run = load_recording(tmp_path / "tiny.json")
    assert (run.name, run.algorithm, run.seed, run.config["critic_target"]) == (
        "tiny", "ppo", 0, "td",
    )  # fmt: skip
    assert run.made_with["threads"] == torch.get_num_threads() and run.weights == {"actor": "00"}
    assert run.steps == [r.step for r in records] and list(run.responses) == [1, 3, 6]
    for again, first in zip(run.records(), records, strict=True):
        wanted = {k: v for k, v in first.metrics.items() if k != "seconds"}
        assert again.metrics == pytest.approx(wanted, rel=1e-4)
    for step in run.responses:
        rollout, real = run.rollout(step), records[step - 1].rollout
        assert real is not None
        real = real.select(torch.arange(2))
        width = rollout.response_ids.shape[1]
        assert torch.equal(rollout.lengths, real.lengths)
        for name in ("scores", "ended"):
            assert_close(getattr(rollout, name), getattr(real, name), rtol=1e-4, atol=1e-6)
        for name in PER_TOKEN:
            wanted = torch.where(real.response_mask, getattr(real, name), 0.0)[:, :width]
            assert_close(getattr(rollout, name), wanted, rtol=1e-4, atol=1e-6)
        texts = [one.prompt + " " + one.text for one in run.responses[step]]
        assert texts[0] == records[step - 1].sample


def test_widgets_open_a_file(tmp_path: Path) -> None:
    made, records = record()
    made.save(tmp_path / "tiny.json")
    widget = RunReplay.from_file(tmp_path / "tiny.json", step=4)
    assert widget.steps == [1, 2, 3, 4, 5, 6]
    kept = [records[i].sample for i in (0, 0, 2, 2, 2, 5)]  # the last text that was kept
    assert widget.samples == kept
    trainer = ppo_trainer()
    rollout = load_recording(tmp_path / "tiny.json").rollout(3)
    assert TokenMicroscope(rollout, trainer.actor.tokenizer, config=trainer.config)
    fits = Settings(kl_coef=0.05, gamma=1.0, lam=0.95, kl_estimator="k1", score_clip=5.0)
    assert difference(rollout, 1, fits) < 1e-3 < difference(rollout, 1, fits._replace(lam=0.5))


@pytest.mark.parametrize("stage", ["reinforce", "rloo", "grpo"])
def test_without_a_critic_there_are_no_values(stage: str) -> None:
    made, records = record(stage)
    assert "old_values" not in made.responses[1][0].per_token
    rollout, real = made.rollout(1), records[0].rollout
    assert real is not None and not rollout.old_values.any()
    real = real.select(torch.arange(2))
    for name in ("td_target", "advantages", "returns"):
        wanted = torch.where(real.response_mask, getattr(real, name), 0.0)
        assert_close(getattr(rollout, name), wanted[:, : rollout.response_ids.shape[1]])


def test_texts_stay_texts_and_what_is_not_finite_is_null(tiny: Recording, tmp_path: Path) -> None:
    one = replace(tiny.responses[1][0], prompt=WEIRD, text=WEIRD)
    metrics = {**tiny.metrics, "odd": [math.nan, math.inf, 1.0, 1.0, 1.0, -0.0]}
    replace(tiny, about=WEIRD, responses={1: [one]}, metrics=metrics).save(tmp_path / "x.json")
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert "NaN" not in text and "Infinity" not in text
    assert "-0.0" not in text.split('"odd"')[1][:40]
    run = load_recording(tmp_path / "x.json")
    assert run.about == run.responses[1][0].text == WEIRD
    assert run.metrics["odd"] == [None, None, 1.0, 1.0, 1.0, 0.0]
    assert "odd" not in run.records()[0].metrics
    assert RunReplay.from_file(tmp_path / "x.json").samples[0] == f"{WEIRD} {WEIRD}"


def spoiled(run: Recording, change: Any) -> str:
    found = json.loads(to_json(run))
    change(found)
    return json.dumps(found)


BROKEN = {
    "wanted the format": lambda f: f.update(format="minirlhf recording 9"),
    "'responses'": lambda f: f.pop("responses"),
    "config": lambda f: f.pop("config"),
    "colour": lambda f: f.update(colour="red"),
    "one number of each metric": lambda f: f["metrics"]["kl"].pop(),
    "steps that rise": lambda f: f["metrics"].update(step=[1, 1, 2, 3, 4, 5]),
    "kl has 'x' where": lambda f: f["metrics"].update(kl=["x"] * 6),
    "not recorded: \\[9\\]": lambda f: f["responses"].update({"9": []}),
    "tokens, but": lambda f: f["responses"]["1"][0]["per_token"]["kl"].append(0.0),
    "has no rewards": lambda f: f["responses"]["1"][0]["per_token"].pop("rewards"),
    "no texts": lambda f: f["responses"]["1"][0].update(text=["<b>"]),
    "ids has 'x'": lambda f: f["responses"]["1"][0].update(prompt_ids=["x"]),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_file_that_is_no_recording_says_why(
    message: str, tiny: Recording, tmp_path: Path
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(spoiled(tiny, BROKEN[message]), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"bad\.json is not a recorded run.*{message}"):
        load_recording(file)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"x"', "\ufffd"])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="again with `minirlhf record`"):
        load_recording(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not JSON"):
        load_recording(file)
    with pytest.raises(ValueError, match="cannot read"):
        load_recording(tmp_path / "none.json")


def test_a_step_without_responses_has_no_rollout(tiny: Recording) -> None:
    with pytest.raises(ValueError, match="kept no responses of step 2; it did of 1, 3, 6"):
        tiny.rollout(2)


def test_gold_is_the_judges(tmp_path: Path) -> None:
    trainer = ppo_trainer(iterations=1)
    seen: list[tuple[str, str, bool]] = []

    def judge(prompt: str, text: str, ended: bool) -> float:
        seen.append((prompt, text, ended))
        return 7.0

    recorder = Recorder("x", "y", trainer.actor.tokenizer, judge)
    recorder.watch(trainer)
    kept: list[Response] = recorder.responses[1]
    assert [one.gold for one in kept] == [7.0] * 4
    assert seen == [(one.prompt, one.text, one.ended) for one in kept]
    assert {one.prompt for one in kept} <= set(trainer.prompts)


def test_the_commit_is_that_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    found = commit()
    assert found is None or len(found.rstrip("+")) == 40
    monkeypatch.setenv("PATH", "/nowhere")
    assert commit() is None
