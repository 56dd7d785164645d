"""Frontier in a browser: the dots stand where the recorded numbers are."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from minirlhf.widgets.frontier_live import Frontier
from minirlhf.worlds.exact.overoptimisation import Curve

EXACT = Path(__file__).parents[2] / "assets" / "exact"


def shown(x: float) -> str:
    return f"{x:.3f}".replace("-", "−")


@pytest.mark.parametrize("dark", [False, True])
def test_the_slider_moves_every_dot_to_the_recorded_numbers(show, dark: bool) -> None:
    held = json.loads((EXACT / "overoptimisation.json").read_text())
    page = show(
        Frontier.from_files(EXACT / "frontier.json", EXACT / "overoptimisation.json"), dark=dark
    )
    control = page.get_by_role("slider", name="β")
    rows = page.locator("table[data-table=at] tbody tr")
    for pairs in ("100", "1000", "20000"):
        page.locator(f"button[data-key='{pairs}']").click()
        for i in (0, 17, 44):
            control.fill(str(i))
            curves = [held["best"], *held["curves"][pairs]]
            expect(rows).to_have_count(4)
            for row, curve in zip(rows.all(), curves, strict=True):
                got = row.locator("td").all_inner_texts()
                numbers = [shown(curve[k][i]) for k in ("kl_coef", "kl", "proxy", "gold")]
                numbers[2] = "" if curve is held["best"] else numbers[2]
                assert [n.replace("−0.000", "0.000") for n in numbers] == got
    assert page.locator("[data-layer=points] [data-algorithm]").count() == 18
    shapes = page.locator("[data-layer=points] [data-algorithm]").evaluate_all(
        "all => [...new Set(all.map((x) => x.dataset.algorithm + ' ' + x.dataset.shape))]"
    )
    assert len(shapes) == 5 and len({s.split()[1] for s in shapes}) == 5


def test_by_keyboard_and_from_python(show) -> None:
    page = show(Frontier.from_files(EXACT / "frontier.json", EXACT / "overoptimisation.json"))
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    assert page.evaluate("minirlhfModels[0].get('kl_coef')") == pytest.approx(10**0.5)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("minirlhfModels[0].get('pairs')") in (100, 20_000)
    page.evaluate("minirlhfModels[0].set('kl_coef', 0.1001)")  # as Python would
    expect(page.locator("output")).to_have_text("0.100")
    expect(page.locator("[aria-live]")).to_contain_text("β 0.100")


def test_the_line_alone_is_shown_too(show) -> None:
    page = show(Frontier(Curve([1.0, 0.1], [0.1, 2.0], [0.2, 1.0], [0.2, 1.0])))
    expect(page.locator("svg.mr-plot")).to_have_count(1)
    expect(page.locator("table[data-table=at] td")).to_have_text(["0.100", "2.000", "", "1.000"])
