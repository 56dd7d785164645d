"""The microscope in a browser: its numbers are the library's, and no token does it harm."""

import csv
import io
import random
from dataclasses import replace

import pytest
from browser.microscope_rollouts import CONFIG, Case, library_numbers, make_case, stretched
from playwright.sync_api import Page, expect
from tiny_models import TOKENIZER

from minirlhf.widgets.token_microscope import ROWS, TokenMicroscope

# Sets sliders and the estimator, one setting after the other, and reads the whole table each time.
DRIVE = """(settings) => settings.map(([kl_coef, gamma, lam, clip_range, estimator]) => {
  const set = { kl_coef, gamma, lam, clip_range };
  for (const [name, x] of Object.entries(set)) {
    const input = document.querySelector(`input[name=${name}]`);
    input.value = x;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    set[name] = input.valueAsNumber; // a slider has steps
  }
  document.querySelector(`button[data-key=${estimator}]`).click();
  const rows = {};
  for (const line of document.querySelectorAll(".mr-tm tbody tr"))
    rows[line.firstChild.dataset.row] = [...line.querySelectorAll("td")].map((c) => c.textContent);
  return { set: Object.values(set), rows };
})"""


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


def microscope(case: Case, **options: object) -> TokenMicroscope:
    return TokenMicroscope(
        case.rollout, TOKENIZER, **{"row": case.longest(), **case.options(), **options}
    )


def trait(page: Page, name: str) -> object:
    return page.evaluate("(name) => minirlhfModels[0].get(name)", name)


def assign(page: Page, **traits: object) -> None:
    """As Python would."""
    page.evaluate(
        "(t) => Object.entries(t).forEach(([k, v]) => minirlhfModels[0].set(k, v))", traits
    )


def cell(page: Page, row: str, token: int):
    return page.locator(f".mr-tm table td[data-row='{row}'][data-token='{token}']").first


def lit(page: Page) -> set[tuple[str, int]]:
    found = page.locator(".mr-tm td[data-lit=true]").all()
    return {(c.get_attribute("data-row"), int(c.get_attribute("data-token"))) for c in found}


def row_names(page: Page) -> list[str]:
    return page.locator(".mr-tm tbody th").evaluate_all("ths => ths.map((t) => t.dataset.row)")


def as_number(text: str) -> float:
    return float(text.replace("−", "-"))


@pytest.mark.parametrize(("digits", "count"), [(2, 200), (5, 60)])
def test_every_number_is_the_library_s(case, show, digits, count):
    chance = random.Random(digits)
    settings = [
        [chance.random(), chance.random(), chance.random(), chance.uniform(0.005, 0.6),
         chance.choice(["k1", "k2", "k3"])]
        for _ in range(count)
    ]  # fmt: skip
    row = case.longest()
    assert int(case.rollout.lengths[row]) > 5
    page = show(microscope(case, digits=digits))
    states = set()
    for setting, read in zip(settings, page.evaluate(DRIVE, settings), strict=True):
        expected = library_numbers(case, row, *read["set"], setting[4])
        shown = read["rows"]
        assert list(shown) == list(ROWS)
        held = [("held" in text) for text in shown["clip"]]
        assert held == [gradient == 0.0 for gradient in expected.pop("gradient")]
        states |= set(shown.pop("clip"))
        means, errors = zip(*(text.split("\n±") for text in shown["truth"]), strict=True)
        shown |= {"truth": list(means), "errors": list(errors)}
        for name, texts in shown.items():
            for text, value in zip(texts, expected[name], strict=True):
                assert len(text.partition(".")[2]) == digits
                assert abs(as_number(text) - value) <= 0.5 * 10**-digits + 1e-9, (name, read["set"])
                assert float(text.replace("−", "-")) != 0.0 or not text.startswith("−")
    assert states == {"in", "▲ held", "▼ held", "▲ free", "▼ free"}


