"""A tracker is told every step, and changes nothing."""

import math

import pytest
from tiny_models import shaped_actor
from tiny_trainers import ppo_trainer, tree
from typer.testing import CliRunner

from minirlhf.batch import StepRecord
from minirlhf.cli import app
from minirlhf.config import as_dict
from minirlhf.run_folder import RunFolder
from minirlhf.tracking import TRACKERS, check_tracker, tracked


def read_tensorboard(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {
        name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]
    }


def test_tensorboard_has_every_metric_of_every_step(tmp_path):
    trainer = ppo_trainer()
    run = RunFolder(tmp_path / "run")
    records = list(tracked(run.record(trainer), "tensorboard", run.path, as_dict(trainer.config)))
    found = read_tensorboard(tmp_path / "run" / "tensorboard")
    assert len(records) == trainer.total
    for name, value in records[-1].metrics.items():
        step, seen = found[name][-1]
        assert step == trainer.total and seen == pytest.approx(value, rel=1e-6), name


def test_the_run_is_the_same_with_and_without(tmp_path):
    plain, watched = RunFolder(tmp_path / "plain"), RunFolder(tmp_path / "watched")
    list(plain.record(ppo_trainer()))
    list(tracked(watched.record(ppo_trainer()), "tensorboard", watched.path, {}))
    seen = {k: v for k, v in tree(watched.path).items() if "tensorboard" not in str(k)}
    assert seen == tree(plain.path)


def test_what_is_not_finite_is_left_out(tmp_path):
    record = StepRecord("ppo", 1, 1, {"kl": math.nan, "score": 2.0})
    list(tracked([record], "tensorboard", tmp_path, {}))
    assert read_tensorboard(tmp_path / "tensorboard") == {"score": [(1, 2.0)]}


def test_a_run_that_is_refused_leaves_no_trace(tmp_path):
    def refused():
        raise ValueError("no")
        yield

    with pytest.raises(ValueError, match="no"):
        list(tracked(refused(), "tensorboard", tmp_path, {}))
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="tensorboard, wandb, trackio"):
        check_tracker("notebook")
    with pytest.raises(ValueError, match="pip install wandb"):
        check_tracker("wandb")
    assert "tensorboard" in TRACKERS


def test_a_command_tracks(tmp_path):
    shaped_actor().save(tmp_path / "model")
    (tmp_path / "rows.jsonl").write_text('{"prompt": "review", "completion": "the soup"}\n')
    words = ["sft", "--model", tmp_path / "model", "--data", tmp_path / "rows.jsonl"]
    words += ["--steps", "2", "--device", "cpu", "--track"]
    refused = CliRunner().invoke(app, [*map(str, words), "paper", "--out", str(tmp_path / "no")])
    assert refused.exit_code == 2 and not (tmp_path / "no").exists()
    done = CliRunner().invoke(
        app, [*map(str, words), "tensorboard", "--out", str(tmp_path / "run")]
    )
    assert done.exit_code == 0, done.output
    found = read_tensorboard(tmp_path / "run" / "tensorboard")
    assert [step for step, _ in found["sft_loss"]] == [1, 2]
    card = (tmp_path / "run" / "actor" / "README.md").read_text(encoding="utf-8")
    assert "`sft_loss (nats per token)`" in card and "minirlhf sft" in card
