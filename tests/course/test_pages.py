"""The pages around the notebooks: links that lead somewhere, names that exist, an index in step."""

import re
from pathlib import Path

import nbformat
import pytest
from course import index

import minirlhf
from minirlhf.batch import Rollout
from minirlhf.widgets.math_svg import svg

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "notebooks").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]
LINK = re.compile(r"(?<!\w)!?\[[^\]]*\]\(([^)\s]+)\)")


def prose(path):
    """What a page says, without its code: `x[0](y)` is no link."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(path):
    """The anchors of a page's headings, as file viewers make them."""
    headings = re.findall(r"^#+ (.+)$", prose_with_code(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def prose_with_code(path):
    if path.suffix != ".ipynb":
        return path.read_text("utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    for target in LINK.findall(prose(path)):
        if re.match(r"https?://|mailto:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_notebook_that_is_named_exists(path):
    last = len(list((ROOT / "notebooks").glob("*.ipynb"))) - 1
    for number in re.findall(r"[Nn]otebooks? (\d\d)\b", prose(path)):
        assert int(number) <= last


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_formula_can_be_drawn(path):
    """Exported pages and slides have no MathJax; what cannot be drawn would be shown as code."""
    for display, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", prose(path), re.DOTALL):
        assert svg(display or inline).startswith("<svg"), display or inline


def test_the_names_in_the_glossary_exist():
    page = (ROOT / "notebooks" / "GLOSSARY.md").read_text("utf-8")
    known = set(dir(minirlhf)) | set(Rollout.__dataclass_fields__)
    known |= {"values", "log_probs", "kl_coef", "gamma", "lam", "clip_range", "gold", "prompt"}
    known |= {"chosen", "rejected", "exact_truth", "trainable=False", "optimal_policy"}
    known |= set(minirlhf.METRICS) | set(minirlhf.PPOConfig.__dataclass_fields__)
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    names = {n for row in rows for n in re.findall(r"`([^`]+)`", row[3])} if rows else set()
    assert len(names) > 30
    assert not {n.partition("[")[0] for n in names} - known


def test_the_index_of_confusions_is_in_step():
    """`python tests/course/index.py` renews it."""
    page = index.PAGE.read_text("utf-8")
    assert index.renewed(page) == page
