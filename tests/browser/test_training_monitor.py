"""The monitor in a browser: curves, healthy ranges in words, buttons, hostile samples."""

import pytest
from tiny_trainers import ppo_trainer, sft_trainer

from minirlhf.widgets.training_monitor import TrainingMonitor

HOSTILE = "review : <script>alert(1)</script> \u202eabc <img src=x onerror=alert(2)> " + "x" * 200
LIVE = """() => { const m = minirlhfModels[0]; window.sent = []; m.widget_manager = {};
  m.send = (content) => sent.push(content.do); m.set("state", m.get("state")); }"""


@pytest.fixture
def monitor():
    widget = TrainingMonitor(ppo_trainer(), metrics=("kl", "score", "explained_variance"))
    widget.wait()
    return widget


def put(page, **traits):
    page.evaluate(
        "(t) => Object.entries(t).forEach(([k, v]) => minirlhfModels[0].set(k, v))", traits
    )


def test_draws_a_curve_a_metric_with_its_healthy_range(show, monitor):
    page = show(monitor)
    assert page.locator(".mr-panel").count() == 3
    for number, name in enumerate(("kl", "score", "explained_variance")):
        last = monitor.history[-1][name]
        panel = page.locator(".mr-panel").nth(number)
        assert f"{last:.2f}".replace("-", "−") in panel.inner_text()
        points = panel.locator(".mr-curve").get_attribute("d")
        assert points.count("L") == 5  # six steps
        assert name in panel.get_by_role("img").get_attribute("aria-label")
    assert page.locator(".mr-panel").nth(1).locator(".mr-healthy").count() == 0  # score has none


@pytest.mark.parametrize(
    ("value", "cue"), [(5.0, "✓ healthy"), (31.0, "▲ above 30.00"), (-1.0, "▼ below 0.00")]
)
def test_says_without_colour_where_a_metric_stands(show, monitor, value, cue):
    page = show(monitor)
    put(page, history=[{"step": 1, "kl": 1.0}, {"step": 2, "kl": value}])
    assert page.locator(".mr-panel").first.locator(".mr-cue").inner_text() == cue
    label = page.locator(".mr-panel svg").first.get_attribute("aria-label")
    assert cue in label


def test_the_band_ends_where_the_healthy_range_does(show, monitor):
    page = show(monitor)
    history = [{"step": step, "kl": 12.0 * step} for step in range(1, 6)]  # 12 … 60, healthy to 30
    put(page, history=history)
    boxes = page.evaluate(
        """() => { const p = document.querySelector(".mr-panel svg");
        const d = p.querySelector(".mr-curve").getAttribute("d").split(/[ML]/).slice(1)
          .map((xy) => Number(xy.split(/[ ,]/)[1]));
        return [d, Number(p.querySelector(".mr-healthy").getAttribute("y"))]; }"""
    )
    ys, band_top = boxes
    expected = ys[1] + (ys[2] - ys[1]) * 0.5  # 30 lies half-way between 24 and 36
    assert abs(band_top - expected) < 0.1


def test_buttons_need_python_and_a_page_without_it_says_so(show, monitor):
    page = show(monitor)
    assert "no Python" in page.get_by_role("note").inner_text()
    for name in ("go", "stop"):
        assert page.locator(f"button[name={name}]").is_disabled()
    assert page.get_by_role("slider").is_disabled()


def test_buttons_send_what_their_words_say(show, monitor):
    monitor.state = "ready"
    page = show(monitor)
    page.evaluate(LIVE)
    assert page.get_by_role("note").count() == 0
    for state, word, command in [
        ("ready", "start", "start"),
        ("running", "pause", "pause"),
        ("paused", "go on", "start"),
        ("stopped", "go on", "start"),
        ("failed", "go on", "start"),
        ("running", "stop", "stop"),
        ("paused", "stop", "stop"),
    ]:
        put(page, state=state)
        page.get_by_role("button", name=word, exact=True).press("Enter")
        assert page.evaluate("sent.pop()") == command
    put(page, state="stopped")
    assert page.locator("button[name=stop]").is_disabled()
    put(page, state="done")
    assert page.locator("button[name=go]").is_disabled()


def test_the_slider_writes_beta_when_it_is_let_go_and_follows_python(show, monitor):
    monitor.state = "running"
    page = show(monitor)
    page.evaluate(LIVE)
    beta = page.get_by_role("slider")
    beta.focus()
    beta.press("ArrowRight")
    assert abs(page.evaluate("minirlhfModels[0].get('kl_coef')") - 0.055) < 1e-9
    assert "0.055" in page.locator("[aria-live]").inner_text()
    page.locator("button[name=stop]").focus()
    put(page, kl_coef=0.2, kl_changes=[[2, 0.055], [3, 0.2]])
    assert beta.input_value() == "0.2"
    assert page.locator(".mr-panel").first.locator(".mr-change").count() == 2


def test_a_trainer_without_beta_has_no_slider_and_no_samples(show):
    page = show(TrainingMonitor(sft_trainer()))
    assert page.get_by_role("slider").count() == 0
    assert "no value yet" in page.locator(".mr-panel").first.inner_text()
    assert page.locator(".mr-samples li").count() == 0


def test_samples_and_errors_are_text(show, monitor):
    monitor.samples = [{"step": 3, "text": HOSTILE, "score": None}]
    monitor.error = "ValueError: <b>bold</b> <script>alert(3)</script>"
    page = show(monitor)
    shown = page.locator(".mr-samples").inner_text()
    assert "<script>alert(1)</script>" in shown and "\u202e" not in shown
    assert page.locator(".mr-samples img, .mr-samples script, .mr-error b").count() == 0
    assert page.get_by_role("alert").inner_text() == monitor.error
    assert page.evaluate("document.body.scrollWidth <= innerWidth")


def test_news_of_the_run_are_spoken_now_and_then(show, monitor):
    monitor.state, monitor.step = "running", 0
    page = show(monitor)
    live = page.locator("[aria-live]")
    put(page, step=1)
    assert live.inner_text() == ""
    put(page, step=3)
    assert live.inner_text() == "running, ppo, step 3 of 6"
    put(page, state="paused")
    assert live.inner_text().startswith("paused")


def test_fits_a_narrow_page_in_both_themes(show, monitor):
    for dark in (False, True):
        page = show(monitor, dark=dark)
        page.set_viewport_size({"width": 800, "height": 900})
        assert page.evaluate("document.body.scrollWidth <= innerWidth")
        assert page.evaluate(
            "[...document.querySelectorAll('.mr-panel')]"
            ".every((panel) => panel.scrollWidth <= panel.clientWidth)"
        )
