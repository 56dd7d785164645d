"""Runs on disk: what is written, when, and that resuming changes no byte of the result."""

import contextlib
import errno
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from disk_calls import DiskCalls
from safetensors.torch import load_file
from tiny_trainers import CRITIC_FREE, PROMPTS, QUICK, TRAINERS, ppo_trainer, state, tree
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from minirlhf import Actor, Critic, RewardModel, atomic
from minirlhf.batch import StepRecord
from minirlhf.checkpoint import load_checkpoint, save_checkpoint
from minirlhf.history import append_record, read_history
from minirlhf.resume import ResumeWarning
from minirlhf.run_folder import RunFolder
from minirlhf.trainer import Trainer

CASES = {
    "sft": ("sft", {}),
    "reward": ("reward", {}),
    "ppo td": ("ppo", {"critic_target": "td"}),
    "ppo gae, microbatches": ("ppo", {"critic_target": "gae", "microbatch_size": 2}),
    "ppo adaptive kl": ("ppo", {"kl_target": 0.01, "kl_horizon": 50}),
    "ppo early stop": ("ppo", {"target_kl": 1e-9}),
    "dpo": ("dpo", {}),
    "reinforce": ("reinforce", {}),
    "rloo": ("rloo", {}),
    "grpo": ("grpo", {}),
}


def run(folder: Path, trainer: Trainer, *, resume: bool = False, save_every: int = 1) -> None:
    for _ in RunFolder(folder, resume=resume).record(trainer, save_every=save_every):
        pass


def stop_after(folder: Path, trainer: Trainer, steps: int, *, save_every: int = 1) -> None:
    records = RunFolder(folder).record(trainer, save_every=save_every)
    for _ in range(steps):
        next(records)
    records.close()


# ------------------------------------------------------------------ what is written


def test_a_run_folder_holds_config_history_checkpoints_and_models(tmp_path: Path) -> None:
    run(tmp_path / "run", ppo_trainer())
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {".lock", "config.json", "history.jsonl", "checkpoints", "actor", "critic"}
    kept = {path.name for path in (tmp_path / "run/checkpoints").iterdir()}
    assert kept == {"step-000005", "step-000006"}
    checkpoint = {path.name for path in (tmp_path / "run/checkpoints/step-000006").iterdir()}
    optimizers = {"optimizer-actor.safetensors", "optimizer-critic.safetensors"}
    assert checkpoint == {"actor", "critic", "state.json", *optimizers}

    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["stage"] == "ppo" and config["settings"]["kl_coef"] == 0.05
    assert set(config["weights_sha256"]) == {"actor", "critic", "reference", "reward_model"}
    (environment,) = config["environments"]
    assert environment["torch"] == torch.__version__ and environment["threads"] == 1
    assert {"minirlhf", "transformers", "python", "capability", "device"} <= set(environment)

    history = read_history(tmp_path / "run/history.jsonl")
    assert [(step["stage"], step["step"]) for step in history] == [("ppo", n) for n in range(1, 7)]
    assert all({"score", "kl", "explained_variance"} <= set(step) for step in history)


def test_sources_are_written_as_given_and_rows_as_a_hash(tmp_path: Path) -> None:
    rows = [{"prompt": prompt} for prompt in PROMPTS]
    sources = {"model": "runs/sft/actor", "data": "prompts.jsonl"}
    folder = RunFolder(tmp_path / "run", sources=sources, rows=rows)
    list(folder.record(ppo_trainer(iterations=1)))
    config = folder.config()
    assert config is not None and config["sources"] == sources
    assert len(config["rows_sha256"]) == 64


@pytest.mark.parametrize("where", ["checkpoints/step-000002/", ""])
def test_every_saved_model_opens_with_plain_transformers(tmp_path: Path, where: str) -> None:
    trainer = ppo_trainer(iterations=2)
    run(tmp_path, trainer)
    actor = AutoModelForCausalLM.from_pretrained(f"{tmp_path}/{where}actor")
    critic = AutoModelForSequenceClassification.from_pretrained(f"{tmp_path}/{where}critic")
    tokenizer = AutoTokenizer.from_pretrained(f"{tmp_path}/{where}actor")
    for model, role in ((actor, trainer.actor), (critic, trainer.critic)):
        for name, weight in role.model.state_dict().items():
            assert torch.equal(weight, model.state_dict()[name])
    assert tokenizer(PROMPTS[0])["input_ids"] == trainer.actor.tokenizer(PROMPTS[0])["input_ids"]
    Actor.from_pretrained(f"{tmp_path}/{where}actor")
    Critic.from_pretrained(f"{tmp_path}/{where}critic")


def test_nothing_is_pickled(tmp_path: Path) -> None:
    run(tmp_path, ppo_trainer(iterations=1))
    endings = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert endings <= {".json", ".jsonl", ".md", ".safetensors", ""}  # "" is the lock


