"""The monitor looks on and gives commands; it never changes what a run computes."""

import threading
import time

import pytest
import torch
from tiny_trainers import TRAINERS, ppo_trainer, sft_trainer, state, tree

from minirlhf import METRICS
from minirlhf.background import _running
from minirlhf.run_folder import RunFolder
from minirlhf.widgets import training_monitor
from minirlhf.widgets.training_monitor import TrainingMonitor


def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def threads():
    """How many of our threads there are."""
    return sum(thread.name == "minirlhf" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not _running and threads() == 0


def press(monitor, command):
    monitor._handle_custom_msg({"do": command}, [])


@pytest.mark.parametrize("stage", TRAINERS)
def test_the_final_weights_are_those_without_a_monitor(stage, monkeypatch):
    monkeypatch.setattr(training_monitor, "PAUSE", 0.0)  # look after every step
    plain, watched = TRAINERS[stage](), TRAINERS[stage]()
    generator = torch.get_rng_state()
    expected_records = list(plain)
    monitor = TrainingMonitor(watched)
    records = monitor.wait()
    monitor.picture()
    expected, got = state(plain), state(watched)
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    for one, other in zip(expected_records, records, strict=True):
        assert {**one.metrics, "seconds": 0} == {**other.metrics, "seconds": 0}
    assert torch.equal(torch.get_rng_state(), generator)


def test_shows_every_step_with_the_numbers_of_the_records():
    monitor = TrainingMonitor(ppo_trainer(), metrics=("kl", "score"))
    records = monitor.wait()
    assert (monitor.state, monitor.step, monitor.total) == ("done", 6, 6)
    assert monitor.history == [
        {"step": r.step, "kl": r.metrics["kl"], "score": r.metrics["score"]} for r in records
    ]
    assert [s["step"] for s in monitor.samples] == [6, 5, 4, 3]
    assert [s["text"] for s in monitor.samples] == [r.sample for r in records[:1:-1]]
    assert monitor.samples[0]["score"] == float(records[-1].rollout.scores[0])
    assert [p["name"] for p in monitor.panels] == ["kl", "score"]
    assert (monitor.panels[0]["low"], monitor.panels[0]["high"]) == METRICS["kl"].healthy


def test_looks_seldom_but_never_misses_a_step(monkeypatch):
    monkeypatch.setattr(training_monitor, "PAUSE", 1000.0)
    monitor, sent = TrainingMonitor(ppo_trainer()), []
    monitor.observe(lambda change: sent.append(len(change["new"])), "history")
    monitor.wait()
    assert sent[-1] == 6 and len(sent) <= 2


def test_twenty_pauses_stops_and_restarts_by_button():
    monitor = TrainingMonitor(ppo_trainer(iterations=5000))
    for _ in range(20):
        press(monitor, "start")
        press(monitor, "pause")
        assert monitor.state == "paused"
        press(monitor, "start")
        assert monitor.state == "running" and threads() == 1
        press(monitor, "stop")
        until(lambda: monitor.state == "stopped")
        monitor.training._join(None)
        assert threads() == 0
    assert [line["step"] for line in monitor.history] == list(range(1, monitor.step + 1))
    monitor.close()
    monitor.close()


def test_stop_leaves_a_run_folder_to_go_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(training_monitor, "PAUSE", 0.0)
    whole = ppo_trainer(iterations=4)
    for _ in RunFolder(tmp_path / "whole").record(whole):
        pass
    monitor = TrainingMonitor(ppo_trainer(iterations=4), run=tmp_path / "stopped")
    monitor.observe(lambda change: change["new"] >= 1 and press(monitor, "stop"), "step")
    monitor.wait()
    assert monitor.state == "stopped" and monitor.step < 4
    for _ in RunFolder(tmp_path / "stopped", resume=True).record(ppo_trainer(iterations=4)):
        pass
    assert tree(tmp_path / "stopped") == tree(tmp_path / "whole")


def test_beta_changes_by_its_trait_and_the_run_remembers():
    monitor = TrainingMonitor(ppo_trainer())
    assert monitor.kl_coef == 0.05
    monitor.kl_coef = 0.4  # as the slider does
    records = monitor.wait()
    assert [r.metrics["kl_coef"] for r in records] == [0.4] * 6
    assert monitor.kl_changes == [[0, 0.4]]


def test_beta_may_change_while_it_runs(monkeypatch):
    monkeypatch.setattr(training_monitor, "PAUSE", 0.0)
    monitor = TrainingMonitor(ppo_trainer())
    monitor.observe(lambda c: c["new"] == 2 and setattr(monitor, "kl_coef", 0.3), "step")
    assert [r.metrics["kl_coef"] for r in monitor.wait()] == [0.05] * 2 + [0.3] * 4
    assert monitor.kl_changes == [[2, 0.3]]


def test_a_beta_that_adapts_is_shown_and_is_no_change_by_hand():
    trainer = ppo_trainer(kl_target=0.1, kl_horizon=100)
    monitor = TrainingMonitor(trainer)
    monitor.wait()
    assert monitor.kl_coef == trainer.kl_coef != 0.05 and monitor.kl_changes == []


def test_refuses_a_beta_that_cannot_be():
    monitor = TrainingMonitor(ppo_trainer())
    with pytest.raises(ValueError, match="must be a number ≥ 0"):
        monitor.kl_coef = -1.0
    assert monitor.kl_coef == 0.05
    without = TrainingMonitor(sft_trainer())
    assert without.kl_coef is None
    with pytest.raises(ValueError, match="has no kl_coef"):
        without.kl_coef = 0.1


def test_an_error_is_one_line_in_the_widget_and_is_raised_by_wait():
    trainer = ppo_trainer()
    trainer.train_step = lambda: (_ for _ in ()).throw(ValueError("actor_loss\nis nan"))
    monitor = TrainingMonitor(trainer)
    with pytest.raises(ValueError, match="actor_loss"):
        monitor.wait()
    assert (monitor.state, monitor.error) == ("failed", "ValueError: actor_loss is nan")
    del trainer.train_step
    assert len(monitor.start().wait()) == 6 and monitor.error == ""


def test_a_second_monitor_of_a_running_trainer_says_no():
    trainer = ppo_trainer(iterations=5000)
    with TrainingMonitor(trainer) as first:
        second = TrainingMonitor(trainer)
        press(second, "start")
        assert "another background run" in second.error and second.state == "ready"
    assert first.state == "stopped"


def test_nan_reaches_the_browser_as_nothing():
    trainer = ppo_trainer(iterations=1)
    step = trainer.train_step
    trainer.train_step = lambda: _with_nan(step())
    monitor = TrainingMonitor(trainer, metrics=("kl", "score"))
    monitor.wait()
    assert monitor.history[0]["kl"] is None and "score" in monitor.picture().alt


def _with_nan(record):
    record.metrics["kl"] = float("nan")
    return record


def test_words_and_picture_without_a_browser():
    monitor = TrainingMonitor(ppo_trainer(), metrics=["kl", "score"])
    assert repr(monitor) == "Training monitor: ppo, step 0 of 6, ready."
    data, _ = monitor._repr_mimebundle_()
    assert data["text/plain"] == repr(monitor) and "image/png" in data
    monitor.wait()
    assert repr(monitor).startswith("Training monitor: ppo, step 6 of 6, done. Curves")
    assert len(monitor.picture().axes) >= 2


@pytest.mark.parametrize(
    ("metrics", "message"), [(("klo",), "no metric is called 'klo'"), (("kl", "x"), "'x'")]
)
def test_refuses_an_unknown_metric(metrics, message):
    with pytest.raises(ValueError, match=message):
        TrainingMonitor(ppo_trainer(), metrics=metrics)


def test_gold_comes_first_where_there_is_a_judge():
    trainer = ppo_trainer()
    trainer.judge = lambda prompt, response, ended: 1.0
    names = [panel["name"] for panel in TrainingMonitor(trainer).panels]
    assert names[0] == "gold" and len(names) == 6
