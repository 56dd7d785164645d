"""Training in the background: the folder is as good as that of a plain run, and β obeys."""

import time

import pytest
import torch
from tiny_trainers import critic_free_trainer, ppo_trainer, sft_trainer, state, tree

from minirlhf.background import _running
from minirlhf.background_training import BackgroundTraining
from minirlhf.checkpoint import load_checkpoint
from minirlhf.history import read_history
from minirlhf.run_folder import RunFolder


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def test_leaves_the_folder_of_a_plain_run_however_often_it_is_stopped(tmp_path):
    plain = ppo_trainer(iterations=3)
    for _ in RunFolder(tmp_path / "plain").record(plain):
        pass
    once = ppo_trainer(iterations=3)
    BackgroundTraining(once, RunFolder(tmp_path / "once")).wait()
    stopped = ppo_trainer(iterations=3)
    training = BackgroundTraining(stopped, RunFolder(tmp_path / "stopped"))
    while training.state != "done":
        training.start()
        training.stop()
    assert tree(tmp_path / "once") == tree(tmp_path / "plain") == tree(tmp_path / "stopped")
    assert same(state(once), state(plain)) and same(state(stopped), state(plain))


@pytest.mark.parametrize("save_every", [1, 4])
def test_stopping_leaves_a_checkpoint_of_that_moment(tmp_path, save_every):
    trainer = ppo_trainer(iterations=1000)
    training = BackgroundTraining(trainer, RunFolder(tmp_path / "run"), save_every=save_every)
    training.start()
    until(lambda: len(training.records) >= 2)
    training.stop()
    fresh = ppo_trainer(iterations=1000)
    run = RunFolder(tmp_path / "run", resume=True)
    load_checkpoint(run.checkpoints()[-1], fresh)
    assert fresh.step == trainer.step == len(training.records)
    assert same(state(fresh), state(trainer))
    assert [line["step"] for line in read_history(run.path / "history.jsonl")] == [
        record.step for record in training.records
    ]
    record = next(run.record(fresh))  # the lock is free, and somebody else may go on
    assert record.step == trainer.step + 1


def test_a_new_kl_coef_counts_from_the_next_step_and_is_remembered():
    trainer = ppo_trainer(iterations=4)
    training = BackgroundTraining(trainer)
    training.set_kl_coef(0.5)
    training.on_change = lambda: training.set_kl_coef(0.25) if len(training.records) == 2 else None
    records = training.wait()
    assert [record.metrics["kl_coef"] for record in records] == [0.5, 0.5, 0.25, 0.25]
    assert training.kl_changes == [(0, 0.5), (2, 0.25)] and training.kl_coef == 0.25
    assert training.on_change_error is None


def test_a_kl_coef_changed_while_stopped_survives_the_restart_from_disk(tmp_path):
    by_hand = ppo_trainer()
    for record in by_hand:
        if record.step == 2:
            by_hand.kl_coef = 0.5
    trainer = ppo_trainer()
    training = BackgroundTraining(trainer, RunFolder(tmp_path / "run"))
    training.on_change = lambda: training.stop() if len(training.records) == 2 else None
    training.wait()
    training.on_change = lambda: None
    training.set_kl_coef(0.5)
    training.start()
    assert [r.metrics["kl_coef"] for r in training.wait()] == [0.05] * 2 + [0.5] * 4
    assert same(state(trainer), state(by_hand))
    lines = read_history(tmp_path / "run" / "history.jsonl")
    assert [line["kl_coef"] for line in lines] == [0.05] * 2 + [0.5] * 4


def test_changing_kl_coef_equals_changing_it_by_hand():
    for make in (ppo_trainer, lambda: critic_free_trainer("grpo")):
        by_hand, trainer = make(), make()
        by_hand.kl_coef = 0.7
        for _ in by_hand:
            pass
        training = BackgroundTraining(trainer)
        training.set_kl_coef(0.7)
        training.wait()
        assert same(state(trainer), state(by_hand))


@pytest.mark.parametrize("kl_coef", [-0.1, float("nan"), float("inf")])
def test_refuses_a_kl_coef_that_cannot_be(kl_coef):
    with pytest.raises(ValueError, match="must be a number ≥ 0"):
        BackgroundTraining(ppo_trainer()).set_kl_coef(kl_coef)


def test_refuses_what_a_trainer_does_not_have():
    training = BackgroundTraining(sft_trainer())
    assert training.kl_coef is None
    with pytest.raises(ValueError, match="SFTTrainer has no kl_coef"):
        training.set_kl_coef(0.1)
    with pytest.raises(ValueError, match="save_every"):
        BackgroundTraining(sft_trainer(), save_every=0)


def test_a_folder_that_is_taken_is_an_error_where_one_waits(tmp_path):
    run = RunFolder(tmp_path / "run")
    for _ in RunFolder(tmp_path / "run").record(sft_trainer()):
        break
    training = BackgroundTraining(sft_trainer(), run)
    with pytest.raises(ValueError, match="there is a run in"):
        training.wait()
    assert training.state == "failed" and not training.alive and not _running