def test_a_formula_lights_the_cells_that_it_is_made_from(case, show):
    page = show(microscope(case))
    last = int(case.rollout.lengths[case.longest()]) - 1
    parts = {
        ("kl", 1): {("old_log_prob", 1), ("ref_log_prob", 1)},
        ("reward", 1): {("kl", 1)},
        ("reward", last): {("kl", last)},  # and the score
        ("td_target", 1): {("reward", 1), ("value", 2)},
        ("td_target", last): {("reward", last)},
        ("delta", 1): {("reward", 1), ("value", 2), ("value", 1)},
        ("advantage", 1): {("delta", 1), ("advantage", 2)},
        ("advantage", last): {("delta", last)},
        ("return", 1): {("advantage", 1), ("value", 1)},
        ("ratio", 1): {("log_prob", 1), ("old_log_prob", 1)},
        ("clip", 1): {("ratio", 1), ("advantage", 1)},
        ("value", 1): set(),
    }
    for (row, token), wanted in parts.items():
        cell(page, row, token).click()
        assert lit(page) == wanted, row
        expect(cell(page, row, token)).to_have_attribute("aria-selected", "true")
        score = page.locator("button[data-row=score]")
        expect(score).to_have_attribute("data-lit", str((row, token) == ("reward", last)).lower())
        assert trait(page, "selected") == {"response": 0, "row": row, "token": token}
    page.locator("button[data-row=score]").click()
    expect(page.locator(".mr-tm-symbols")).to_have_text("clip(score, ±1.5000)")
    page.get_by_role("button", name="close").click()
    assert trait(page, "selected") is None and not lit(page)


def test_a_formula_has_the_numbers_of_now_in(case, show):
    page = show(microscope(case))
    cell(page, "advantage", 0).click()
    assert page.locator(".mr-tm-symbols").text_content() == "Â₀ = δ₀ + γλ·Â₁"
    page.evaluate(DRIVE, [[0.5, 0.5, 0.25, 0.2, "k1"]])
    x = library_numbers(case, case.longest(), 0.5, 0.5, 0.25, 0.2, "k1")

    def put(value: float) -> str:
        return f"{value:.4f}".replace("-", "−")

    def inside(value: float) -> str:
        return f"({put(value)})" if value < 0 else put(value)

    delta, now, later = x["delta"][0], x["advantage"][0], x["advantage"][1]
    sums = f"{inside(delta)} + 0.5000·0.2500·{inside(later)} = {put(now)}"
    assert page.locator(".mr-tm-sums").text_content() == sums


def test_the_keyboard_alone_is_enough(case, show):
    page = show(microscope(case))
    page.locator("thead th[data-token='0']").focus()
    for key in ["ArrowDown"] * 4 + ["ArrowRight"] * 2 + ["Enter"]:
        page.keyboard.press(key)
    assert trait(page, "selected") == {"response": 0, "row": "kl", "token": 2}
    assert "kl₂ = " in page.locator("[aria-live=polite]").text_content()
    page.keyboard.press("Escape")
    assert trait(page, "selected") is None
    page.keyboard.press("Home")
    page.keyboard.press("Alt+ArrowDown")
    assert row_names(page).index("kl") == 4
    assert "row 5 of 13" in page.locator("[aria-live=polite]").text_content()
    assert page.evaluate("document.activeElement.dataset.row") == "kl"
    page.keyboard.press("Alt+ArrowUp")
    assert row_names(page) == list(ROWS)
    page.keyboard.press("Delete")
    assert "kl" not in row_names(page) and trait(page, "hidden") == ["kl"]
    assert page.evaluate("document.activeElement.dataset.row") == "reward"
    page.keyboard.press("Control+End")
    assert page.evaluate("document.activeElement.dataset.row") == "clip"
    assert page.locator(".mr-tm table [tabindex='0']").count() == 1  # one stop for Tab
    for key in ("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End", "Control+Home"):
        for _ in range(30):  # no edge is fallen over
            page.keyboard.press(key)
        assert page.evaluate("document.activeElement.closest('table') !== null")
    missing = page.locator(".mr-tm [tabindex]:not([data-lm-suppress-shortcuts])").count()
    assert missing == 0  # else Jupyter's "d d" would delete the cell


def test_every_control_is_reached_by_tab(case, show):
    page = show(microscope(case))
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(({ name, tagName, textContent }) => name || textContent || tagName)"
                "(document.activeElement)"
            )
        )
    for wanted in ("kl_coef", "gamma", "lam", "clip_range", "k1", "rows", "csv"):
        assert wanted in reached, reached
    assert any(text.startswith("score") for text in reached)


def test_rows_are_moved_and_hidden_by_mouse(case, show):
    page = show(microscope(case))
    grip = page.locator("tbody th[data-row=kl] .mr-tm-grip")
    grip.hover()
    page.mouse.down()
    target = page.locator("tbody th[data-row=value]").bounding_box()
    page.mouse.move(target["x"] + 5, target["y"] + target["height"] / 2, steps=8)
    page.mouse.up()
    assert row_names(page)[3:6] == ["reward", "value", "kl"]
    assert trait(page, "order")[3:6] == ["reward", "value", "kl"]
    page.locator("tbody th[data-row=delta]").hover()
    page.locator("tbody th[data-row=delta] button").click()
    assert "delta" not in row_names(page)
    page.locator(".mr-tm summary").click()
    page.locator(".mr-tm-menu input[name=ratio]").uncheck()
    page.locator(".mr-tm-menu input[name=delta]").check()
    assert "ratio" not in row_names(page) and "delta" in row_names(page)
    assert trait(page, "hidden") == ["ratio"]


