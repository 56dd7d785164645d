"""The README tells the truth: its quickstart runs, its tree is the tree, its links work."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(heading: str) -> str:
    """The first fenced block after a heading."""
    found = re.search(rf"## {heading}\n.*?```\w*\n(.*?)```", README, flags=re.DOTALL)
    assert found, heading
    return found[1]


def test_the_quickstart_runs_and_is_short(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = block("Twenty lines")
    assert len(code.splitlines()) <= 24
    exec(code.replace("iterations=10", "iterations=1"), {})
    printed = capsys.readouterr().out
    assert "Reference" in printed and "frozen" in printed and "gold" in printed
    assert (tmp_path / "runs/my-actor/model.safetensors").is_file()


def test_the_tree_names_every_module_and_no_other():
    tree = set(re.findall(r"^\s*(\w+\.py)\b", block("What is where"), flags=re.MULTILINE))
    on_disk = {path.name for path in (ROOT / "minirlhf").glob("*.py")} - {"__init__.py"}
    assert tree == on_disk


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_to_files(link):
    assert (ROOT / link).is_file(), link


def test_the_two_commands_are_those_of_the_start_script():
    commands = [line for line in block("Two commands").splitlines() if line]
    assert [c.split("#")[0].split() for c in commands] == [
        ["python3", "minirlhf/start.py", "lab"],
        ["python3", "minirlhf/start.py", "test"],
    ]


def test_every_command_of_the_readme_exists():
    from minirlhf.cli import app

    known = {c.name or c.callback.__name__ for c in app.registered_commands}
    named = set(re.findall(r"minirlhf ([a-z]+)", README)) - {"py"}
    assert named <= known, named - known


def test_no_file_of_the_project_names_a_registry_or_a_machine():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    bad = re.compile(r"pypi\.org|files\.pythonhosted|registry\.npmjs|/home/\w+/|/opt/wheels")
    for name in files.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yml", ".yaml", ".lock", ".ipynb", ".json"}:
            if path.is_file() and path != Path(__file__):
                found = bad.search(path.read_text(encoding="utf-8"))
                assert not found, (name, found)
