"""The set-up script, without network: what it decides, what it says, what it leaves behind."""

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from minirlhf import start

REPOSITORY = Path(start.__file__).parent.parent


class FakeClone:
    """A clone in which `start.call` runs nothing, but makes the environment's Python."""

    def __init__(self, folder: Path) -> None:
        self.venv = folder / ".venv"
        self.lock = folder / "requirements.lock"
        self.lock.write_text("numpy==2.4.6\ntorch==2.13.0\n")
        self.commands: list[list[str]] = []
        self.exit_codes: list[int] = []

    def call(self, command: list[str], folder: Path | None = None) -> int:
        self.commands.append(command)
        if command[1:3] == ["-m", "venv"]:
            python = Path(start.venv_path("python"))
            python.parent.mkdir(parents=True)
            python.touch()
        return self.exit_codes.pop(0) if self.exit_codes else 0


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeClone:
    fake = FakeClone(tmp_path)
    monkeypatch.setattr(start, "ROOT", tmp_path)
    monkeypatch.setattr(start, "VENV", fake.venv)
    monkeypatch.setattr(start, "LOCK", fake.lock)
    monkeypatch.setattr(start, "call", fake.call)
    monkeypatch.setattr(start, "installed_torch", lambda: None)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    return fake


# ------------------------------------------------------------ Python too old


def test_the_file_parses_on_python_3_6() -> None:
    ast.parse(Path(start.__file__).read_text(encoding="utf-8"), feature_version=(3, 6))


def test_an_old_python_gets_one_clear_line() -> None:
    pretend = (
        "import runpy, sys; sys.version_info = (3, 8, 18, 'final', 0);"
        "runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-c", pretend, start.__file__], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert run.stderr == "minirlhf needs Python 3.11 or later; this is 3.8\n"