def test_a_row_shown_again_has_the_numbers_of_now(case, show):
    page = show(microscope(case, hidden=["advantage"]))
    page.evaluate(DRIVE, [[0.5, 0.5, 0.25, 0.2, "k1"]])
    assign(page, hidden=[])
    wanted = library_numbers(case, case.longest(), 0.5, 0.5, 0.25, 0.2, "k1")["advantage"][0]
    assert as_number(cell(page, "advantage", 0).text_content()) == pytest.approx(
        wanted, abs=0.00501
    )


def test_python_moves_everything_that_the_reader_can(case, show):
    page = show(microscope(case))
    assign(page, kl_coef=0.9, gamma=0.5, lam=0.25, clip_range=0.1, kl_estimator="k2")
    wanted = library_numbers(case, case.longest(), 0.9, 0.5, 0.25, 0.1, "k2")
    shown = as_number(cell(page, "return", 0).text_content())
    assert shown == pytest.approx(wanted["return"][0], abs=0.00501)
    assert page.locator("input[name=kl_coef]").input_value() == "0.9"
    assign(page, order=[*reversed(ROWS)], hidden=["value"], digits=4)
    assert row_names(page) == [name for name in reversed(ROWS) if name != "value"]
    assert len(cell(page, "return", 0).text_content().split(".")[1]) == 4
    assign(page, selected={"response": 0, "row": "reward", "token": 0})
    assert lit(page) == {("kl", 0)}
    slider = page.locator("input[name=gamma]")
    slider.focus()
    page.keyboard.press("Home")
    assert trait(page, "gamma") == 0 and "γ 0.000" in page.locator("[aria-live]").text_content()
    page.get_by_role("button", name="as in the rollout").click()
    assert (trait(page, "kl_coef"), trait(page, "gamma")) == (CONFIG.kl_coef, CONFIG.gamma)


def test_two_responses_side_by_side_follow_the_same_sliders(case, show):
    second = 0 if case.longest() else 1
    page = show(microscope(case, other=second))
    assert page.locator(".mr-tm table").count() == 2
    page.evaluate(DRIVE, [[0.5, 0.5, 0.25, 0.2, "k1"]])
    wanted = library_numbers(case, second, 0.5, 0.5, 0.25, 0.2, "k1")["advantage"]
    line = page.locator(".mr-tm table").nth(1).locator("td[data-row=advantage]")
    assert [as_number(x) for x in line.all_text_contents()] == pytest.approx(wanted, abs=0.00501)
    line.first.click()
    assert trait(page, "selected")["response"] == 1
    assert page.locator(".mr-tm table").nth(0).locator("[data-lit]").count() == 0
    page.locator(".mr-tm table").nth(0).locator("tbody th[data-row=kl]").focus()
    page.keyboard.press("Delete")
    assert row_names(page).count("kl") == 0  # in both


def test_pointing_at_a_token_shows_what_might_have_been_written(case, show):
    page = show(microscope(case))
    row, panel = case.longest(), page.locator(".mr-tm-alternatives")
    for token, reach in ((2, "hover"), (3, "focus")):
        getattr(page.locator(f"thead th[data-token='{token}']"), reach)()
        lists = panel.locator("ol").all()
        tops = (
            (case.rollout.top_ids, case.rollout.top_log_probs),
            case.reference_top,
        )
        for one, (ids, nats) in zip(lists, tops, strict=True):
            words = [TOKENIZER.decode([i]) for i in ids[row, token].tolist()]
            shown = one.locator("li bdi").all_text_contents()
            assert shown[: len(words)] == words
            shares = [float(x) for x in one.locator("li .mr-code").all_text_contents()]
            exact = nats[row, token].double().exp().tolist()
            assert shares[: len(words)] == pytest.approx(exact, abs=0.000501)
            written = one.locator(".mr-tm-chosen bdi").all_text_contents()
            assert written == [TOKENIZER.decode([int(case.rollout.response_ids[row, token])])]


def test_says_what_it_was_not_given(case, show):
    bare = replace(case.rollout, top_ids=None, top_log_probs=None)
    page = show(TokenMicroscope(bare, TOKENIZER, row=case.longest()))
    panel = page.locator(".mr-tm-alternatives")
    assert "alternatives=5" in panel.text_content()
    assert "reference_top" in panel.text_content()
    assert "truth" not in row_names(page)
    assert set(page.locator("td[data-row=ratio]").all_text_contents()) == {"1.00"}
    expect(page.locator(".mr-tm-differs")).to_contain_text("other settings")
    assert show(microscope(case)).locator(".mr-tm-differs").count() == 0


