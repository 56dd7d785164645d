"""Every notebook runs again with all solutions filled in: each check says ✓, no cell fails."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from minirlhf.exercises import EXERCISES
from minirlhf.exercises.cells import PREFIX, exercise_of, refresh

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name[:2])
def path(request):
    return request.param


def test_the_committed_cells_are_those_of_the_exercises(path):
    """`python tests/freeze_notebooks.py` writes them; nobody edits them by hand."""
    notebook = nbformat.read(path, as_version=4)
    before = [cell.source for cell in notebook.cells]
    names = refresh(notebook)
    assert [cell.source for cell in notebook.cells] == before
    here = {one.name for one in EXERCISES.values() if one.notebook == path.name[:2]}
    assert len(names) == len(set(names)) and set(names) == here
    for cell in notebook.cells:
        assert not cell.id.startswith(PREFIX) or exercise_of(cell), f"{cell.id}: no such exercise"


def test_no_exercise_takes_the_name_of_something_imported(path):
    """Its stub would stand in its place in every cell below."""
    notebook = nbformat.read(path, as_version=4)
    imported, answers = set(), set()
    for cell in notebook.cells:
        found = exercise_of(cell)
        if found and found[1] == "":
            answers.add(found[0].name)
        elif cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    imported |= {alias.asname or alias.name for alias in node.names}
    assert not imported & answers


@pytest.mark.slow
def test_all_checks_are_green_with_the_solutions(path, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIRLHF_PROGRESS", str(tmp_path / "progress.json"))
    notebook = nbformat.read(path, as_version=4)
    refresh(notebook, solved=True)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute()
    for cell in notebook.cells:
        found = exercise_of(cell)
        if found and found[1] == "":
            said = "".join(out.get("text", "") for out in cell.outputs)
            assert f"✓ {found[0].name}: right" in said, said
