"""RunReplay in a browser: it plays, pauses, and shows each step's own numbers."""

import pytest
from playwright.sync_api import expect

from minirlhf import StepRecord
from minirlhf.widgets.run_replay import RunReplay

WEIRD = "<script>alert(1)</script> \u202e\x00\nnew line 😀 " + "x" * 2000
RUN = [
    StepRecord(
        "ppo", 2 * i, 40, {"score": 0.1 * i - 1, "kl": 2.0 * i}, WEIRD if i == 3 else f"t{i}"
    )
    for i in range(1, 21)
]


def shown(x: float) -> str:
    return f"{x:.3f}".replace("-", "−").replace("−0.000", "0.000")


@pytest.mark.parametrize("dark", [False, True])
def test_every_step_shows_its_own_numbers_and_text(show, dark: bool) -> None:
    page = show(RunReplay(RUN), dark=dark)
    control = page.get_by_role("slider", name="step")
    for i in (0, 2, 9, 14, 15, 19):
        control.fill(str(i))
        record = RUN[i]
        for name, value in record.metrics.items():
            head = page.locator(f"[data-metric={name}] figcaption")
            outside = name == "kl" and value > 30
            expect(head).to_have_text(f"{name}{shown(value)}{' ✗ outside' if outside else ''}")
            shape = "cross" if outside else "circle"
            assert page.locator(f"[data-metric={name}] [data-shape={shape}]").count() == 1
        told = page.locator("[aria-live]")
        kl_outside = record.metrics["kl"] > 30
        expect(told).to_contain_text("range: kl" if kl_outside else "every metric shown is within")
        if i != 2:
            expect(page.locator("blockquote")).to_have_text(record.sample)
    control.fill("2")
    text = page.locator("blockquote").inner_text()
    assert text.startswith("<script>alert(1)</script> ��\nnew line 😀 xxx")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_play_pause_and_the_end(show) -> None:
    page = show(RunReplay(RUN, step=2))
    page.get_by_role("radio", name="fast").click()
    play = page.get_by_role("button", name="play")
    play.click()
    pause = page.get_by_role("button", name="pause")
    expect(pause).to_have_attribute("aria-pressed", "true")
    expect(page.locator("output")).to_have_text("40")  # it plays to the end and stops there
    expect(page.get_by_role("button", name="play")).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("minirlhfModels[0].get('step')") == 40
    page.get_by_role("radio", name="slow").click()
    page.get_by_role("button", name="play").click()  # from the start again
    expect(page.locator("output")).to_have_text("4")
    page.get_by_role("button", name="pause").click()
    here = page.locator("output").inner_text()
    page.wait_for_timeout(700)
    expect(page.locator("output")).to_have_text(here)


def test_by_keyboard_and_from_python(show) -> None:
    page = show(RunReplay(RUN, step=2))
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # plays
    expect(page.get_by_role("button", name="pause")).to_be_visible()
    page.keyboard.press("Space")  # pauses
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("minirlhfModels[0].get('step')") == 4
    page.evaluate("minirlhfModels[0].set('step', 30)")  # as Python would
    expect(page.locator("output")).to_have_text("30")
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("table[data-table=meanings]")).to_contain_text("mean over responses")


def test_no_text_of_a_chart_touches_another_or_is_cut(show) -> None:
    wide = {"kl": 123456.0, "length": 1740.0, "lr": 1.5e-5, "entropy": 0.0625}
    run = [StepRecord("ppo", 500 * i, 40, {k: i * v for k, v in wide.items()}) for i in (1, 2, 3)]
    page = show(RunReplay(run, metrics=list(wide)))
    for name in wide:
        texts = page.locator(f"[data-metric={name}] svg text").evaluate_all(
            """all => all.map((x) => {
              const [text, svg] = [x, x.ownerSVGElement].map((e) => e.getBoundingClientRect());
              return { left: text.left - svg.left, right: svg.right - text.right,
                       end: text.right - svg.left, turned: x.hasAttribute("transform"),
                       tick: x.getAttribute("text-anchor") === "end" };
            })"""
        )
        assert min(min(t["left"], t["right"]) for t in texts) >= 0.0, name
        (unit,) = (t for t in texts if t["turned"])
        ticks = [t for t in texts if t["tick"]]
        assert len(ticks) >= 2
        if name != "lr":  # it has no unit
            assert unit["end"] < min(t["left"] for t in ticks), name
