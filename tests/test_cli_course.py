"""`doctor` and `lab`: what is here and what is missing; notebooks that are the reader's own."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from tiny_trainers import tiny_actor
from typer.testing import CliRunner

from minirlhf import RewardModel
from minirlhf.cli import app, doctor, lab, show
from minirlhf.threads import VARIABLE
from minirlhf.worlds.cafe import recipe

# ------------------------------------------------------------------------------ doctor


def test_doctor_finds_everything_fine_or_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "00.ipynb").touch()
    tiny_actor().save(tmp_path / "sft_actor")
    RewardModel.from_actor(tiny_actor()).save(tmp_path / "reward_model")
    monkeypatch.setattr(recipe, "shipped_folder", lambda: tmp_path)
    monkeypatch.setattr(show.console, "_width", 200)
    monkeypatch.setattr("minirlhf.course_files.course_folder", lambda name: tmp_path)
    monkeypatch.setenv(VARIABLE, "PASSIVE")
    fine = CliRunner().invoke(app, ["doctor"])
    assert fine.exit_code == 0
    output = fine.output
    for name in ("torch", "transformers", "jupyterlab", "shipped Actor", "shipped RewardModel"):
        assert re.search(rf"│ {name} +│ [^ ].*│ fine", output), name
    assert torch.__version__ in output and "needed" not in output

    def without(missing: str) -> Result:
        found = doctor.installed
        with monkeypatch.context() as patch:
            patch.setattr(doctor, "installed", lambda n: None if n == missing else found(n))
            return CliRunner().invoke(app, ["doctor"])

    extra = without("jupyterlab")
    assert extra.exit_code == 0 and "pip install 'minirlhf[course]'" in extra.output
    needed = without("safetensors")
    assert needed.exit_code == 1 and "needed: install minirlhf again" in needed.output
    monkeypatch.setattr(recipe, "shipped_folder", lambda: tmp_path / "none")
    broken = CliRunner().invoke(app, ["doctor"])
    assert broken.exit_code == 1 and "does not exist" in broken.output


# --------------------------------------------------------------------------------- lab


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """What would have been started; JupyterLab ends with exit code 7."""
    calls: list[tuple[list[str], dict[str, str]]] = []

    def start(command: list[str], *, env: dict[str, str], check: bool) -> object:
        calls.append((command, env))
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr(lab.subprocess, "run", start)
    return calls


def test_lab_opens_the_clones_notebooks_where_they_are(
    started: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "course_folder", lambda name: tmp_path / name)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["lab", "--no-browser", "--port", "9999", "--ServerApp.x=1"])
    assert result.exit_code == 7  # JupyterLab's own
    ((command, env),) = started
    notebook = str(tmp_path / "notebooks" / "00_the_whole_movie.ipynb")
    assert command[:4] == [sys.executable, "-m", "jupyterlab", notebook]
    assert sorted(command[4:]) == sorted(["--port", "9999", "--ServerApp.x=1", "--no-browser"])
    assert env[VARIABLE] == "PASSIVE" and not list(tmp_path.iterdir())
    monkeypatch.setenv(VARIABLE, "ACTIVE")
    CliRunner().invoke(app, ["lab"])
    assert started[1][1][VARIABLE] == "ACTIVE" and "--no-browser" not in started[1][0]


def test_lab_copies_the_wheels_notebooks_once_and_never_over_answers(
    started: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, mine = tmp_path / "package" / "notebooks", tmp_path / "mine"
    shipped.mkdir(parents=True)
    monkeypatch.setattr(lab, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(lab, "course_folder", lambda name: shipped)
    (shipped / "00.ipynb").write_text("as shipped")
    (shipped / "folder").mkdir()
    assert CliRunner().invoke(app, ["lab", "--folder", str(mine)]).exit_code == 7
    assert started[0][0][3] == str(mine / "00_the_whole_movie.ipynb")
    assert (mine / "00.ipynb").read_text() == "as shipped"
    (mine / "00.ipynb").write_text("my answers")
    (shipped / "00.ipynb").write_text("a newer version")
    (shipped / "01.ipynb").write_text("another")
    assert CliRunner().invoke(app, ["lab", "--folder", str(mine)]).exit_code == 7
    assert (mine / "00.ipynb").read_text() == "my answers"
    assert (mine / "01.ipynb").read_text() == "another"
    assert (shipped / "00.ipynb").read_text() == "a newer version"


def test_lab_without_jupyterlab_says_how_to_get_it(
    started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["lab"])
    assert result.exit_code == 2 and "pip install 'minirlhf[course]'" in result.stderr
    assert not started
