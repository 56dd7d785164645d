"""Whatever a user gets wrong: one line on stderr, exit code 2, no traceback, nothing written."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from disk_calls import DiskCalls
from tiny_trainers import PAIRS, PROMPTS, SFT_ROWS, tiny_actor, tree
from typer.testing import CliRunner

from minirlhf import RewardModel, hub
from minirlhf.cli import app
from minirlhf.cli.errors import describe, one_line_errors

LONG = " ".join(["the soup was warm and"] * 20)
LINES = {
    "sft": SFT_ROWS,
    "pairs": PAIRS,
    "prompts": [{"prompt": prompt} for prompt in PROMPTS],
    "long": [{"prompt": LONG}],
    "nan": [{"prompt": PROMPTS[0], "completion": float("nan")}],
    "number": [{"prompt": 3, "completion": "the soup was warm ."}],
    "blank": [{"prompt": " ", "completion": "the soup was warm ."}],
    "list": [["review the soup :", "the soup was warm ."]],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad models and data, and a PPO run of two iterations in `run`."""
    folder = tmp_path_factory.mktemp("files")
    for name, rows in LINES.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "empty.jsonl").write_text("")
    (folder / "malformed.jsonl").write_text('{"prompt": "review the')
    (folder / "latin1.jsonl").write_bytes('{"prompt": "café"}\n'.encode("latin-1"))
    tiny_actor().save(folder / "model")
    RewardModel.from_actor(tiny_actor()).save(folder / "reward")

    actor = tiny_actor()
    with torch.no_grad():
        next(actor.parameters())[0, 0] = float("nan")
    actor.save(folder / "nan-model")
    for name in ("no-eos", "truncated-model", "no-weights", "pickle"):
        shutil.copytree(folder / "model", folder / name)
    settings = json.loads((folder / "no-eos/tokenizer_config.json").read_text())
    del settings["eos_token"]
    (folder / "no-eos/tokenizer_config.json").write_text(json.dumps(settings))
    weights = folder / "truncated-model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    (folder / "no-weights/model.safetensors").unlink()
    (folder / "pickle/model.safetensors").rename(folder / "pickle/pytorch_model.bin")

    result = CliRunner().invoke(app, ppo(folder, folder / "run", "--iterations", "2"))
    assert result.exit_code == 0, result.stderr
    return folder


def sft(files: Path, out: Path, *more: str, data: str = "sft", model: str = "model") -> list[str]:
    source = ["--model", str(files / model), "--data", str(files / f"{data}.jsonl")]
    return ["sft", "--out", str(out), *source, "--batch-size", "4", "--steps", "3", *more]


def ppo(
    files: Path, out: Path, *more: str, data: str = "prompts", reward: str = "reward"
) -> list[str]:
    models = ["--model", str(files / "model"), "--reward", str(files / reward)]
    small = ["--batch-size", "2", "--max-response-tokens", "4", "--seed", "0"]
    return [
        "ppo",
        "--out",
        str(out),
        *models,
        "--data",
        str(files / f"{data}.jsonl"),
        *small,
        *more,
    ]


