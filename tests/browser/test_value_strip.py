"""ValueStrip in a browser: the slider moves every number, and they are Python's."""

import pytest
import torch
from playwright.sync_api import Page, expect

from minirlhf.widgets.picture import number
from minirlhf.widgets.value_strip import ValueStrip

WEIRD = [
    "<script>alert(1)</script>",
    "\u202eright to left",
    "😀",
    "\x00\n\t",
    "x" * 200,
    "",
    "&lt;",
]
STEPS = [0, 3, 10, 50]


def tables(tokens: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(len(STEPS), tokens, generator=generator) for _ in range(3)]


def strip(tokens: list[str] = WEIRD) -> ValueStrip:
    values, targets, truth = tables(len(tokens))
    return ValueStrip(tokens, STEPS, values, targets, truth, truth.abs() / 10)


def table(page: Page, name: str) -> list[list[str]]:
    rows = page.locator(f"table[data-table={name}] tbody tr").all()
    return [row.locator("td").all_inner_texts() for row in rows]


@pytest.mark.parametrize("dark", [False, True])
def test_every_step_shows_python_s_numbers(show, dark: bool) -> None:
    widget = strip()
    page = show(widget, dark=dark)
    values, targets, truth = tables(len(WEIRD))
    control = page.get_by_role("slider", name="training step")
    for i, step in enumerate(STEPS):
        control.fill(str(i))
        widget.step = step
        shown = table(page, "tokens")
        three = lambda row: [f"{x:.3f}".replace("-", "−") for x in row.tolist()]  # noqa: E731
        assert shown[0] == three(truth[i].double()) and shown[2] == three(values[i].double())
        assert shown[3] == three(targets[i].double())
        missed = [float(row[0].replace("−", "-")) for row in table(page, "missed")]
        assert missed == pytest.approx(list(widget.squared_errors().values()), abs=6e-5)
        assert control.get_attribute("aria-valuetext") == str(step)
    nearer = widget.squared_errors()["targets"] < widget.squared_errors()["values"]
    expect(page.locator("[aria-live]")).to_contain_text(
        "the target is nearer" if nearer else "the critic's V is at least as near"
    )


def test_the_slider_is_reached_and_moved_by_keyboard(show) -> None:
    page = show(strip())
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("minirlhfModels[0].get('step')") == 10
    expect(page.locator("output")).to_have_text("10")
    page.evaluate("minirlhfModels[0].set('step', 50)")  # as Python would
    expect(page.locator("output")).to_have_text("50")


def test_what_the_slider_counts_can_be_named(show) -> None:
    values, targets, truth = tables(2)
    page = show(ValueStrip(["a", "b"], STEPS, values, targets, truth, step_name="full fits"))
    expect(page.get_by_role("slider", name="full fits")).to_be_visible()
    expect(page.locator("[aria-live]")).to_contain_text("At full fits 0: ")
    assert "training step" not in page.locator("body").inner_text()


def test_markers_differ_by_shape_and_weird_tokens_are_text(show) -> None:
    page = show(strip())
    for name, shape in {"truth": "diamond", "values": "circle", "targets": "triangle"}.items():
        marks = page.locator(f"[data-layer={name}] [data-shape]")
        shapes = marks.evaluate_all("all => all.map((x) => x.dataset.shape)")
        assert set(shapes) == {shape}
    heads = page.locator("table[data-table=tokens] thead th").all_inner_texts()[1:]
    assert heads[0].startswith("<scri") and heads[2] == "😀" and "\u202e" not in "".join(heads)
    assert heads[5] == "∅" and max(map(len, heads)) <= 13
    assert page.locator("script").count() == 3  # the page's own


def test_a_thousand_tokens_scroll_inside_the_widget(show) -> None:
    page = show(strip([f"t{i}" for i in range(1000)]))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert number(0.0) == "0.00"
