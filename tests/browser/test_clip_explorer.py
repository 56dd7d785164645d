"""The clip explorer in a real browser: its numbers are those of `actor_loss` and autograd."""

import random
import re

import pytest
import torch
from tiny_models import four_roles, four_trainer

from minirlhf import actor_loss
from minirlhf.metrics import share_beyond
from minirlhf.widgets.clip_explorer import ClipExplorer

CASES = [f"{sign}.{side}" for sign in ("good", "bad") for side in ("below", "inside", "above")]


def shown(x: float, digits: int = 3) -> str:
    text = f"{x:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def read(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"-?\d+\.\d+", text.replace("−", "-"))]


def one(ratio: float, advantage: float, eps: float) -> tuple[float, float]:
    """Loss and gradient by log π, straight from the library, in float64."""
    log_prob = torch.tensor([[ratio]], dtype=torch.float64).log().requires_grad_()
    old, mask = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.bool)
    weight = torch.full_like(old, advantage)
    loss = actor_loss(log_prob, old, weight, mask, clip_range=eps)
    loss.backward()
    return float(loss.detach()), float(log_prob.grad)


def close(found: float, wanted: float, digits: int = 3) -> bool:
    return abs(found - wanted) <= 0.5 * 10**-digits + 1e-5


@pytest.fixture(scope="module")
def setting():
    trainer = four_trainer(four_roles(), max_response_tokens=12, actor_lr=3e-3)
    rollout = next(iter(trainer)).rollout
    return trainer, rollout, ClipExplorer.from_trainer(trainer, rollout, steps=5)


@pytest.mark.parametrize("dark", [False, True])
def test_renders_in_both_themes(show, setting, dark, tmp_path):
    page = show(setting[2], dark=dark)
    n = len(setting[2].points["old"])
    assert page.locator(".mr-dot").count() == 2 * n
    assert page.locator("[data-case]").count() == 6
    page.screenshot(path=tmp_path / "shot.png")
    page.set_viewport_size({"width": 800, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 800


def test_your_point_is_actor_loss_at_random_settings(show):
    page = show(ClipExplorer())
    draw = random.Random(0)
    sides = set()
    for _ in range(60):
        eps = draw.randint(1, 60) / 100
        ratio, advantage = draw.randint(1, 200) / 100, draw.randint(-30, 30) / 10
        if abs(abs(ratio - 1) - eps) < 1e-9:
            continue  # on the edge, where rounding decides
        settings = {"clip_range": eps, "ratio": ratio, "advantage": advantage}
        page.evaluate(
            "s => Object.entries(s).forEach(([k, v]) => minirlhfModels[0].set(k, v))", settings
        )
        numbers = read(page.locator(".mr-own-text").inner_text())
        loss, gradient = one(ratio, advantage, eps)
        assert close(numbers[0], ratio) and close(numbers[1], advantage)
        assert close(numbers[4], -loss) and close(numbers[5], loss)
        assert close(numbers[6], -gradient)
        marked = page.locator("[aria-current=true]")
        if advantage == 0:
            assert marked.count() == 0
            continue
        case = marked.get_attribute("data-case")
        sides.add(case)
        paid = marked.locator("strong").inner_text() == "Gradient:"
        assert paid == (gradient != 0), case
    assert sides == set(CASES)


def test_tokens_are_those_of_the_library(show, setting):
    trainer, rollout, widget = setting
    page = show(widget)
    mask = rollout.response_mask
    advantages = trainer.advantages(rollout)
    now_at = widget.points["now"]
    draw = random.Random(1)
    for step in range(len(now_at)):
        eps = draw.choice([0.05, 0.1, 0.2, 0.35])
        page.evaluate(f"minirlhfModels[0].set('clip_range', {eps})")
        page.evaluate(f"minirlhfModels[0].set('step', {step})")
        now = torch.zeros(mask.shape, dtype=torch.float64)
        now[mask] = torch.tensor(now_at[step], dtype=torch.float64)
        now.requires_grad_()
        old = rollout.old_log_probs.double()
        loss = actor_loss(now, old, advantages.double(), mask, clip_range=eps)
        loss.backward()
        n, ratio = int(mask.sum()), (now.detach() - old).exp()
        summary = page.locator(".mr-summary").inner_text()
        assert f"actor_loss {shown(float(loss.detach()), 4)};" in summary
        outside = float(share_beyond(ratio - 1, eps, mask))
        assert summary.endswith(f"outside the clip range {shown(outside)}.")
        gradient = -(now.grad * n)[mask]
        assert f"; {int((gradient != 0).sum())} still have a gradient" in summary
        counts = page.locator(".mr-count").all_inner_texts()
        assert sum(int(text.split()[-1]) for text in counts) == n
        for token in draw.sample(range(n), 5):
            page.evaluate(f"minirlhfModels[0].set('token', {token})")
            numbers = read(page.locator(".mr-token-text").inner_text())
            assert close(numbers[0], float(ratio[mask][token]))
            assert close(numbers[6], float(gradient[token]))
        hollow = page.locator("[data-plot^=surrogate] .mr-hollow").count()
        assert hollow == int((gradient == 0).sum())


def test_sliders_by_keyboard(show, setting):
    page = show(setting[2])
    page.keyboard.press("Tab")
    names = []
    for _ in range(5):
        names.append(page.evaluate("document.activeElement.name"))
        before = page.locator(".mr-clip-text").inner_text()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert page.locator(".mr-clip-text").inner_text() != before, names
        page.keyboard.press("Tab")
    assert names == ["clip_range", "ratio", "advantage", "step", "token"]
    assert page.evaluate("minirlhfModels[0].get('clip_range')") == pytest.approx(0.22)


def test_dots_move_with_the_optimiser(show, setting):
    page = show(setting[2])
    dot = page.locator(".mr-dot").first
    before = dot.get_attribute("cx")
    page.evaluate("minirlhfModels[0].set('step', 5)")
    assert page.locator(".mr-dot").first.get_attribute("cx") != before


def test_text_of_the_data_stays_text(show, setting):
    widget = ClipExplorer.from_trainer(setting[0], setting[1], steps=1)
    nasty = "<img src=x onerror=alert(1)>"
    widget.points = {**widget.points, "tokens": [nasty] * len(widget.points["old"])}
    page = show(widget)
    assert page.locator(".mr-clip img").count() == 0
    assert "<img" in page.locator(".mr-word").text_content()


def test_high_contrast_keeps_its_lines(show, setting):
    page = show(setting[2])
    page.emulate_media(forced_colors="active", color_scheme="dark")
    fill = page.locator(".mr-clip svg").first.evaluate("e => getComputedStyle(e).fill")
    back = page.locator(".mr-clip").evaluate("e => getComputedStyle(e).backgroundColor")
    assert fill != back


def test_no_word_is_missing(show, setting):
    page = show(setting[2])
    assert "clip_explorer." not in page.locator(".mr").inner_html()
