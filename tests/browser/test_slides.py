"""Slides of every notebook: they fit on a screen, the keys turn them, the network is not asked."""

from pathlib import Path

import pytest

from minirlhf.widgets.slides import save_slides

NOTEBOOKS = sorted((Path(__file__).parent.parent.parent / "notebooks").glob("*.ipynb"))
HIDDEN = """(() => {
  const slide = document.querySelector("section.now")
  return slide.scrollHeight - slide.clientHeight
})()"""


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name[:2])
def notebook(request):
    return request.param


@pytest.fixture
def slides(notebook, tmp_path, chromium):
    number = save_slides(notebook, tmp_path / "slides.html")
    page = chromium.new_page(viewport={"width": 1280, "height": 720}, offline=True)
    problems = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda r: problems.append(r.url) if "file:" not in r.url else None)
    page.goto((tmp_path / "slides.html").as_uri())
    yield page, number
    page.close()
    assert not [p for p in problems if not p.startswith("data:")]


def test_every_slide_fits_and_the_keys_turn_them(slides):
    page, number = slides
    assert page.locator("section").count() == number > 15
    for at in range(number):
        assert page.locator("nav span").inner_text() == f"{at + 1} / {number}"
        assert page.locator("section.now").count() == 1
        assert page.evaluate(HIDDEN) <= 0, f"slide {at + 1} is too full"
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Home")
    assert page.locator("nav span").inner_text() == f"1 / {number}"
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert page.locator("nav span").inner_text() == f"{number - 1} / {number}"


def test_notes_are_hidden_until_asked_for_and_hold_no_answer_on_the_slides(slides):
    page, _ = slides
    text = page.locator("section > :not(aside)").all_inner_texts()
    assert "Solution" not in "".join(text) and "Answer." not in "".join(text)
    note = page.locator("section.now aside, section aside").first
    assert not note.is_visible()
    page.keyboard.press("n")
    assert page.evaluate("document.body.classList.contains('with-notes')")
