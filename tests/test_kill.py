"""A run that is killed with SIGKILL, at whatever moment, ends like the run that never was."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_trainers import tree

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
TESTS = Path(__file__).parent


@pytest.fixture(scope="module", params=["", pytest.param("--long", marks=pytest.mark.long)])
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, dict[str, int]]]:
    folder = tmp_path_factory.mktemp("killed")
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    quiet = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, str(TESTS / "kill_runs.py"), str(folder), request.param],
        env=os.environ | quiet,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_killed_at_random_moments(runs: tuple[Path, dict[str, dict[str, int]]]) -> None:
    folder, report = runs
    random_runs = [name for name in report if name != "calls"]
    assert sum(report[name]["kills"] for name in random_runs) >= 20
    assert sum(report[name]["while_saving"] for name in random_runs) >= 1
    for name in random_runs:
        assert tree(folder / name / "killed") == tree(folder / name / "whole"), name


@pytest.mark.slow
def test_killed_just_before_anything_changes_on_the_disk(
    runs: tuple[Path, dict[str, dict[str, int]]],
) -> None:
    folder, report = runs
    killed = sorted((folder / "calls").glob("killed-*"))
    assert len(killed) > report["calls"] > 10
    whole = tree(folder / "calls" / "whole")
    for run in killed:
        assert tree(run) == whole, run.name
