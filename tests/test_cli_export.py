"""`minirlhf export`: what it says when it cannot, and that a failed run leaves no page."""

from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from minirlhf.cli import app
from minirlhf.widgets import math_svg


def notebook(folder: Path, *cells: str) -> Path:
    path = folder / "one.ipynb"
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbformat.write(made, path)
    return path


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line]
    return line


def test_a_missing_file_and_a_file_that_is_no_notebook(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.ipynb")
    for text in ("", "not JSON", "[1]", '{"a": 1}', '"x"'):
        (tmp_path / "bad.ipynb").write_text(text)
        assert "is not a notebook" in refused(tmp_path / "bad.ipynb"), text
    (tmp_path / "bad.ipynb").write_bytes(b"\xff\xfe\x00")
    assert "is not a notebook" in refused(tmp_path / "bad.ipynb")


def test_out_may_not_be_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refused(notebook(tmp_path, "1"), "--out", tmp_path)


@pytest.mark.slow
def test_a_failing_cell_is_named_and_the_old_page_stays(tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("old")
    said = refused(notebook(tmp_path, "1 + 1", "1 / 0"), "--out", out)
    assert "one.ipynb, cell 2 failed: ZeroDivisionError: division by zero" in said
    assert out.read_text() == "old"


@pytest.mark.slow
def test_the_page_goes_to_exports_and_the_notebook_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = notebook(tmp_path, "print(6 * 7)", "")
    before = path.read_bytes()
    result = CliRunner().invoke(app, ["export", str(path)])
    assert result.exit_code == 0, result.output
    assert "cell 1/1" in result.output and "exports/one.html" in result.output
    page = Path("exports/one.html").read_text("utf-8")
    assert "42" in page and path.read_bytes() == before
    for source in ('src="http', "src='http", "@import", "cdnjs", "unpkg"):
        assert source not in page, source


# ------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize("latex", [r"R_t + \gamma V_{t+1}", r"\hat{A}_t", r"\pi(A_t \mid S_t)"])
def test_a_formula_is_drawn_with_its_source_for_screen_readers(latex: str) -> None:
    drawn = math_svg.svg(latex)
    assert drawn.startswith("<svg") and f'aria-label="{latex}"' in drawn
    assert 'd="M' in drawn and "nan" not in drawn


def test_what_mathtext_cannot_set_stays_latex_and_is_no_markup() -> None:
    assert math_svg.svg(r"\cases{<b>}") == r"<code>\cases{&lt;b&gt;}</code>"
    assert "<script>" not in math_svg.svg("<script>") and math_svg.svg("a$b").startswith("<code>")
    assert math_svg.svg(r"x\ $") and math_svg.svg("")


@pytest.mark.parametrize(
    "latex, plain",
    [
        (r"E\Big[x\Big] \bigl(y\bigr)", r"E[x] (y)"),
        (r"a \le b \left( c", r"a \leq b \left( c"),
        (r"\tfrac12 \frac1n \dfrac{a}{b}", r"\frac{1}{2} \frac{1}{n} \frac{a}{b}"),
        (r"\sqrt n \boxed{x}", r"\sqrt{n} {x}"),
        (r"\underbrace{a_{1}}_{\text{why}} + b", r"\underset{\text{why}}{a_{1}} + b"),
        (r"\underbrace{a} b", r"\underset{}{a}b"),
        (r"\underbrace{a", r"\underset{}{}{a"),
    ],
)
def test_formulas_are_said_in_commands_that_mathtext_has(latex, plain):
    assert math_svg.plainer(latex) == plain
