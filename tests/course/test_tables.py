"""What the course says, whom it helps, and what would turn it red: one table a notebook.

claims/NN.tsv       every statement of fact in the prose, and the cell whose assert proves it
confusions/NN.tsv   what learners asked in public, and the cell that meets it
mutations/NN.json   bugs put into the library; each must make the notebook fail
                    (`python tests/course/mutate_notebooks.py` tries them, minutes each)
"""

import csv
import json
from pathlib import Path

import nbformat
import pytest

HERE = Path(__file__).parent
NOTEBOOKS = {p.name[:2]: p for p in sorted((HERE.parent.parent / "notebooks").glob("*.ipynb"))}


@pytest.fixture(params=NOTEBOOKS)
def number(request):
    return request.param


@pytest.fixture
def cells(number):
    return {cell.id: cell for cell in nbformat.read(NOTEBOOKS[number], as_version=4).cells}


def rows(kind, number):
    with (HERE / kind / f"{number}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_all_eleven_notebooks_are_there():
    assert list(NOTEBOOKS) == [f"{n:02}" for n in range(11)]


def test_every_claim_is_said_and_asserted(number, cells):
    table = rows("claims", number)
    assert len(table) >= 10
    for row in table:
        said, proof = cells[row["cell"]], row["asserted in"]
        assert len(row["claim"]) >= 15
        assert row["claim"] in " ".join(said.source.split()), row["claim"]
        if proof != "citation":
            assert cells[proof].cell_type == "code"
            assert "assert " in cells[proof].source, f"{proof} asserts nothing"


def test_every_confusion_is_met_by_a_cell(number, cells):
    for row in rows("confusions", number):
        assert row["confusion"] and row["seen in"]
        for met in row["met by"].split(","):
            assert met.strip() in cells, met


KNOWN_CONFUSIONS = [
    "negative KL",
    "critic versus reward model",
    "reference versus old policy",
    "which index gets the reward",
    "why the GAE loop runs backwards",
    "policy loss near zero",
    "why four models",
]


@pytest.mark.parametrize("confusion", KNOWN_CONFUSIONS)
def test_the_best_known_confusions_are_met_somewhere(confusion):
    words = " ".join(row["confusion"] for n in NOTEBOOKS for row in rows("confusions", n))
    assert confusion.lower() in words.lower()


def test_three_mutations_are_listed(number):
    mutations = json.loads((HERE / "mutations" / f"{number}.json").read_text("utf-8"))
    assert len(mutations) >= 3
    for name, code in mutations.items():
        compile(code, name, "exec")


def test_every_mutation_was_seen_to_turn_its_notebook_red(number):
    """By the maintainer's command; a mutation that was changed since must be tried again."""
    seen = json.loads((HERE / "mutations" / "results.json").read_text("utf-8"))
    mutations = json.loads((HERE / "mutations" / f"{number}.json").read_text("utf-8"))
    for name, code in mutations.items():
        result = seen["notebooks"][number][name]
        assert result["red"] and result["code"] == code, name
