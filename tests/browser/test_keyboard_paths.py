"""Every widget by keyboard alone: Tab reaches each control and leaves again, arrows choose."""

from collections.abc import Callable, Iterator

import pytest
from browser.example_widgets import examples
from browser.test_in_jupyterlab import EXAMPLES

from minirlhf.widgets.live import LiveWidget

STOPS = """() => [...document.querySelectorAll(".mr *")].filter((e) => e.tabIndex >= 0
  && e.matches("button, input, select, textarea, a[href], summary, [tabindex]")
  && !e.disabled && e.checkVisibility())"""
COUNT = f"({STOPS})().length"
AT = f"({STOPS})().indexOf(document.activeElement)"  # −1: not in the widget
OPTIONS = """(group) => [...group.querySelectorAll("[role=radio]")].map((e) =>
  [e.getAttribute("aria-checked"), e === document.activeElement])"""


@pytest.fixture(scope="module")
def example() -> Iterator[Callable[[str], LiveWidget]]:
    with examples() as make:
        yield make


@pytest.mark.parametrize("name", EXAMPLES)
def test_tab_reaches_every_control_and_leaves(show, example, name) -> None:
    page = show(example(name))
    stops = page.evaluate(COUNT)
    assert stops > 0 or name == "TrainingMonitor"  # without Python it only shows
    reached = []
    for _ in range(stops):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(AT))
    assert reached == list(range(stops))  # in the order of the page
    page.keyboard.press("Tab")
    assert page.evaluate(AT) == -1


@pytest.mark.parametrize("name", EXAMPLES)
def test_arrows_choose_in_every_row_of_choices(show, example, name) -> None:
    page = show(example(name))
    for number in range(page.locator("[role=radiogroup]:visible").count()):
        group = page.locator("[role=radiogroup]:visible").nth(number)
        group.locator("[role=radio][tabindex='0']").focus()
        size, chosen = group.locator("[role=radio]").count(), set()
        for _ in range(size):
            page.keyboard.press("ArrowRight")
            options = group.evaluate(OPTIONS)
            (at,) = (i for i, (checked, _) in enumerate(options) if checked == "true")
            assert options[at][1], "the focus follows the choice"
            chosen.add(at)
        assert chosen == set(range(size))


def test_the_memory_planner_by_keyboard(show, example) -> None:
    page = show(example("MemoryPlanner"))
    peak = page.locator(".mr-memory-peak")
    before = peak.inner_text()
    page.get_by_label("precision").focus()
    page.keyboard.press("ArrowDown")
    assert float(peak.inner_text()) < float(before)  # the next one is bfloat16
    box = page.get_by_role("checkbox")
    box.focus()
    page.keyboard.press("Space")
    assert box.is_checked()


def test_the_gae_explorer_by_keyboard(show, example) -> None:
    page = show(example("GAEExplorer"))
    sums = page.locator(".mr-strip-sum").first
    before = sums.inner_text()
    page.locator("input[name=lam]").focus()
    page.keyboard.press("Home")
    assert sums.inner_text() != before
    page.get_by_role("button", name="as in the rollout").focus()
    page.keyboard.press("Enter")
    assert sums.inner_text() == before
