"""`minirlhf bench` reports what it measured.

No test here looks at a clock: how fast this machine is, is for the command to say.
"""

import dataclasses
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from minirlhf.bench import machine
from minirlhf.bench import measure as measuring
from minirlhf.bench.compare import PHASES
from minirlhf.bench.measure import measure
from minirlhf.bench.repaint import repaint
from minirlhf.cli.bench import bench
from minirlhf.config import PPOConfig

SIZES = ["--runs", "1", "--batch-size", "4", "--response-tokens", "3", "--ppo-epochs", "1"]
SMALL = PPOConfig(batch_size=4, minibatch_size=4, max_response_tokens=5, ppo_epochs=1)


@pytest.fixture(scope="module")
def app():
    app = typer.Typer()
    app.command()(bench)
    return app


@pytest.fixture
def no_playwright(monkeypatch):
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)


def test_the_command_prints_a_table_and_writes_every_number(app, no_playwright, tmp_path):
    file = tmp_path / "bench.json"
    run = CliRunner().invoke(app, [*SIZES, "--device", "cpu", "--json", str(file)])
    assert run.exit_code == 0, run.output
    assert all(word in run.output for word in ("generate", "score", "train", "tokens/s", "threads"))
    result = json.loads(file.read_text())
    assert result["ratio_to_floor"] == pytest.approx(
        result["seconds"]["total"] / result["floor_seconds"]["total"]
    )
    for name in ("seconds", "floor_seconds"):
        parts = [result[name][phase] for phase in PHASES[:-1]]
        assert min(parts) >= 0.0
        assert sum(parts) == pytest.approx(result[name]["total"], abs=2e-3)
    assert result["tokens_per_second"] == pytest.approx(4 * 3 / result["seconds"]["total"])
    assert len(result["runs_seconds"]) == len(result["floor_runs_seconds"]) == result["runs"] == 1
    assert result["tokens_equal"] == 1.0
    assert result["batch_size"] == result["minibatch_size"] == 4
    assert result["threads"] == torch.get_num_threads()
    assert result["machine"] and result["torch"] == torch.__version__
    assert result["peak_memory_mib"] is None or result["peak_memory_mib"] > 50
    missing = "Playwright is not installed (pip install playwright)"
    assert f"browser       not measured: {missing}\n" in run.output  # one line, and it went on
    assert result["repaint"] == {"left_out": missing}


def test_without_a_chromium_or_the_widgets_the_repaint_is_left_out(monkeypatch, tmp_path):
    pytest.importorskip("playwright")

    def found() -> str:
        with ThreadPoolExecutor(1) as thread:  # Playwright wants a thread without another one
            (said,) = thread.submit(repaint).result().items()
        assert said[0] == "left_out" and "\n" not in said[1]
        return said[1]

    monkeypatch.setenv("CHROMIUM", str(tmp_path / "nowhere"))
    assert found().startswith(f"{tmp_path / 'nowhere'} does not start: ")
    monkeypatch.delenv("CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    assert found().startswith("no Chromium here: install it")
    monkeypatch.setitem(sys.modules, "minirlhf.widgets.token_microscope", None)
    assert "pip install 'minirlhf[course]'" in found()


def test_bfloat16_runs_and_says_so():
    config = dataclasses.replace(SMALL, precision="bfloat16")
    result = measure(config, runs=1, device="cpu")
    assert result["precision"] == "bfloat16"
    assert result["tokens_equal"] > 0.9  # but for near-ties


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"runs": 0}, "runs must be"),
        ({"prompt_tokens": 0}, "prompt_tokens must be"),
        ({"prompt_tokens": 60}, "does not fit into the model's context of 64"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        measure(SMALL, **{"runs": 1, "device": "cpu"} | sizes)


def test_a_peer_is_timed_on_the_same_work(app, tmp_path, monkeypatch):
    pytest.importorskip("trl")
    # test_peak.py starts such processes
    monkeypatch.setattr(measuring, "peak_alone", lambda *_: {"peak": 2.0, "before": None})
    file = tmp_path / "bench.json"
    options = ["--peer", "trl", "--device", "cpu", "--json", str(file)]
    run = CliRunner().invoke(app, [*SIZES, *options])
    assert run.exit_code == 0, run.output
    assert all(word in run.output for word in ("ours / trl", "TRL 1.", "of the matrix rate"))
    result = json.loads(file.read_text())
    trl = result["trl_seconds"]
    assert result["ratio_to_trl"] == pytest.approx(result["seconds"]["total"] / trl["total"])
    assert sum(trl[phase] for phase in PHASES[:-1]) == pytest.approx(trl["total"], abs=2e-3)
    assert set(result["of_limits"]) == {"ours", "floor", "trl"} == {*result["memory_alone_mib"]}
    for used in result["of_limits"].values():
        assert all(share > 0.0 for share in used.values())
    assert "repaint" not in result  # a slider has nothing to do with it


def test_a_peer_that_is_not_there_is_refused_before_the_work(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    run = CliRunner().invoke(app, [*SIZES, "--peer", "trl"])
    assert isinstance(run.exception, ValueError) and run.output == ""
    assert "pip install 'minirlhf[peer]'" in str(run.exception)


def test_an_unwritable_result_is_refused_before_the_work(app, tmp_path):
    run = CliRunner().invoke(app, [*SIZES, "--json", str(tmp_path / "no" / "bench.json")])
    assert isinstance(run.exception, ValueError)
    assert "its folder does not exist" in str(run.exception)


def test_the_machine_is_described_where_the_system_tells_nothing(monkeypatch):
    monkeypatch.setattr(machine, "Path", lambda _: Path("/nowhere"))
    assert machine.processor()
    monkeypatch.delattr("os.getloadavg", raising=False)
    assert machine.load() is None
