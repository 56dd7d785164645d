"""The wheel stands on its own: installed in a fresh environment, `demo` and `lab` work."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that holds the wheel; what it needs is lent to it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=False)
    scheme = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    site = Path(sysconfig.get_path("purelib", "venv", vars=scheme))
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    # a path line lends torch and the rest, but not this clone: nested .pth files are not read
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return Path(sysconfig.get_path("scripts", "venv", vars=scheme)) / "python"


def run(python: Path, folder: Path, *arguments: str) -> str:
    command = [str(python), "-m", "minirlhf", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_demo_finds_the_shipped_checkpoints(python: Path, tmp_path: Path) -> None:
    where = "import minirlhf; print(minirlhf.__file__)"
    file = subprocess.run([str(python), "-c", where], cwd=tmp_path, capture_output=True, text=True)
    assert not file.stdout.startswith(str(ROOT)), file
    run(python, tmp_path, "demo", "--iterations", "1", "--json", "result.json")
    assert json.loads((tmp_path / "result.json").read_text())["iterations"] == 1


def test_lab_gives_the_reader_notebooks_of_their_own(python: Path, tmp_path: Path) -> None:
    printed = run(python, tmp_path, "lab", "--folder", "mine", "--no-browser", "--version")
    assert "mine" in printed
    copied = {path.name for path in (tmp_path / "mine").iterdir()}
    assert copied >= {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
