"""Predict in the browser: the result is not in sight before a guess, and keys alone do."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from minirlhf.widgets.predict import Predict

Show = Callable[..., Page]
HOSTILE = "<img src=x onerror=alert(1)>"


def asked(tmp_path: Path, *, truth: int | None = 2) -> Predict:
    question = Predict(
        "q", f"Gold {HOSTILE} will …", ["rise", "stay", HOSTILE], store=tmp_path / "p"
    )
    if truth is not None:
        question.reveal(truth, "Because of β.")
    return question


def test_the_result_is_unlocked_by_a_guess_made_with_keys(show: Show, tmp_path: Path) -> None:
    page = show(asked(tmp_path))
    expect(page.get_by_text("Because of β.")).to_have_count(0)
    expect(page.get_by_role("button", name="lock in my guess")).to_be_disabled()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # the first answer
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.press("End")  # 100 % sure
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(
        page.get_by_text(f"✗ It is: {HOSTILE}. You said “stay” and were 100 % sure.")
    ).to_be_visible()
    expect(page.get_by_text("Because of β.")).to_be_visible()
    assert page.evaluate("minirlhfModels[0].get('guess')") == 1
    assert page.evaluate("minirlhfModels[0].get('confidence')") == 100
    expect(page.get_by_role("radio", name="rise")).to_be_disabled()


def test_it_can_be_shown_without_a_guess(show: Show, tmp_path: Path) -> None:
    page = show(asked(tmp_path))
    page.get_by_role("button", name="show it without a guess").click()
    expect(page.get_by_text("You made no guess")).to_be_visible()
    assert page.evaluate("minirlhfModels[0].get('guess')") == -1


def test_it_waits_for_the_truth_and_follows_python(show: Show, tmp_path: Path) -> None:
    page = show(asked(tmp_path, truth=None))
    expect(page.get_by_role("button", name="show it without a guess")).to_be_hidden()
    page.get_by_role("radio", name="rise").click()
    page.get_by_role("button", name="lock in my guess").click()
    expect(page.get_by_text("Locked in.")).to_be_visible()
    page.evaluate("minirlhfModels[0].set('truth', 0)")
    expect(page.get_by_text("✓ Right: rise. You were 60 % sure.")).to_be_visible()
    page.evaluate(
        "minirlhfModels[0].set('score',"
        " { guesses: 4, right: 3, confidence: 80, brier: 0.25, chance: 0.625 })"
    )
    expect(page.get_by_text("3 of 4 right (75 %), and you were 80 % sure")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_narrow_page_in_both_themes(show: Show, tmp_path: Path, dark: bool) -> None:
    page = show(asked(tmp_path), dark=dark)
    page.set_viewport_size({"width": 800, "height": 500})
    page.get_by_role("radio", name="stay").click()
    page.get_by_role("button", name="lock in my guess").click()
    assert page.evaluate("document.body.scrollWidth <= innerWidth")
    page.screenshot(path=tmp_path / "predict.png")
