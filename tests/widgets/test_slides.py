"""What of a notebook goes on its slides, what into the notes, and what nowhere."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from typer.testing import CliRunner

from minirlhf.cli import app
from minirlhf.exercises import EXERCISES
from minirlhf.exercises.cells import cells_of
from minirlhf.widgets.slides import (
    CAPTION,
    LINES,
    Block,
    cut,
    place,
    save_slides,
    slides_of,
    without_empty_ones,
)

PNG = (  # one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "YPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
PROSE = """## A heading

Running prose, which only the speaker sees.

> *A question?*

$$R_t = -\\beta\\,kl_t$$"""


def printed(text):
    return new_output("stream", name="stdout", text=text)


@pytest.fixture
def deal(tmp_path):
    def make(*cells):
        return slides_of(new_notebook(cells=list(cells)), tmp_path / "x.ipynb")

    return make


def text_of(slide):
    return "".join(block.body for block in slide.shown)


def test_prose_is_for_the_notes_and_the_rest_is_shown(deal):
    (slide,) = deal(new_markdown_cell(PROSE))
    assert "A heading" in slide.heading
    assert "A question?" in text_of(slide) and "<svg" in text_of(slide)
    assert "Running prose" not in text_of(slide)
    assert [block.body.strip() for block in slide.notes] == [
        "<p>Running prose, which only the speaker sees.</p>"
    ]


def test_code_is_shown_below_an_equation_only_and_if_it_is_short(deal):
    below = deal(new_markdown_cell(PROSE), new_code_cell("reward = -beta * kl"))
    assert "reward = -beta * kl" in text_of(below[-1])
    prose = new_markdown_cell("## Heading\n\nProse.")
    assert "reward" not in text_of(deal(prose, new_code_cell("reward = 1"))[-1])
    long = new_code_cell("\n".join(f"x{n} = {n}" for n in range(20)))
    assert "x19" not in "".join(map(text_of, deal(new_markdown_cell(PROSE), long)))


def test_printed_text_is_text(deal):
    cell = new_code_cell("show()", outputs=[printed("<script>alert(1)</script>\nb\n")])
    (slide,) = deal(cell)
    assert "&lt;script&gt;" in text_of(slide) and "<script>" not in text_of(slide)


def test_what_only_confirms_or_is_long_is_for_the_notes(deal):
    sure = new_code_cell("assert True\nshow()", outputs=[printed("all agree\n")])
    long = new_code_cell("show()", outputs=[printed("line\n" * 40)])
    assert [len(slide.shown) for slide in deal(sure, long)] == [0]


def test_pictures_keep_their_words_and_captions_are_short(deal):
    out = new_output("display_data", {"image/png": PNG, "text/plain": "a 'curve' & more"})
    caption = "*What to see.* One sentence here. " + "Another one that goes on and on. " * 20
    slides = deal(new_code_cell("draw()", outputs=[out]), new_markdown_cell(caption))
    assert "alt='a &#x27;curve&#x27; &amp; more'" in text_of(slides[0])
    assert "One sentence" in text_of(slides[0])
    short, rest = cut(caption)
    assert len(short) <= CAPTION and " ".join([short, rest]) == " ".join(caption.split())
    assert cut("A" * 500) == ("A" * 500, "")


def test_exercises_come_without_hints_and_solutions(deal):
    slides = deal(*cells_of(EXERCISES["response_return"]))
    text = "".join(s.heading + text_of(s) for s in slides)
    assert "Exercise: What a whole response earns" in text and "its score, less" in text
    assert "def response_return" in text and "toll = " not in text and "Hint" not in text


def test_after_an_exercise_the_text_goes_back_to_its_section(deal):
    section = new_markdown_cell("## Section\n\n- first")
    cells = cells_of(EXERCISES["response_return"])
    slides = deal(section, *cells, new_markdown_cell("- second"), new_markdown_cell("- third"))
    headings = ["Exercise" if "Exercise" in s.heading else "Section" for s in slides]
    assert headings == ["Section", "Exercise", "Section"]
    assert "second" in text_of(slides[2]) and "third" in text_of(slides[2])


def test_answers_of_the_quiz_are_notes(deal):
    quiz = "### Quiz\n\n**1.** Why?\n\n<details><summary>Answer</summary>\n\nBecause.\n\n</details>"
    (slide,) = deal(new_markdown_cell(quiz))
    assert "Why?" in text_of(slide) and "Because" not in text_of(slide)
    assert "Because." in slide.notes[-1].body


def test_what_the_quiz_check_prints_is_for_the_notes(deal):
    cell = new_code_cell("print(1)", id="quiz-check", outputs=[printed("1: twelve\n2: four\n")])
    (slide,) = deal(new_markdown_cell("### Quiz\n\n**1.** Why?"), cell)
    assert "twelve" not in text_of(slide) and "twelve" in slide.notes[0].body


def test_a_full_slide_goes_on_under_the_same_heading():
    slides = []
    place(slides, Block("heading", "<h2>H</h2>"))
    for _ in range(3):
        place(slides, Block("shown", "x", LINES // 2))
    assert [(s.heading, len(s.shown)) for s in slides] == [("<h2>H</h2>", 2), ("<h2>H</h2>", 1)]


def test_no_slide_is_empty(deal):
    prose = new_markdown_cell("## Alone\n\nFirst sentence.\n\nAnother paragraph.")
    sure = new_code_cell("assert True", outputs=[printed("all agree\n")])
    after = new_markdown_cell("## Next\n\n- a point")
    dealt = deal(prose, *cells_of(EXERCISES["response_return"]), sure, after)
    assert [bool(s.shown) for s in dealt] == [False, True, False, True]
    kept = without_empty_ones(dealt)
    assert "First sentence." in text_of(kept[0]) and "Another" not in text_of(kept[0])
    assert len(kept[0].notes) == 2  # the speaker still has all of it
    assert [s.heading for s in kept] == [dealt[n].heading for n in (0, 1, 3)]
    assert "all agree" in kept[1].notes[-1].body  # of the slide that went


def test_setup_is_left_out(deal):
    assert deal(new_code_cell("import x", id="setup", outputs=[printed("torch\n")])) == []


def test_the_command(tmp_path):
    notebook = new_notebook(cells=[new_markdown_cell("# Title </title>\n\n**Goal.** G.")])
    nbformat.write(notebook, tmp_path / "n.ipynb")
    out = tmp_path / "new" / "s.html"
    result = CliRunner().invoke(app, ["slides", str(tmp_path / "n.ipynb"), "--out", str(out)])
    assert result.exit_code == 0 and "1 slides" in result.output
    assert "<title>Title &lt;/title&gt;</title>" in out.read_text("utf-8")
    (tmp_path / "bad.ipynb").write_text("no")
    with pytest.raises(ValueError, match="not a notebook"):
        save_slides(tmp_path / "bad.ipynb", out)
    refused = CliRunner().invoke(app, ["slides", str(tmp_path / "n.ipynb"), "--out", str(tmp_path)])
    assert refused.exit_code == 2 and "is a folder" in refused.output
