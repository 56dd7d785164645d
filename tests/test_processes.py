"""Two processes compute what one does, save what one saves, and end together."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from process_runs import CASES, RESUMED, SHARDED
from safetensors.torch import load_file
from tiny_trainers import PROMPTS, QUICK, ppo_trainer, tiny_actor, tree
from typer.testing import CliRunner

from minirlhf import Prompts, RewardModel, processes
from minirlhf.backbone import pick_device
from minirlhf.cli import app
from minirlhf.history import read_history
from minirlhf.processes import Processes, here

TESTS = Path(__file__).parent
MANY = 400  # iterations: more than there is time for
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def launch(engine: str) -> list[str]:
    """Arguments of Python, as far as our own command's."""
    return (
        f"-m accelerate.commands.launch {engine} --num_processes 2 --num_machines 1 "
        "--mixed_precision no --dynamo_backend no --main_process_port 0 -m minirlhf"
    ).split()


def environment() -> dict[str, str]:
    """Of a child: one thread, no network, no GPU, and no plugin of the tests."""
    quiet = {
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return {k: v for k, v in os.environ.items() if not k.startswith("COV_")} | quiet


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    done = subprocess.run(
        [sys.executable, str(TESTS / "process_runs.py"), str(folder)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def assert_same_state(one: Path, other: Path) -> None:
    """Weights, moments and counters, in float64."""
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype == torch.float64 or name.endswith("step"), name
        torch.testing.assert_close(a[name], b[name], rtol=1e-7, atol=1e-9, msg=name)


# ------------------------------------------------------------------ the same numbers


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"), [("ddp", name) for name in CASES] + [("fsdp", name) for name in SHARDED]
)
def test_two_processes_compute_what_one_does(
    runs: tuple[Path, dict[str, Any]], kind: str, name: str
) -> None:
    folder, report = runs[0] / "equalities", runs[1]["equalities"]
    assert report[kind] == [0, 0], (folder / kind / "stderr.0").read_text()
    alone = json.loads((folder / "one" / name / "0.json").read_text())
    assert len(alone) >= 2
    for rank in (0, 1):  # every process has the numbers of all
        metrics = json.loads((folder / kind / name / f"{rank}.json").read_text())
        for ours, theirs in zip(metrics, alone, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9)
    states = sorted((folder / kind / name).glob("*.safetensors"))
    assert len(states) == (2 if kind == "ddp" else 1)
    for state in states:
        assert_same_state(state, folder / "one" / name / "0.safetensors")


@needs_fork
@pytest.mark.slow
def test_the_cases_do_what_their_names_say(runs: tuple[Path, dict[str, Any]]) -> None:
    folder = runs[0] / "equalities" / "ddp"
    stopped = json.loads((folder / "ppo early stop" / "1.json").read_text())
    steps = [metrics["optimiser_steps"] for metrics in stopped]
    assert min(steps) < 4  # of 2 epochs of 2 minibatches
    assert json.loads((folder / "reward" / "1.json").read_text())[-1]["held_out_accuracy"] >= 0


# ------------------------------------------------------------------ files


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
@pytest.mark.parametrize("stage", RESUMED)
def test_a_run_moves_between_numbers_of_processes(
    runs: tuple[Path, dict[str, Any]], stage: str, kind: str
) -> None:
    folder, report = runs[0] / "moves", runs[1]["moves"]
    whole = tree(folder / f"{stage} whole")
    for name in (f"{stage} {kind} to one", f"{stage} one to {kind}"):
        if name in report:
            assert report[name] == [0, 0]
        files = tree(folder / name)
        assert files.keys() == whole.keys()  # the format knows nothing of processes
        shapes = {k: (v.shape, v.dtype) for k, v in weights_of(folder / name, stage).items()}
        right = weights_of(folder / f"{stage} whole", stage)
        assert shapes == {k: (v.shape, v.dtype) for k, v in right.items()}
        ours = folder / f"{name} state" / "0.safetensors"
        assert_same_state(ours, folder / f"{stage} whole state" / "0.safetensors")
        for now, then in zip(
            history(folder / name), history(folder / f"{stage} whole"), strict=True
        ):
            assert now == pytest.approx(then, rel=1e-6, abs=1e-9)
        environments = json.loads((folder / name / "config.json").read_text())["environments"]
        both = [2, 1] if name.endswith("one") else [1, 2]
        assert [one["processes"] for one in environments] == both


def weights_of(run: Path, stage: str) -> dict[str, torch.Tensor]:
    role = {"ppo": "critic", "reward": "reward_model"}[stage]
    return load_file(run / role / "model.safetensors")


def history(run: Path) -> list[dict[str, Any]]:
    lines = read_history(run / "history.jsonl")
    return [{k: v for k, v in line.items() if k not in ("seconds", "stage")} for line in lines]


# ------------------------------------------------------------------ failures


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "codes", "line"),
    [
        ("broken_loss", [2, 2], "Error: actor_loss is nan at step 1"),
        ("error", [2, 2], "Error: something is wrong here"),
        ("killed", [2, -9], "Error: another process of this run has ended"),
    ],
)
def test_one_process_that_fails_ends_both_with_one_line(
    runs: tuple[Path, dict[str, Any]], what: str, codes: list[int], line: str
) -> None:
    report = runs[1]["failures"][what]
    assert report["codes"] == codes
    said = "".join(
        (runs[0] / "failures" / "stderr" / what / f"stderr.{rank}").read_text() for rank in (0, 1)
    )
    assert said.startswith(line) and said.count("\n") == 1
    assert "Traceback" not in said


