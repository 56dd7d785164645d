"""GradientMeter in a browser: every number is Python's."""

import pytest
from exact_tables import SMALL, random_log_pi, random_scores
from playwright.sync_api import expect

from minirlhf.widgets.gradient_meter import GradientMeter
from minirlhf.worlds.exact import exact_truth
from minirlhf.worlds.exact.gradient_quality import BASELINES, gradient_quality, shifted

SIZES = (1, 4, 16, 64)


def truth():
    tables = random_log_pi(SMALL, 0), random_log_pi(SMALL, 1), random_scores(SMALL, 2)
    return exact_truth(*tables, SMALL, kl_coef=0.2)


@pytest.mark.parametrize("dark", [False, True])
def test_the_slider_shows_each_size_s_numbers(show, dark: bool) -> None:
    page = show(GradientMeter.of(truth(), batch_sizes=SIZES, repeats=20), dark=dark)
    shift = 1.0 if dark else 0.0
    page.get_by_role("radio", name=f"all scores + {shift:.0f}").click()
    world = shifted(truth(), shift)
    own = [gradient_quality(world, b, batch_sizes=SIZES, repeats=20) for b in BASELINES]
    control = page.get_by_role("slider")
    for i in range(len(SIZES)):
        control.fill(str(i))
        rows = page.locator("table[data-table=quality] tbody tr").all()
        for row, q in zip(rows, own, strict=True):
            wanted = (
                q.expected_error[i],
                q.relative_error[i].square().mean().sqrt(),
                q.cosine[i].mean(),
                q.error_of_mean[i],
                q.chance_error_of_mean[i],
            )
            shown = row.locator("td").all_inner_texts()
            assert shown[:5] == [f"{float(x):.3f}".replace("-", "−") for x in wanted]
        for name, shape in zip(BASELINES, ("triangle", "circle", "diamond"), strict=True):
            dots = page.locator(f"[data-layer='dots {name}'] [data-shape={shape}]")
            expect(dots).to_have_count(40)  # errors and cosines


def test_by_keyboard_and_from_python(show) -> None:
    page = show(GradientMeter.of(truth(), batch_sizes=SIZES, repeats=4, batch_size=1))
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert page.evaluate("minirlhfModels[0].get('batch_size')") == 64
    expect(page.locator("[aria-live]")).to_contain_text("64 answers in a batch")
    page.evaluate("minirlhfModels[0].set('batch_size', 4)")  # as Python would
    expect(page.locator("output")).to_have_text("4")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("minirlhfModels[0].get('shift')") == 1
    page.evaluate("minirlhfModels[0].set('shift', 3)")
    expect(page.get_by_role("radio", name="all scores + 3")).to_have_attribute(
        "aria-checked", "true"
    )
