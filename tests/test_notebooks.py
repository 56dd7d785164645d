"""The committed notebooks: executed, frozen, framed as the course frames them, and readable.

nbval runs them; these tests look at the files alone, so they take no time.
"""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
LARGEST = 1_000_000  # bytes
# a path of somebody's machine has no place in a file for everybody
MACHINE_PATH = re.compile(r"/(home|root|tmp|Users|work|mnt|var)/\w|[A-Z]:\\\\?Users|site-packages")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request: Any) -> Path:
    return request.param


@pytest.fixture
def notebook(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def outputs_of(notebook: Any) -> list[Any]:
    return [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]


def prose_of(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_is_a_valid_notebook_with_its_own_ids_for_cells(notebook):
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    generated = [id_ for id_ in ids if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}.*)?", id_)]
    assert not generated, "give each cell an id that says what it is"


def test_every_code_cell_was_run_in_order(notebook):
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_no_cell_failed_and_none_complained(notebook):
    for out in outputs_of(notebook):
        assert out.output_type != "error"
        assert out.get("name") != "stderr", out.text


def test_is_frozen(notebook, path):
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}, cell.id
    for out in outputs_of(notebook):
        assert WIDGET_VIEW not in out.get("data", {})
    assert path.stat().st_size < LARGEST


def test_has_the_frame_of_the_course(notebook):
    prose = prose_of(notebook)
    assert prose.startswith("# ")
    for part in ("**Goal.**", "**Time.**", "You are here", "**Predict.**", "## Recap", "### Quiz"):
        assert part in prose, f"{part!r} is missing"
    assert "## Break it" in prose


def test_has_three_quiz_questions_with_collapsed_answers(notebook):
    quiz = prose_of(notebook).split("### Quiz")[1]
    assert [f"**{n}.**" in quiz for n in (1, 2, 3)] == [True] * 3
    assert quiz.count("<details>") == quiz.count("</details>") >= 3
    # without an empty line after the summary, Markdown and formulas inside are shown raw
    assert not re.search(r"</summary>\n[^\n]", quiz)


def test_every_picture_says_in_words_what_it_shows(notebook):
    for out in outputs_of(notebook):
        data = out.get("data", {})
        if "image/png" in data:
            words = out.metadata.get("image/png", {}).get("alt") or data.get("text/plain", "")
            assert len(words) > 40 and not words.startswith("<"), "a picture without alt text"
    for alt in re.findall(r"!\[(.*?)\]\(", prose_of(notebook)):
        assert alt.strip()
    assert "<img" not in prose_of(notebook)


def test_asserts_what_it_says(notebook):
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert len(re.findall(r"^\s*assert ", code, flags=re.MULTILINE)) >= 5


def test_knows_no_machine(notebook):
    for cell in notebook.cells:
        assert not MACHINE_PATH.search(cell.source), cell.id
    for out in outputs_of(notebook):
        text = out.get("text", "") + str(out.get("data", {}).get("text/plain", ""))
        assert not MACHINE_PATH.search(text), text[:200]
