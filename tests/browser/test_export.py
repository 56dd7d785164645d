"""An exported page in the browser, from the disk and offline: it asks for nothing and is alive."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect

from minirlhf.widgets.export import export_notebook

pytestmark = pytest.mark.slow  # runs a notebook in a kernel

PROSE = r"""# Twice <b>beta</b>

Inline $R_t + \gamma V_{t+1}$, and on its own line

$$\hat{A}_t = \sum_{l} (\gamma\lambda)^l \delta_{t+l}$$

Unknown to mathtext: $\nosuchcommand{x}$.

![four models](../pictures/four.png)

![from the net](https://example.org/picture.png)
"""
WIDGET = '''
import traitlets
from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import Picture

class Twice(LiveWidget):
    """Two times beta, worked out in the browser."""
    prefix = "twice"
    beta = traitlets.Float(0.5).tag(sync=True)
    _esm = script() + """
    export default { render({ model, el }) {
      const twice = h("output", { class: "twice" });
      const show = (x) => { twice.textContent = number(2 * x); };
      const s = slider({ name: "beta", label: "β", min: 0, max: 1, step: 0.125,
        value: model.get("beta"), apply: show, settle: (x) => write(model, "beta", x) });
      el.append(h("div", { class: "mr" }, s.element, twice));
      show(model.get("beta"));
      return follow(model, "beta", show);
    } };
    """
    _css = style()

    def picture(self):
        return Picture(2, 1, f"Twice <{self.beta}> is </script><b>{2 * self.beta}</b>")
'''
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook with formulas, pictures, a widget of ours and one that needs a kernel."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "notebooks").mkdir()
    (folder / "pictures").mkdir()
    shutil.copy(REPOSITORY / "assets/four_models.png", folder / "pictures/four.png")
    new = nbformat.v4
    cells = [
        new.new_markdown_cell(PROSE),
        new.new_code_cell(f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})"),
        new.new_code_cell(WIDGET),
        new.new_code_cell("shown = Twice()\nshown.beta = 0.25\nshown"),
        new.new_code_cell("import ipywidgets\nipywidgets.IntSlider(3)"),
        new.new_code_cell("print('<script>alert(1)</script>')"),
    ]
    nbformat.write(new.new_notebook(cells=cells), folder / "notebooks/twice.ipynb")
    for dark in (False, True):
        out = folder / f"{'dark' if dark else 'light'}.html"
        export_notebook(folder / "notebooks/twice.ipynb", out, dark=dark)
    return folder


@pytest.fixture
def heard() -> list[str]:
    """What the console said and what was asked of a network."""
    return []


@pytest.fixture
def page(chromium: Browser, heard: list[str]) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1100, "height": 800}, offline=True)
    page = context.new_page()
    page.on("console", lambda m: heard.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    page.on(
        "request", lambda r: None if re.match("file:|blob:|data:", r.url) else heard.append(r.url)
    )
    yield page
    context.close()


def opened(page: Page, path: Path) -> Page:
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-widgets=ready]", timeout=30_000)
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_slider_moves_the_number_and_nothing_leaves_the_page(
    page: Page, heard: list[str], folder: Path, theme: str
) -> None:
    opened(page, folder / f"{theme}.html")
    slider, twice = page.get_by_role("slider", name="β"), page.locator(".twice")
    expect(twice).to_have_text("0.50")  # as Python left it
    slider.press("ArrowRight")
    expect(twice).to_have_text("0.75")
    slider.fill("1")
    expect(twice).to_have_text("2.00")
    background = page.locator(".mr").evaluate("(e) => getComputedStyle(e).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (theme == "light"), background
    assert heard == []


def test_formulas_are_drawn_and_unknown_ones_stay_readable(page: Page, folder: Path) -> None:
    opened(page, folder / "light.html")
    drawn = page.locator(".jp-MarkdownCell svg[role=img]")
    assert drawn.count() == 2
    assert drawn.first.get_attribute("aria-label") == r"R_t + \gamma V_{t+1}"
    height = drawn.first.bounding_box()["height"]
    assert 8 < height < 30  # as high as the text around
    expect(page.locator(".jp-MarkdownCell code")).to_have_text(r"\nosuchcommand{x}")


def test_pictures_are_in_the_page_and_text_is_text(page: Page, folder: Path) -> None:
    opened(page, folder / "light.html")
    width = page.get_by_alt_text("four models").evaluate("(image) => image.naturalWidth")
    assert width > 500
    expect(page.locator("pre", has_text="<script>alert(1)</script>")).to_have_count(2)  # code, out
    expect(page.get_by_role("link", name="from the net")).to_have_count(1)
    expect(page.get_by_text("IntSlider(value=3)")).to_have_count(1)  # no kernel, so in words
    assert page.title() == "Twice <b>beta</b>"


def test_without_javascript_the_picture_stands_there(chromium: Browser, folder: Path) -> None:
    context = chromium.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((folder / "light.html").as_uri())
    picture = page.locator("noscript img")
    assert picture.get_attribute("alt") == "Twice <0.25> is </script><b>0.5</b>"
    assert picture.is_visible()
    context.close()