def test_loading_and_saving_print_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    actor = ppo_trainer().actor
    capfd.readouterr()
    actor.save(tmp_path / "actor")
    RewardModel.from_actor(actor).save(tmp_path / "reward_model")
    Actor.from_pretrained(tmp_path / "actor")
    RewardModel.from_pretrained(tmp_path / "reward_model")
    assert capfd.readouterr() == ("", "")


def test_a_metric_that_is_no_number_is_null_in_the_history(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    metrics = {"kl": 0.1, "ratio_max": math.inf, "score": math.nan}
    append_record(file, StepRecord("ppo", 1, 2, metrics))
    line = '{"stage": "ppo", "step": 1, "kl": 0.1, "ratio_max": null, "score": null}\n'
    assert file.read_text() == line
    file.write_text(line + '{"stage": "ppo", "st')  # a second line is being written
    (step,) = read_history(file)
    assert step["kl"] == 0.1 and math.isnan(step["ratio_max"])


# ------------------------------------------------------------------------ resuming


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_gives_back_every_number(tmp_path: Path, case: str) -> None:
    stage, settings = CASES[case]
    first, second = (TRAINERS[stage](**settings) for _ in range(2))
    save_checkpoint(tmp_path / "step-0", first)  # the optimisers have no state yet
    for _ in range(3):
        first.train_step()
    save_checkpoint(tmp_path / "step-3", first)
    for name, trainer in (("step-3", first), ("step-0", TRAINERS[stage](**settings))):
        load_checkpoint(tmp_path / name, second)
        wanted, got = state(trainer), state(second)
        assert wanted.keys() == got.keys()
        assert all(torch.equal(wanted[key], got[key]) for key in wanted)


@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed_gives_the_same_bytes(tmp_path: Path, case: str) -> None:
    stage, settings = CASES[case]
    run(tmp_path / "whole", TRAINERS[stage](**settings), save_every=2)
    stop_after(tmp_path / "parts", TRAINERS[stage](**settings), 3, save_every=2)
    assert len(read_history(tmp_path / "parts/history.jsonl")) == 3  # one more than was saved
    run(tmp_path / "parts", TRAINERS[stage](**settings), resume=True, save_every=2)
    assert tree(tmp_path / "whole") == tree(tmp_path / "parts")


def test_the_last_step_of_stage_2_is_not_standardised_twice(tmp_path: Path) -> None:
    run(tmp_path / "whole", TRAINERS["reward"]())
    whole = tree(tmp_path / "whole")
    for steps in (5, 6):  # before and after the step that standardises
        folder = tmp_path / str(steps)
        stop_after(folder, TRAINERS["reward"](), steps)
        assert not (folder / "reward_model").exists()
        for _ in range(2):  # the second time there is nothing left to do
            run(folder, TRAINERS["reward"](), resume=True)
            assert tree(folder) == whole
    shift = RewardModel.from_pretrained(tmp_path / "whole/reward_model").score_shift
    assert shift != 0.0


def test_resuming_before_the_first_checkpoint_starts_again(tmp_path: Path) -> None:
    run(tmp_path / "whole", ppo_trainer(), save_every=4)
    stop_after(tmp_path / "parts", ppo_trainer(), 2, save_every=4)
    run(tmp_path / "parts", ppo_trainer(), resume=True, save_every=4)
    assert tree(tmp_path / "whole") == tree(tmp_path / "parts")


def test_the_same_trainer_may_go_on(tmp_path: Path) -> None:
    run(tmp_path / "whole", ppo_trainer())
    trainer = ppo_trainer()
    stop_after(tmp_path / "parts", trainer, 3)
    trainer.train_step()  # steps that were not recorded are done again
    run(tmp_path / "parts", trainer, resume=True)
    assert tree(tmp_path / "whole") == tree(tmp_path / "parts")


@pytest.mark.parametrize("stage", ["ppo", *CRITIC_FREE])
def test_stage_3_may_be_made_longer(tmp_path: Path, stage: str) -> None:
    trainer = TRAINERS[stage]
    run(tmp_path / "whole", trainer(iterations=5))
    run(tmp_path / "parts", trainer(iterations=3))
    run(tmp_path / "parts", trainer(iterations=5), resume=True)
    assert tree(tmp_path / "whole") == tree(tmp_path / "parts")
    with pytest.raises(ValueError, match="at step 5 already, beyond 4"):
        run(tmp_path / "parts", trainer(iterations=4), resume=True)


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        ("ppo", {"seed": 1}, "seed was 0 and is now 1"),
        ("ppo", {"kl_coef": 0.1, "gamma": 0.9}, "kl_coef was 0.05 and is now 0.1, gamma was"),
        ("sft", {}, "stage ppo, not sft"),
    ],
)
def test_other_settings_are_refused(
    tmp_path: Path, stage: str, settings: dict[str, float], message: str
) -> None:
    stop_after(tmp_path, ppo_trainer(), 2)
    before = tree(tmp_path)
    with pytest.raises(ValueError, match=message):
        run(tmp_path, TRAINERS[stage](**settings), resume=True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("stage", ["sft", "reward", "dpo"])
def test_steps_that_the_learning_rate_was_planned_over_may_not_change(
    tmp_path: Path, stage: str
) -> None:
    stop_after(tmp_path, TRAINERS[stage](), 2)
    with pytest.raises(ValueError, match=r"steps was 6 and is now 7\. Only the device may change"):
        run(tmp_path, TRAINERS[stage](steps=7), resume=True)


def test_other_weights_or_other_data_are_refused(tmp_path: Path) -> None:
    rows = [{"prompt": prompt} for prompt in PROMPTS]
    records = RunFolder(tmp_path, rows=rows).record(ppo_trainer())
    next(records)
    records.close()
    other = ppo_trainer()
    with torch.no_grad():
        next(other.reward_model.parameters())[0, 0] += 1e-6
    with pytest.raises(ValueError, match="the weights of reward_model are not those"):
        next(RunFolder(tmp_path, resume=True, rows=rows).record(other))
    with pytest.raises(ValueError, match="the data is not that of the run"):
        next(RunFolder(tmp_path, resume=True, rows=rows[1:]).record(ppo_trainer()))


def test_other_versions_threads_or_device_are_warned_about(tmp_path: Path) -> None:
    stop_after(tmp_path, ppo_trainer(), 2)
    config = json.loads((tmp_path / "config.json").read_text())
    config["environments"][0] |= {"torch": "1.0", "device": "cuda"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.warns(ResumeWarning, match=r"torch 1\.0 → .*, device cuda → cpu"):
        run(tmp_path, ppo_trainer(), resume=True)
    then, now = json.loads((tmp_path / "config.json").read_text())["environments"]
    assert (then["from_step"], now["from_step"]) == (0, 2) and now["device"] == "cpu"


# -------------------------------------------------------------- folders that are taken


def test_a_run_is_neither_overwritten_nor_made_up(tmp_path: Path) -> None:
    run(tmp_path / "run", ppo_trainer(iterations=1))
    with pytest.raises(ValueError, match="add --resume"):
        RunFolder(tmp_path / "run")
    with pytest.raises(ValueError, match=r"no run in .* to resume"):
        RunFolder(tmp_path / "other", resume=True)
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        RunFolder(tmp_path / "run/actor")  # a model's folder has a config.json, too
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file"):
        RunFolder(tmp_path / "file")
    assert not (tmp_path / "other").exists()


def test_only_one_process_at_a_time(tmp_path: Path) -> None:
    records = RunFolder(tmp_path).record(ppo_trainer())
    next(records)
    with pytest.raises(ValueError, match="something else is writing"):
        next(RunFolder(tmp_path, resume=True).record(ppo_trainer()))
    records.close()
    run(tmp_path, ppo_trainer(), resume=True)


def test_an_error_before_the_first_checkpoint_leaves_no_trace(tmp_path: Path) -> None:
    trainer = ppo_trainer()
    with torch.no_grad():
        next(trainer.actor.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError):
        run(tmp_path / "run", trainer)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="save_every"):
        run(tmp_path / "run", ppo_trainer(), save_every=0)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_breaks_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    trainer = ppo_trainer()
    records = RunFolder(tmp_path).record(trainer)
    for _ in range(3):
        next(records)
    before = tree(tmp_path)
    with torch.no_grad():
        next(trainer.critic.parameters()).fill_(float("inf"))
    with pytest.raises(ValueError, match="at step 4; training stopped"):
        next(records)
    assert tree(tmp_path) == before


# ------------------------------------------------------------------ damaged checkpoints


FILES = [
    "state.json",
    "actor/model.safetensors",
    "actor/config.json",
    "critic/model.safetensors",
    "optimizer-actor.safetensors",
    "optimizer-critic.safetensors",
]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PPO run that was left after step 4 of 6."""
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    stop_after(folder, ppo_trainer(), 4)
    return folder


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "garbled"])
def test_a_damaged_checkpoint_is_named(
    tmp_path: Path, stopped: Path, file: str, damage: str
) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    newest = tmp_path / "run/checkpoints/step-000004"
    content = (newest / file).read_bytes()
    if damage == "missing":
        (newest / file).unlink()
    elif damage == "truncated":
        (newest / file).write_bytes(content[: len(content) // 2])
    else:
        (newest / file).write_bytes(b"\xff" * len(content))
    before, trainer = tree(tmp_path / "run"), ppo_trainer()
    untouched = state(trainer)
    with pytest.raises(ValueError) as caught:
        run(tmp_path / "run", trainer, resume=True)
    message = str(caught.value)
    assert str(newest / file.split("/")[0]) in message and "\n" not in message
    assert f"delete the folder {newest}" in message
    assert tree(tmp_path / "run") == before
    assert all(torch.equal(value, state(trainer)[key]) for key, value in untouched.items())


def test_without_the_newest_checkpoint_the_one_before_works(tmp_path: Path, stopped: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints/step-000004")
    run(tmp_path / "run", ppo_trainer(), resume=True)
    run(tmp_path / "whole", ppo_trainer())
    assert tree(tmp_path / "run") == tree(tmp_path / "whole")


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    trainer = ppo_trainer()
    trainer.train_step()
    save_checkpoint(tmp_path / "step-1", trainer)
    moments = load_file(tmp_path / "step-1/optimizer-actor.safetensors")
    assert {key.rpartition(".")[2] for key in moments} == {"step", "exp_avg", "exp_avg_sq"}
    (tmp_path / "step-1/optimizer-actor.safetensors").write_bytes(
        (tmp_path / "step-1/optimizer-critic.safetensors").read_bytes()
    )
    state_file = tmp_path / "step-1/state.json"
    saved = json.loads(state_file.read_text())
    sizes = saved["files"]
    sizes["optimizer-actor.safetensors"] = sizes["optimizer-critic.safetensors"]
    state_file.write_text(json.dumps(saved))
    with pytest.raises(ValueError, match="fits no parameter of the Actor"):
        load_checkpoint(tmp_path / "step-1", ppo_trainer())


def test_a_history_that_is_not_one_is_refused(tmp_path: Path) -> None:
    stop_after(tmp_path, ppo_trainer(), 2)
    (tmp_path / "history.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"history\.jsonl, line 1: not a step of a run"):
        run(tmp_path, ppo_trainer(), resume=True)


# -------------------------------------------------------------------------- full disk


def run_out_of_space(patch: pytest.MonkeyPatch, fail_at: int) -> None:
    def act(number: int, name: str) -> None:
        if number == fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    DiskCalls(patch, act)


def test_a_full_disk_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    run(tmp_path / "whole", ppo_trainer(**QUICK))
    whole = tree(tmp_path / "whole")
    names: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        DiskCalls(patch, lambda number, name: names.append(name))
        run(tmp_path / "counted", ppo_trainer(**QUICK))
    assert len(names) > 40
    # removing needs no space
    for fail_at in (n for n, name in enumerate(names, start=1) if name != "remove"):
        folder = tmp_path / f"full-{fail_at}"
        with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError) as caught:
            run_out_of_space(patch, fail_at)
            run(folder, ppo_trainer(**QUICK))
        assert caught.value.errno == errno.ENOSPC, fail_at
        left = [path.name for path in folder.rglob(".*") if path.name != ".lock"]
        assert left == [], fail_at
        if folder.exists():  # the last good checkpoint is intact
            assert (folder / "checkpoints/step-000001/state.json").exists()
            if fail_at % 4 == 0:
                run(folder, ppo_trainer(**QUICK), resume=True)
                assert tree(folder) == whole, fail_at


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 3,000 bytes: real failing writes, also in Rust.

    Only around the writes: pytest's own report may be a file, too.
    """
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_writes_that_really_fail_are_clear_errors(tmp_path: Path) -> None:
    trainer = ppo_trainer(iterations=1)
    with small_files(), pytest.raises(OSError, match="step-000001"):  # written in Rust
        run(tmp_path / "run", trainer)
    assert not (tmp_path / "run").exists()

    atomic.append_line(tmp_path / "lines.txt", "x" * 2000)
    with small_files(), pytest.raises(OSError):
        atomic.write_text(tmp_path / "long.txt", "x" * 4000)
    with small_files(), pytest.raises(OSError):
        atomic.append_line(tmp_path / "lines.txt", "y" * 2000)
    assert (tmp_path / "lines.txt").read_text() == "x" * 2000 + "\n"
    assert [path.name for path in tmp_path.iterdir()] == ["lines.txt"]


# ------------------------------------------------------------------------- atomicity


def test_what_a_kill_leaves_is_tidied_up(tmp_path: Path) -> None:
    for name in (".new-actor", ".old-actor", ".old-critic", "critic"):
        (tmp_path / name).mkdir()
    (tmp_path / ".old-actor/mark").touch()
    atomic.recover(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["actor", "critic"]
    assert (tmp_path / "actor/mark").exists()  # killed between the two renames: back again


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with atomic.new_folder(tmp_path / "actor") as new:
            (new / content).touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["actor", "two"]
    with pytest.raises(KeyboardInterrupt), atomic.new_folder(tmp_path / "actor") as new:
        (new / "three").touch()
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.rglob("*")] == ["actor", "two"]
