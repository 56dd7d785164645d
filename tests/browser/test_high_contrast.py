"""High contrast: with forced colours, and with more contrast, all that carries meaning is visible.

Where colours are forced the browser repaints text, borders and backgrounds, drops shadows and
gradients, and leaves the shapes of an SVG alone: a black curve is lost on a black page.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser.example_widgets import examples
from browser.test_in_jupyterlab import EXAMPLES
from playwright.sync_api import Page

from minirlhf.widgets.live import LiveWidget

MODES: dict[str, dict[str, Any]] = {
    "forced, light": {"forced_colors": "active", "color_scheme": "light", "contrast": None},
    "forced, dark": {"forced_colors": "active", "color_scheme": "dark", "contrast": None},
    "more contrast": {"forced_colors": "none", "color_scheme": "light", "contrast": "more"},
}
GRAPHICS = 3.0  # WCAG 2.2, 1.4.11: graphics and controls against what is next to them
# the script that all checks share: colours as seen on the page, and their contrast
TOOLS = """
const root = document.querySelector(".mr");
const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
function rgba(colour) {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].map((x) => x / 255);
}
function light(rgb) {
  const [r, g, b] = rgb.map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(colour, page, opacity = 1) {
  if (!colour || colour === "none") return 1;
  const [r, g, b, a] = rgba(colour), under = rgba(page), share = a * opacity;
  const seen = [r, g, b].map((x, i) => x * share + under[i] * (1 - share));
  const [low, high] = [light(seen), light(under.slice(0, 3))].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}
const page = getComputedStyle(root).backgroundColor;
function opacity(element) {
  let all = 1;
  for (let e = element; e && e !== root; e = e.parentElement) all *= getComputedStyle(e).opacity;
  return all;
}
const name = (e) => `${e.tagName} ${e.getAttribute("class") ?? ""} ${e.textContent.slice(0, 20)}`;
"""
FAINT_ON_PURPOSE = (
    ".mr-grid, .mr-healthy, .mr-healthy-edge, .mr-clip-range, .mr-cover, .mr-hatch, .mr-dim *, "
    ".mr-gone, .mr-halo, .mr-change, defs *, marker *"
)
LOST_SHAPES = (
    """(faint) => {"""
    + TOOLS
    + """
  const lost = [];
  for (const e of root.querySelectorAll("svg path, svg line, svg rect, svg circle, svg text")) {
    if (e.matches(faint) || !e.checkVisibility() || e.getBoundingClientRect().width === 0) continue;
    const style = getComputedStyle(e), all = Math.max(opacity(e), 0.75);
    if (style.fillOpacity < 0.3 && style.stroke === "none") continue; // a tint behind a frame
    // a number that stands on a bar is read against the bar
    const bar = e.matches(".mr-memory-number") && e.previousElementSibling;
    const under = bar ? getComputedStyle(bar).fill : page;
    const seen = Math.max(contrast(style.fill, under, all * style.fillOpacity),
      style.strokeWidth === "0px" ? 1 : contrast(style.stroke, under, all * style.strokeOpacity));
    if (seen < 3) lost.push(`${name(e)}: ${style.fill} ${style.stroke} on ${under}`);
  }
  for (const e of root.querySelectorAll("svg")) {
    const back = getComputedStyle(e).backgroundColor;
    if (contrast(back, page) > 1.05) lost.push(`a sheet of ${back} behind ${name(e)}`);
  }
  for (const e of root.querySelectorAll(".mr-strip-bar i, .mr-chance > span, .mr-tm-bar i")) {
    const { backgroundColor, backgroundImage } = getComputedStyle(e);
    if (backgroundImage === "none" && contrast(backgroundColor, page) < 3) lost.push(name(e));
  }
  return lost;
}"""
)
FOCUS = (
    """() => {"""
    + TOOLS
    + """
  const e = document.activeElement, style = getComputedStyle(e);
  if (!root.contains(e)) return null;
  const width = style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth);
  return { name: name(e), width, contrast: contrast(style.outlineColor, page) };
}"""
)
SELECTED_ALIKE = """() => {
  const how = (e) => { const s = getComputedStyle(e);
    return [s.backgroundColor, s.outlineStyle, s.borderWidth, s.textDecorationLine].join(); };
  const alike = [];
  for (const trait of ["aria-checked", "aria-pressed"])
    for (const on of document.querySelectorAll(`.mr button[${trait}="true"]`)) {
      const off = [...on.parentElement.children].find((e) => e.getAttribute(trait) === "false");
      if (off && how(on) === how(off)) alike.push(on.textContent);
    }
  return alike;
}"""


@pytest.fixture(scope="module")
def example() -> Iterator[Callable[[str], LiveWidget]]:
    with examples() as make:
        yield make


def complaints(page: Page) -> list[str]:
    """What cannot be seen of the widget, in words."""
    wrong = [f"lost: {shape}" for shape in page.evaluate(LOST_SHAPES, FAINT_ON_PURPOSE)]
    wrong += [f"selected looks like the rest: {name}" for name in page.evaluate(SELECTED_ALIKE)]
    page.evaluate("document.activeElement.blur()")
    for _ in range(6):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus and (focus["width"] < 2 or focus["contrast"] < GRAPHICS):
            wrong.append(f"focus: {focus}")
    return wrong


@pytest.mark.parametrize("name", EXAMPLES)
def test_everything_that_carries_meaning_is_visible(show, example, name) -> None:
    widget = example(name)
    page = show(widget)
    for mode, media in MODES.items():
        page.emulate_media(**media)
        assert not complaints(page), mode
    page = show(widget, dark=True)
    page.emulate_media(contrast="more")
    assert not complaints(page), "more contrast, dark"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_cells_that_an_open_cell_is_made_of_stay_lit(show, example, scheme) -> None:
    page = show(example("TokenMicroscope"))
    page.emulate_media(forced_colors="active", color_scheme=scheme)
    page.locator("td[data-row=td_target]").first.click()
    page.get_by_role("slider").first.focus()
    style = (
        "(e) => [getComputedStyle(e).outlineStyle, parseFloat(getComputedStyle(e).outlineWidth)]"
    )
    assert page.locator("td[aria-selected=true]").first.evaluate(style) == ["double", 4]
    lit = page.locator("td[data-lit=true]")
    assert lit.count() >= 2
    assert {tuple(cell.evaluate(style)) for cell in lit.all()} == {("dashed", 2)}
