"""Set up a clone and run something in it: `python3 minirlhf/start.py lab`, or `... test`.

    lab     open the course in JupyterLab
    test    run every check; `test PATH... [options]` hands what follows to pytest alone
    NAME    any other command of `minirlhf`, with its options: demo, inspect, doctor, ...

The first run makes the folder .venv with the versions of requirements.lock, and later runs use it.
A torch that the running Python already has is kept. Needs Python 3.11 or later and nothing else.
"""

import sys

if __name__ == "__main__":
    # An older Python must get as far as this line: no newer syntax in this file.
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit("minirlhf needs Python 3.11 or later; this is {}.{}".format(*sys.version_info))
    if not sys.flags.safe_path:
        sys.path.pop(0)  # minirlhf/ itself: its modules must not hide those of the standard library

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = "minirlhf-setup.json"  # in .venv: {} while the set-up runs, then what it was made from
OLDEST_TORCH = (2, 8)  # the lower bound of pyproject.toml

# What `test` runs, in this order, with the Python of .venv.
CHECKS = {
    "style (ruff check)": "ruff check .",
    "layout (ruff format)": "ruff format --check .",
    "types (mypy)": "mypy",
    "unit tests, doctests, coverage (pytest)": "pytest -n 2 --dist worksteal"
    " --cov --cov-report=term",
    "notebooks (nbval)": "pytest -n 2 --dist loadfile --nbval --nbval-current-env"
    " --nbval-cell-timeout=120 --nbval-sanitize-with=tests/sanitize.cfg notebooks",
}


class SetupError(Exception):
    """The set-up cannot go on; the message says why and what to do."""


def main(arguments: list[str]) -> int:
    """Set up if need be, then run what `arguments` say; returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    try:
        set_up()
        if arguments == ["test"]:
            return run_checks()
        if arguments[0] == "test":
            return call([venv_path("python"), "-m", "pytest", *arguments[1:]], ROOT)
        return call([venv_path("minirlhf"), *arguments])
    except (SetupError, OSError) as error:
        print(f"minirlhf: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("minirlhf: interrupted", file=sys.stderr)
        return 130


def set_up() -> None:
    """Make .venv, unless it is there, complete and up to date."""
    wanted = {"lock": hashlib.sha256(LOCK.read_bytes()).hexdigest(), "folder": str(ROOT)}
    torch = installed_torch()
    if is_current(read_stamp(VENV), wanted, torch) and Path(venv_path("python")).exists():
        return
    if Path(sys.prefix).resolve() == VENV:
        raise SetupError(".venv is out of date and in use: run `deactivate`, then this again")
    if VENV.exists() and read_stamp(VENV) is None:
        raise SetupError(f"{VENV} was not made by this command: move it away, then run this again")
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            "this Python cannot make virtual environments; "
            "on Debian or Ubuntu: sudo apt-get install python3-venv"
        )
    keep = torch if sys.prefix == sys.base_prefix else None  # .venv sees no other environment
    build(wanted, keep)


def installed_torch() -> str | None:
    """Version of the torch that this Python would import, if it is new enough; imports nothing."""
    try:
        version = importlib.metadata.version("torch")
        return version if tuple(map(int, version.split(".")[:2])) >= OLDEST_TORCH else None
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def read_stamp(venv: Path) -> dict[str, str | None] | None:
    """What `venv` was made from: {} if its set-up never ended, None if it is not ours."""
    try:
        stamp = json.loads((venv / STAMP).read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return stamp if isinstance(stamp, dict) else {}


def is_current(
    stamp: dict[str, str | None] | None, wanted: dict[str, str], torch: str | None
) -> bool:
    """Whether an environment with this stamp is complete, up to date and still has its torch."""
    if not stamp or {key: stamp.get(key) for key in wanted} != wanted:
        return False
    return stamp.get("kept_torch") is None or torch is not None


def build(wanted: dict[str, str], keep: str | None) -> None:
    """Make .venv anew from the lock file; `keep` is the version of the torch to keep, if any."""
    start = time.monotonic()
    say(f"setting up {VENV} from {LOCK.name}, once; an earlier one is replaced")
    lines = LOCK.read_text().splitlines()
    if keep:
        say(f"keeping the installed torch {keep}: the new environment sees this Python's packages")
        lines = [line for line in lines if not line.startswith("torch==")]
    else:
        say("0.5 GB to download, 2 GB on disk; with a CUDA torch (pip on Linux) 3 GB, 6 GB")
    old = ROOT / ".venv-old"  # moved first, so that an interrupted deletion is seen as one
    if old.exists():
        shutil.rmtree(old)
    if VENV.exists():
        VENV.rename(old)
        shutil.rmtree(old)
    VENV.mkdir()
    (VENV / STAMP).write_text("{}")
    (VENV / LOCK.name).write_text("\n".join(lines) + "\n")
    pip = [venv_path("python"), "-m", "pip", "--disable-pip-version-check", "install"]
    for command in (
        [sys.executable, "-m", "venv", *(["--system-site-packages"] if keep else []), str(VENV)],
        # Compiling every module would double the time; Python compiles what it uses, once.
        [*pip, "--no-compile", "-r", str(VENV / LOCK.name)],
        [*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)],
    ):
        if call(command) != 0:
            python = "{}.{}.{}".format(*sys.version_info)
            raise SetupError(f"the set-up failed, see above (Python {python}); run this again")
    (VENV / STAMP).write_text(json.dumps({**wanted, "kept_torch": keep}))
    size = sum(file.lstat().st_size for file in VENV.rglob("*"))
    say(f"set up in {time.monotonic() - start:.0f} s, {size / 1e9:.1f} GB in {VENV}")


def run_checks() -> int:
    """Run `CHECKS` up to the first that fails; returns its exit code, or 0."""
    start = time.monotonic()
    for title, command in CHECKS.items():
        say(f"{title}: {command}")
        before = time.monotonic()
        code = call([venv_path("python"), "-m", *command.split()], ROOT)
        say(f"{'FAILED' if code else 'passed'}: {title}, {time.monotonic() - before:.0f} s")
        if code:
            return code
    say(f"all {len(CHECKS)} checks passed, {time.monotonic() - start:.0f} s")
    return 0


def call(command: list[str], folder: Path | None = None) -> int:
    """Run a command with .venv active; Ctrl-C is the command's to handle. Returns its exit code."""
    env = {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONUTF8": "1", **os.environ}  # PASSIVE: see threads.py
    programs = os.path.dirname(venv_path("python"))
    env.update(VIRTUAL_ENV=str(VENV), PATH=programs + os.pathsep + env.get("PATH", ""))
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # .venv comes uncompiled: each import would compile
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    try:
        with subprocess.Popen(command, cwd=folder, env=env) as child:
            signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
            code = child.wait()
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if interrupts and code:
        raise KeyboardInterrupt
    return code if code >= 0 else 128 - code  # killed by signal n: 128 + n, as a shell says it


def venv_path(program: str) -> str:
    """Where .venv has a program."""
    return str(VENV / "Scripts" / f"{program}.exe" if os.name == "nt" else VENV / "bin" / program)


def say(text: str) -> None:
    """Print a line of our own among the output of others."""
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