@needs_fork
@pytest.mark.slow
def test_a_run_whose_process_was_killed_goes_on(runs: tuple[Path, dict[str, Any]]) -> None:
    folder = runs[0] / "failures"
    states = [folder / f"{name} state" / "0.safetensors" for name in ("killed", "whole")]
    assert_same_state(*states)
    assert not (folder / "loss").exists()  # it failed before its first checkpoint
    assert (folder / "error" / "checkpoints" / "step-000002").is_dir()


# ------------------------------------------------------------------ the command line


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_actor().save(folder / "actor")
    RewardModel.from_actor(tiny_actor(), seed=1).save(folder / "reward")
    rows = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS)
    (folder / "prompts.jsonl").write_text(rows)
    return folder


def command(models: Path, out: Path) -> list[str]:
    return (
        f"ppo --model {models}/actor --reward {models}/reward --data {models}/prompts.jsonl "
        f"--out {out} --iterations {MANY} --batch-size 4 --max-response-tokens 6 "
        "--critic-target gae"
    ).split()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
@pytest.mark.slow
def test_a_launched_command_is_killed_and_goes_on_under_fsdp(models: Path, tmp_path: Path) -> None:
    """`accelerate launch … -m minirlhf ppo`; DDP, of which one process is killed; FSDP2 goes on."""
    out, whole = tmp_path / "run", tmp_path / "whole"
    launched = subprocess.Popen(
        [sys.executable, *launch("--multi_gpu"), *command(models, out)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = time.monotonic()
    steps = out / "checkpoints" / "step-000003"
    while not steps.is_dir() and launched.poll() is None and time.monotonic() - started < 240:
        time.sleep(0.02)
    victims = [child for child in children_of(launched.pid) if rank_of(child) == "1"]
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    said, errors = launched.communicate(timeout=120)
    assert len(victims) == 1 and launched.returncode != 0, errors
    assert said.count("Actor ") == 1  # only the main process speaks
    done = len(read_history(out / "history.jsonl"))
    assert 3 <= done < MANY
    total = f"--iterations={done + 1}"  # a run may be made shorter, too: its rate is constant
    arguments = [*command(models, out), total, "--resume"]
    resumed = subprocess.run(
        [sys.executable, *launch("--use_fsdp --fsdp_version 2"), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert resumed.returncode == 0 and resumed.stdout.count("next:") == 1, resumed.stderr
    alone = CliRunner().invoke(app, [*command(models, whole), total, "--device=cpu"])
    assert alone.exit_code == 0, alone.output
    assert len(history(out)) == len(history(whole)) == done + 1
    for now, then in zip(history(out)[:5], history(whole)[:5], strict=True):
        assert now == pytest.approx(then, rel=1e-2, abs=1e-3)  # float32, and Adam


def children_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if f"\nPPid:\t{pid}\n" in status.read_text():
                found.append(int(status.parent.name))
    return found


def rank_of(pid: int) -> str | None:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    found = [v.partition(b"=")[2].decode() for v in variables if v.startswith(b"RANK=")]
    return found[0] if found else None


# ------------------------------------------------------------------ alone, and by hand


def test_alone_nothing_happens_and_accelerate_is_not_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", None)
    here.cache_clear()
    for _ in ppo_trainer(**QUICK):
        pass
    assert not torch.distributed.is_initialized()
    alone = here()
    assert alone.count == 1 and alone.is_main and alone.device is None and not alone.sharded
    x = torch.arange(3.0, requires_grad=True)
    assert alone.gather(x, 3) is x and alone.first_non_finite(x) is x
    assert alone.rows(4) == [0, 1, 2, 3] and alone.counted(4) == 4
    assert alone.sum({"a": 0.1}) == alone.largest({"a": 0.1}) == {"a": 0.1}


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [1, 2, 5, 8, 24])
def test_every_row_has_one_process_and_all_have_as_many(n: int, count: int) -> None:
    everyone = [Processes(rank, count) for rank in range(count)]
    parts = [one.rows(n) for one in everyone]
    own = [part[: one.counted(n)] for one, part in zip(everyone, parts, strict=True)]
    assert [row for part in own for row in part] == list(range(n))
    assert len({len(part) for part in parts}) == 1
    assert all(0 <= row < n for part in parts for row in part)


@pytest.mark.parametrize("microbatch", [None, 1, 2])
def test_microbatches_keep_processes_in_step(microbatch: int | None) -> None:
    rows, read, numbers = torch.tensor([4, 0, 6, 2, 5, 1, 3]), [], []
    for rank in range(3):
        parts = list(Processes(rank, 3).microbatches(rows, microbatch))
        numbers.append([len(part) for part, _, _ in parts])
        assert [last for _, _, last in parts] == [False] * (len(parts) - 1) + [True]
        read += [part[counts] for part, counts, _ in parts]
    assert torch.equal(torch.cat(read), rows)
    assert numbers[0] == numbers[1] == numbers[2]


def test_a_part_of_a_batch_is_written_with_the_noise_of_its_rows() -> None:
    actor = tiny_actor()
    ids = torch.tensor([[3, 5], [7, 4], [9, 4]])
    prompts = Prompts(ids, torch.ones_like(ids, dtype=torch.bool))
    part = Prompts(prompts.prompt_ids[1:], prompts.prompt_mask[1:])
    whole = actor.generate(prompts, max_response_tokens=6, seed=3)
    own = actor.generate(part, max_response_tokens=6, seed=3, first_row=1)
    width = own.response_ids.shape[1]
    mask = own.response_mask
    assert torch.equal(whole.response_mask[1:, :width], mask)
    assert torch.equal(whole.response_ids[1:, :width][mask], own.response_ids[mask])
    other = actor.generate(part, max_response_tokens=6, seed=3)
    assert not torch.equal(other.response_mask, mask) or not torch.equal(
        other.response_ids[mask], own.response_ids[mask]
    )


def test_the_device_is_the_launchers_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    second = Processes(1, 2, torch.device("cuda:1"))
    monkeypatch.setattr("minirlhf.backbone.here", lambda: second)
    for name in (None, "cuda", "cuda:1"):
        assert pick_device(name) == torch.device("cuda:1")
    for name in ("cpu", "cuda:0"):
        with pytest.raises(ValueError, match="the launcher gave this process cuda:1"):
            pick_device(name)


def test_another_engine_and_missing_accelerate_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    here.cache_clear()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ValueError, match="DDP or FSDP2"):
        here()
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ValueError, match=r"pip install 'minirlhf\[scale\]'"):
        here()
    here.cache_clear()


def test_a_launch_that_started_one_process_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "MASTER_PORT", "ACCELERATE_USE_CPU", "PMI_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert not processes.lonely_launch()
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert processes.lonely_launch()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not processes.lonely_launch()