def test_copies_all_digits_as_csv(case, show):
    page = show(microscope(case, hidden=["ratio"]))
    page.evaluate("() => { navigator.clipboard.writeText = async (x) => { window.copied = x; } }")
    page.get_by_role("button", name="copy as CSV").click()
    lines = list(csv.DictReader(io.StringIO(page.evaluate("window.copied"), newline="")))
    row = case.longest()
    start = (CONFIG.kl_coef, CONFIG.gamma, CONFIG.lam, CONFIG.clip_range, "k1")
    wanted = library_numbers(case, row, *start)
    ids = case.rollout.response_ids[row].tolist()
    assert len(lines) == case.rollout.lengths[row]
    assert "ratio" not in lines[0] and lines[0]["score"] == str(float(case.rollout.scores[row]))
    for i, line in enumerate(lines):
        assert line["token"] == TOKENIZER.decode([ids[i]]) and line["t"] == str(i)
        for name in ("kl", "reward", "advantage", "return"):
            assert float(line[name]) == pytest.approx(wanted[name][i], rel=1e-12, abs=1e-15)
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(); }")
    page.get_by_role("button", name="copied").click()
    assert page.locator("textarea").input_value().startswith("response,t,token,score,")


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "</script><script>alert(3)</script>",
    "\u202eabc\u202c\u200f",
    "שלום",
    "🙂👩‍👩‍👧",
    "\x00\x07\x1b[31m\n\t\x7f",
    "",
    "x" * 200,
    "${alert(4)}",
    '=HYPERLINK("x")',
    "e" + "\u0301" * 30,
]


class Hostile:
    """A tokenizer whose words are meant to break a page."""

    def decode(self, ids: list[int]) -> str:
        return " ".join(HOSTILE[i % len(HOSTILE)] for i in ids)


def overflow(page: Page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def sticky(page: Page) -> tuple[float, float]:
    """Where the names of the rows stand before and after the table is scrolled to its end."""
    return tuple(
        page.evaluate("""() => {
      const [box, name] = [".mr-tm-scroll", "tbody th"].map((s) => document.querySelector(s));
      const before = name.getBoundingClientRect().left;
      box.scrollLeft = box.scrollWidth;
      if (box.scrollLeft < 20) throw new Error("nothing to scroll");
      return [before, name.getBoundingClientRect().left];
    }""")
    )


def test_hostile_tokens_are_text(case, show):
    rollout = stretched(case.rollout, 24)
    page = show(TokenMicroscope(rollout, Hostile(), config=CONFIG, other=1))  # type: ignore[arg-type]
    heads = page.locator(".mr-tm table").first.locator("thead bdi").all_text_contents()
    assert len(heads) == 24 and "∅" in "".join(heads)
    joined = "".join(heads)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u200f" for c in joined)
    assert page.locator(".mr-tm script, .mr-tm img").count() == 0
    for token in range(12):
        page.locator("thead th[data-token]").nth(token + 1).focus()
    widths = (
        page.locator(".mr-tm table")
        .first.locator("thead th[data-token]")
        .evaluate_all("ths => ths.slice(1).map((th) => th.getBoundingClientRect().width)")
    )
    assert max(widths) - min(widths) < 1 and overflow(page) <= 0
    before, after = sticky(page)
    assert before == after


def test_a_thousand_tokens(case, show):
    rollout = stretched(case.rollout, 1000)
    page = show(TokenMicroscope(rollout, TOKENIZER, config=CONFIG))
    assert page.locator("td[data-row=advantage]").count() == 1000
    assert overflow(page) <= 0
    before, after = sticky(page)
    assert before == after
    page.evaluate(DRIVE.replace("=> settings.map", "=> settings.slice(0, 1).map"),
                  [[0.5, 0.5, 0.25, 0.2, "k1"]])  # fmt: skip
    cell(page, "advantage", 998).click()
    assert lit(page) == {("delta", 998), ("advantage", 999)}
    box = page.locator(".mr-tm-scroll").bounding_box()
    assert box["width"] <= 1100 and box["height"] < 500


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [800, 1100])
def test_reads_at_800_pixels_in_both_themes(case, show, tmp_path, dark, width):
    page = show(microscope(case), dark=dark)
    page.set_viewport_size({"width": width, "height": 900})
    assert overflow(page) <= 0
    cut = page.locator(".mr-tm td[data-row=truth], .mr-tm td[data-row=advantage]").evaluate_all(
        "cells => cells.filter((c) => c.scrollWidth > c.clientWidth).map((c) => c.textContent)"
    )
    assert cut == []