# ----------------------------------------------------------- what is decided


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("2.8.0", "2.8.0"),
        ("2.13.0+cu130", "2.13.0+cu130"),
        ("3.0.0a1", "3.0.0a1"),
        ("2.7.1", None),
        ("unknown", None),
    ],
)
def test_a_torch_from_2_8_on_is_kept(
    monkeypatch: pytest.MonkeyPatch, version: str, found: str | None
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    assert start.installed_torch() == found


def test_no_torch_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert start.installed_torch() is None


def test_the_oldest_torch_is_the_one_of_pyproject() -> None:
    bound = "torch>={}.{}".format(*start.OLDEST_TORCH)
    assert bound in project()["project"]["dependencies"]


def test_stamps(tmp_path: Path) -> None:
    assert start.read_stamp(tmp_path) is None
    for text, stamp in {
        '{"lock": "a"}': {"lock": "a"},
        "{}": {},
        "": {},
        '{"lo': {},
        "[]": {},
    }.items():
        (tmp_path / start.STAMP).write_text(text)
        assert start.read_stamp(tmp_path) == stamp


def test_what_makes_an_environment_current() -> None:
    wanted = {"lock": "a", "folder": "/clone"}
    assert start.is_current({**wanted, "kept_torch": None}, wanted, None)
    assert start.is_current({**wanted, "kept_torch": None}, wanted, "2.9.0")
    assert start.is_current({**wanted, "kept_torch": "2.9.0"}, wanted, "2.10.0")
    assert not start.is_current({**wanted, "kept_torch": "2.9.0"}, wanted, None)
    assert not start.is_current({**wanted, "lock": "b", "kept_torch": None}, wanted, None)
    assert not start.is_current({**wanted, "folder": "/elsewhere"}, wanted, None)
    assert not start.is_current({}, wanted, None)
    assert not start.is_current(None, wanted, None)


# ---------------------------------------------------------------- the set-up


def test_set_up_is_done_once(clone: FakeClone) -> None:
    start.set_up()
    assert [command[1:3] for command in clone.commands] == [
        ["-m", "venv"],
        ["-m", "pip"],
        ["-m", "pip"],
    ]
    assert "--system-site-packages" not in clone.commands[0]
    assert "torch==2.13.0" in (clone.venv / "requirements.lock").read_text()
    start.set_up()
    assert len(clone.commands) == 3


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_interrupted_set_up_starts_anew(clone: FakeClone, failing: int) -> None:
    clone.exit_codes = [0] * failing + [1]
    with pytest.raises(start.SetupError, match="run this again"):
        start.set_up()
    leftover = clone.venv / "leftover"
    leftover.touch()
    clone.commands.clear()
    start.set_up()
    assert len(clone.commands) == 3
    assert not leftover.exists()


def test_an_interrupted_deletion_starts_anew(clone: FakeClone) -> None:
    half_deleted = clone.venv.with_name(".venv-old") / "lib"
    half_deleted.mkdir(parents=True)
    clone.venv.mkdir()
    (clone.venv / start.STAMP).write_text("{}")
    start.set_up()
    assert not half_deleted.parent.exists()
    assert start.read_stamp(clone.venv)


def test_a_changed_lock_or_a_lost_python_starts_anew(clone: FakeClone) -> None:
    start.set_up()
    clone.lock.write_text("numpy==2.4.7\n")
    start.set_up()
    assert len(clone.commands) == 6
    Path(start.venv_path("python")).unlink()
    start.set_up()
    assert len(clone.commands) == 9


def test_an_installed_torch_is_kept_and_said_so(
    clone: FakeClone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start, "installed_torch", lambda: "2.9.1")
    start.set_up()
    assert "--system-site-packages" in clone.commands[0]
    assert (clone.venv / "requirements.lock").read_text() == "numpy==2.4.6\n"
    assert json.loads((clone.venv / start.STAMP).read_text())["kept_torch"] == "2.9.1"
    assert "keeping the installed torch 2.9.1" in capsys.readouterr().out


def test_the_torch_of_another_environment_cannot_be_kept(
    clone: FakeClone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "installed_torch", lambda: "2.9.1")
    monkeypatch.setattr(sys, "prefix", "/another/venv")
    start.set_up()
    assert "--system-site-packages" not in clone.commands[0]


def test_a_python_without_ensurepip_gets_advice_and_no_folder(
    clone: FakeClone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "ensurepip" else find_spec(name),
    )
    assert start.main(["lab"]) == 1
    assert "sudo apt-get install python3-venv" in capsys.readouterr().err
    assert not clone.venv.exists()


def test_a_venv_of_the_users_own_is_left_alone(
    clone: FakeClone, capsys: pytest.CaptureFixture[str]
) -> None:
    clone.venv.mkdir()
    (clone.venv / "theirs").touch()
    assert start.main(["lab"]) == 1
    assert "move it away" in capsys.readouterr().err
    assert (clone.venv / "theirs").exists()
    assert not clone.commands


def test_an_environment_in_use_is_not_replaced(
    clone: FakeClone, monkeypatch: pytest.MonkeyPatch
) -> None:
    start.set_up()
    clone.lock.write_text("numpy==2.4.7\n")
    monkeypatch.setattr(sys, "prefix", str(clone.venv.resolve()))
    with pytest.raises(start.SetupError, match="deactivate"):
        start.set_up()


# ------------------------------------------------------------- what is called


def test_commands_and_their_arguments_are_handed_on(clone: FakeClone) -> None:
    start.set_up()
    clone.commands.clear()
    clone.exit_codes = [7, 5]
    assert start.main(["demo", "--seed", "1"]) == 7
    assert start.main(["test", "tests/test_kl.py", "-x"]) == 5
    assert clone.commands[0] == [start.venv_path("minirlhf"), "demo", "--seed", "1"]
    assert clone.commands[1][1:] == ["-m", "pytest", "tests/test_kl.py", "-x"]


def test_the_checks_stop_at_the_first_failure(
    clone: FakeClone, capsys: pytest.CaptureFixture[str]
) -> None:
    start.set_up()
    clone.commands.clear()
    assert start.main(["test"]) == 0
    assert len(clone.commands) == len(start.CHECKS)
    clone.commands.clear()
    clone.exit_codes = [0, 3]
    assert start.main(["test"]) == 3
    assert len(clone.commands) == 2
    assert "FAILED: layout (ruff format)" in capsys.readouterr().out


def test_help_and_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert start.main(["--help"]) == 0
    assert start.main([]) == 2
    assert "start.py lab" in capsys.readouterr().out


def test_call_hands_back_the_exit_code_and_sets_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = "import os, sys; sys.exit(os.environ['OMP_WAIT_POLICY'] == sys.argv[1])"
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert start.call([sys.executable, "-c", script, "PASSIVE"]) == 1
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert start.call([sys.executable, "-c", script, "ACTIVE"]) == 1
    assert start.call([sys.executable, "-c", script, "PASSIVE"]) == 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_is_the_commands_to_handle() -> None:
    raise_sigint = "import os, signal; os.kill(os.getppid(), signal.SIGINT); "
    assert start.call([sys.executable, "-c", raise_sigint + "raise SystemExit(0)"]) == 0
    with pytest.raises(KeyboardInterrupt):
        start.call([sys.executable, "-c", raise_sigint + "raise SystemExit(1)"])
    assert start.call([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 128 + 9


# -------------------------------------------------------------- the lock file


def project() -> dict[str, dict[str, object]]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_lock_file_holds_plain_exact_versions() -> None:
    for line in (REPOSITORY / "requirements.lock").read_text().splitlines():
        assert re.fullmatch(r"#.*|[a-z0-9.-]+==[0-9][0-9a-z.]*( ; .+)?", line), line


def test_the_lock_file_meets_every_declared_dependency() -> None:
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    pins = dict(line.split(" ;")[0].split("==") for line in lines if not line.startswith("#"))
    tables = project()
    declared = [*tables["build-system"]["requires"], *tables["project"]["dependencies"]]
    for extra in tables["project"]["optional-dependencies"].values():
        declared += extra
    for requirement in map(Requirement, declared):
        if requirement.name != "minirlhf":
            assert requirement.specifier.contains(pins[requirement.name]), str(requirement)