def refused(arguments: list[str], message: str) -> None:
    """The command must end with one line that contains `message`, and exit code 2."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, (result.exit_code, result.stderr, result.exception)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ") and message in line, line
    assert "Traceback" not in result.output


BAD_SFT: dict[str, tuple[dict[str, Any], str]] = {
    "missing file": ({"data": "nowhere"}, "nowhere.jsonl does not exist"),
    "empty file": ({"data": "empty"}, "empty.jsonl is empty; wanted at least one row"),
    "malformed line": ({"data": "malformed"}, "malformed.jsonl, line 1: not valid JSON"),
    "not UTF-8": ({"data": "latin1"}, "not UTF-8"),
    "missing column": (
        {"data": "prompts"},
        "line 1: column 'completion' is missing",
    ),
    "NaN in data": (
        {"data": "nan"},
        "line 1: column 'completion' must be text, got nan",
    ),
    "number in data": ({"data": "number"}, "line 1: column 'prompt' must be text, got 3"),
    "blank text": ({"data": "blank"}, "line 1: column 'prompt' is empty"),
    "no objects": ({"data": "list"}, "line 1: wanted an object"),
    "missing model folder": ({"model": "nowhere/else"}, "nowhere/else does not exist"),
    "a folder that is no model": ({"model": "."}, "has no config.json"),
    "no EOS": ({"model": "no-eos"}, "has no EOS token"),
    "NaN weights": ({"model": "nan-model"}, "NaN or infinite weights in transformer.wte"),
    "truncated model": ({"model": "truncated-model"}, "truncated-model"),
    "model without weights": ({"model": "no-weights"}, "no-weights"),
    "pickled weights": ({"model": "pickle"}, "pickle"),
}
BAD_OPTIONS = {
    "zero steps": (["--steps", "0"], "steps must be a whole number ≥ 1, got 0"),
    "negative batch": (["--batch-size", "-4"], "batch_size must be a whole number ≥ 1, got -4"),
    "NaN learning rate": (["--lr", "nan"], "lr must be a finite number > 0, got nan"),
    "unknown device": (["--device", "abacus"], "device 'abacus' cannot be used"),
    "steps that explode": (["--lr", "1e30"], "training stopped before this step"),
    "nothing to resume": (["--resume"], "no run in"),
}
BAD_PPO = {
    "prompt too long": ({"data": "long"}, [], "line 1: a prompt of 100 tokens and a response of 4"),
    "response too long": (
        {},
        ["--max-response-tokens", "64"],
        "a prompt of 4 tokens and a response of 64 are more than the 64 that fit. None of the 3",
    ),
    "negative β": ({}, ["--kl-coef", "-1"], "kl_coef must be a finite number ≥ 0"),
    "zero iterations": ({}, ["--iterations", "0"], "iterations must be a whole number ≥ 1"),
    "unknown target": ({}, ["--critic-target", "mc"], "critic_target must be one of td, gae"),
    "minibatch too large": ({}, ["--minibatch-size", "3"], "larger than batch_size 2"),
    "no reward model": ({"reward": "model"}, [], "lacks the weights score.weight"),
}


@pytest.mark.parametrize("case", BAD_SFT)
def test_bad_files(files: Path, tmp_path: Path, case: str) -> None:
    what, message = BAD_SFT[case]
    refused(sft(files, tmp_path / "out", **what), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options(files: Path, tmp_path: Path, case: str) -> None:
    more, message = BAD_OPTIONS[case]
    refused(sft(files, tmp_path / "out", *more), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", BAD_PPO)
def test_bad_ppo(files: Path, tmp_path: Path, case: str) -> None:
    what, more, message = BAD_PPO[case]
    refused(ppo(files, tmp_path / "out", *more, **what), message)
    assert not (tmp_path / "out").exists()


def test_options_that_are_missing_are_named(tmp_path: Path) -> None:
    refused(["sft", "--out", str(tmp_path / "out")], "--model and --data must be given")


@pytest.mark.parametrize("more", [["--steps", "many"], ["--save-every", "0"], ["--colour", "red"]])
def test_wrong_usage(files: Path, tmp_path: Path, more: list[str]) -> None:
    result = CliRunner().invoke(app, sft(files, tmp_path / "out", *more))
    assert result.exit_code == 2 and more[0] in result.stderr
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------- the Hub


def test_an_unknown_model_or_data_set_offline(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def no_name_service(host: object, *_: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    monkeypatch.setattr(hub.socket, "getaddrinfo", no_name_service)
    wrong_model = ["--model", "someone/no-such-model", "--out", str(tmp_path / "out")]
    refused(
        ["sft", *wrong_model, "--data", str(files / "sft.jsonl")],
        "there is no model someone/no-such-model here, and huggingface.co cannot be reached",
    )
    wrong_data = ["--data", "someone/no-such-data", "--out", str(tmp_path / "out")]
    refused(
        ["sft", "--model", str(files / "model"), *wrong_data],
        "there is no data set someone/no-such-data here",
    )
    assert len(asked) == 2  # once each: the Hub's own retries would take a minute
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_with_a_cache_only(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    arguments = ["--model", "no-such-model", "--data", str(files / "sft.jsonl")]
    refused(["sft", *arguments, "--out", str(tmp_path / "out")], "the model no-such-model")


# --------------------------------------------------------------------- runs on the disk


def damaged(run: Path) -> None:
    weights = run / "checkpoints/step-000002/actor/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])


def unreadable(run: Path) -> None:
    (run / "checkpoints/step-000002/state.json").write_text("{")


def nothing(run: Path) -> None:
    pass


BAD_RESUMES: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "truncated checkpoint": (damaged, ["--resume"], "step-000002/actor/model.safetensors cannot"),
    "unreadable checkpoint": (unreadable, ["--resume"], "step-000002/state.json cannot be used"),
    "another seed": (nothing, ["--resume", "--seed", "1"], "seed was 0 and is now 1"),
    "another β": (nothing, ["--resume", "--kl-coef", "0"], "kl_coef was 0.05 and is now 0.0"),
    "fewer iterations": (nothing, ["--resume", "--iterations", "1"], "at step 2 already"),
    "no --resume": (nothing, [], "there is a run in"),
}


@pytest.mark.parametrize("case", BAD_RESUMES)
def test_bad_resumes_leave_the_run_as_it_was(files: Path, tmp_path: Path, case: str) -> None:
    damage, more, message = BAD_RESUMES[case]
    run = tmp_path / "run"
    shutil.copytree(files / "run", run)
    damage(run)
    before = tree(run)
    refused(ppo(files, run, *more), message)
    assert tree(run) == before


def test_other_data_and_other_commands_cannot_resume(files: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(files / "run", run)
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": PROMPTS[0]}) + "\n")
    refused(
        ["ppo", "--out", str(run), "--resume", "--data", str(tmp_path / "prompts.jsonl")],
        "the data is not that of the run",
    )
    refused(["sft", "--out", str(run), "--resume"], "of stage ppo, not sft")
    assert tree(run) == tree(files / "run")


def test_resume_needs_no_other_option(files: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(files / "run", run)
    arguments = ["ppo", "--out", str(run), "--resume", "--iterations", "3", "--device", "cpu"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert "ppo 3/3  score" in result.stdout
    whole = CliRunner().invoke(app, ppo(files, tmp_path / "whole", "--iterations", "3"))
    assert whole.exit_code == 0 and tree(run) == tree(tmp_path / "whole")


@pytest.mark.filterwarnings("always::minirlhf.resume.ResumeWarning")
def test_other_conditions_are_one_line_of_warning(files: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(files / "run", run)
    config = json.loads((run / "config.json").read_text())
    config["environments"][0]["threads"] = 99
    (run / "config.json").write_text(json.dumps(config))
    result = CliRunner().invoke(app, ppo(files, run, "--resume", "--iterations", "3"))
    (line,) = result.stderr.splitlines()
    assert result.exit_code == 0
    assert line.startswith("Warning: resuming with other conditions (threads 99 → 1)")


@pytest.mark.parametrize("call", [1, 4, 7, 13, 33])
def test_a_full_disk(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    def act(number: int, name: str) -> None:
        if number >= call and name != "remove":
            raise OSError(errno.ENOSPC, "No space left on device")

    DiskCalls(monkeypatch, act)
    refused(ppo(files, tmp_path / "out", "--iterations", "2"), "the disk is full")
    left = [path.name for path in (tmp_path / "out").rglob("*")]
    assert left == [] or "state.json" in left  # nothing, or a good checkpoint
    assert not any(name.startswith((".new", ".old")) for name in left)


def test_a_folder_that_cannot_be_written(files: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(sft(files, tmp_path / "file" / "out"), "Not a directory")
    refused(sft(files, files / "model"), "is not empty and holds no run")


# --------------------------------------------------------------------- a real process


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    here = {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "minirlhf", *arguments],
        env=os.environ | here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_real_process_ends_with_2(files: Path, tmp_path: Path) -> None:
    process = start(sft(files, tmp_path / "out", data="malformed"))
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 2 and stdout == ""
    (line,) = stderr.splitlines()
    assert line.startswith("Error: ") and "line 1: not valid JSON" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent in another way there")
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(files: Path, tmp_path: Path) -> None:
    process = start(ppo(files, tmp_path / "out", "--iterations", "100000"))
    deadline = time.monotonic() + 120
    while not (tmp_path / "out/checkpoints/step-000002").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    line = stderr.splitlines()[-1]
    assert line == f"Interrupted. To go on: minirlhf ppo --out {tmp_path}/out --resume"
    assert "Traceback" not in stderr


# ------------------------------------------------------------------------- developers


@pytest.mark.parametrize("how", ["option", "environment"])
def test_developers_get_the_traceback(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "environment":
        monkeypatch.setenv("MINIRLHF_TRACEBACK", "1")
    first = ["--traceback"] if how == "option" else []
    result = CliRunner().invoke(app, [*first, *sft(files, tmp_path / "out", data="empty")])
    assert isinstance(result.exception, ValueError) and result.exc_info is not None


def test_mistakes_of_ours_are_not_dressed_up() -> None:
    with pytest.raises(ZeroDivisionError), one_line_errors():
        raise ZeroDivisionError
    with pytest.raises(RuntimeError), one_line_errors():
        raise RuntimeError("shapes differ")


def test_out_of_memory_is_the_users_to_mend(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), one_line_errors():
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert capsys.readouterr().err.startswith("Error: out of memory")


def test_an_error_is_one_line() -> None:
    assert describe(ValueError("first\n  second")) == "first second"
    assert (
        describe(OSError(errno.EACCES, "Permission denied", "x.json"))
        == "x.json: Permission denied"
    )
    assert describe(ValueError()) == "ValueError"
