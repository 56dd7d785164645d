"""PrefixTree in a browser: its arithmetic is Python's, its tree is a tree for keyboards too."""

import re

import pytest
import torch
from exact_tables import SMALL, policy_tables, random_log_pi, random_scores
from playwright.sync_api import Page, expect

from minirlhf import PPOConfig
from minirlhf.widgets.prefix_tree import PrefixTree
from minirlhf.worlds import exact

HARD = PPOConfig(kl_coef=0.3, gamma=0.9, kl_estimator="k3", score_clip=1.5)


def small(tokens: list[str] | None = None, **more: object) -> PrefixTree:
    tables = random_log_pi(SMALL, 0), random_log_pi(SMALL, 1), random_scores(SMALL, 2)
    return PrefixTree(*tables, tokens or ["a", "b", "<eos>"], HARD, SMALL, **more)


def cells(page: Page, key: str) -> dict[str, str]:
    own = page.locator(f'[role=treeitem][data-key="{key}"] [data-cell]')
    return dict(own.evaluate_all("all => all.map((x) => [x.dataset.cell, x.innerText.trim()])"))


def rounded(x: torch.Tensor, digits: int = 3) -> str:
    text = f"{float(x):.{digits}f}".replace("-", "−")
    return text.replace("−", "") if float(text.replace("−", "-")) == 0 else text


@pytest.mark.parametrize("dark", [False, True])
def test_every_number_of_every_prefix_is_python_s_at_every_temperature(show, dark: bool) -> None:
    widget = small()
    page = show(widget, dark=dark)
    for key in ("0", "1", "0,0", "0,1", "1,0", "1,1"):
        page.locator(f'[role=treeitem][data-key="{key}"]').click()
    control = page.get_by_role("slider", name="temperature")
    for temperature in (1.0, 0.35, 2.6):
        control.fill(str(temperature))
        widget.temperature = temperature
        truth = widget.truth
        final = widget._tables[2].double()
        for state in range(SMALL.n_states):
            above = SMALL.words_of(state)
            for action in range(SMALL.n_tokens):
                shown = cells(page, ",".join(map(str, (*above, action))))
                pi, ref = truth.log_pi[state, action], truth.ref_log_pi[state, action]
                assert shown["pi"] == rounded(pi.exp()) and shown["ref"] == rounded(ref.exp())
                assert shown["kl"] == rounded(pi - ref)
                assert shown["prefix"] == rounded(truth.reach[state] * pi.exp(), 5)
                assert shown["q"] == rounded(truth.q_values[state, action])
                assert shown["advantage"] == rounded(truth.advantages[state, action])
                ends = bool(SMALL.is_last[state, action])
                after = state * SMALL.words + 1 + action
                assert shown["value"] == ("" if ends else rounded(truth.values[after]))
                assert shown["score"] == (rounded(final[state, action]) if ends else "")
        whole = page.locator("[data-part=whole]").inner_text()
        assert f"E[score] {rounded(truth.score)}, KL {rounded(truth.kl)} nats" in whole
        assert whole.endswith(rounded(truth.objective)) and "probability 1.000000000" in whole
        mass = page.locator("[data-part=mass]").inner_text()
        assert mass.startswith("15 answers seen, probability 1.000000")


def test_the_tree_is_walked_by_keyboard_and_speaks(show) -> None:
    page = show(small())
    page.keyboard.press("Tab")  # temperature
    page.keyboard.press("Tab")  # order
    page.keyboard.press("Tab")  # the tree
    where = "document.activeElement.dataset.key"
    assert page.evaluate(where) == ""
    page.keyboard.press("ArrowDown")
    first = page.evaluate(where)
    assert len(first) == 1
    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert page.evaluate(where) == ""
    words = [key for key in ("0", "1") if key != first]
    while page.evaluate(where) not in words:
        page.keyboard.press("ArrowDown")
    key = page.evaluate(where)
    page.keyboard.press("ArrowRight")  # opens
    item = page.locator(f'[role=treeitem][data-key="{key}"]')
    expect(item).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowRight")  # goes in
    inside = page.evaluate(where)
    assert inside.startswith(f"{key},")
    assert page.evaluate("minirlhfModels[0].get('path')") == [int(x) for x in inside.split(",")]
    child = page.locator(f'[role=treeitem][data-key="{inside}"]')
    expect(child).to_have_attribute("aria-level", "3")
    expect(child).to_have_attribute("aria-selected", "true")
    assert "probability of" not in (child.get_attribute("aria-label") or "")
    assert "P(prefix) 0." in (child.get_attribute("aria-label") or "")
    page.keyboard.press("ArrowLeft")  # out again
    page.keyboard.press("ArrowLeft")  # closes
    expect(item).to_have_attribute("aria-expanded", "false")
    expect(page.locator("[role=treeitem][tabindex='0']")).to_have_count(1)


def test_open_and_closed_prefixes_together_hold_all_the_probability(show) -> None:
    page = show(PrefixTree(*policy_tables(), exact.gold_table(), path=[0, 3, 5]))
    expect(page.locator("[data-part=mass]")).to_contain_text("together 1.000000")
    expect(page.locator("[data-part=whole]")).to_contain_text("177,156 answers")
    page.evaluate("minirlhfModels[0].set('path', [1, 3, 4, 6, 11])")  # as Python would
    chosen = page.locator("[role=treeitem][aria-selected=true]")
    expect(chosen).to_have_attribute("aria-label", re.compile("^<eos>, a complete answer"))
    expect(page.locator("[data-part=mass]")).to_contain_text("together 1.000000")
    page.get_by_role("radio", name="as in the vocabulary").click()
    level = page.locator("[role=treeitem][aria-level='2'] .mr-name").all_inner_texts()
    assert [name.split()[-1] for name in level] == [*exact.WORDS, exact.EOS]


def test_the_whole_world_is_recomputed_fast_enough_for_a_slider(show) -> None:
    page = show(PrefixTree(*policy_tables(), exact.gold_table()))
    median = page.evaluate(
        """() => {
          const input = document.querySelector('input[type=range]');
          const times = [];
          for (let i = 0; i < 9; i++) {
            input.value = 0.5 + 0.1 * i;
            const started = performance.now();
            input.dispatchEvent(new Event('input'));
            times.push(performance.now() - started);
          }
          return times.sort((a, b) => a - b)[4];
        }"""
    )
    assert median < 250, f"{median:.0f} ms"


def test_weird_tokens_are_text(show) -> None:
    page = show(small(["<script>alert(1)</script>", "\u202e\x00" + "x" * 200, ""]))
    names = page.locator("[role=treeitem] .mr-name").all_inner_texts()
    assert len(names) == 4 and not any("\u202e" in name or len(name) > 40 for name in names)
    assert any("<script" in name for name in names) and any("∅" in name for name in names)
