"""The KL explorer in a real browser: every number is that of `per_token_kl` and torch autograd."""

import random

import pytest
import torch

from minirlhf import per_token_kl
from minirlhf.widgets.kl_explorer import ROWS, KLExplorer

TOKENS = ["kind", "warm", "rude", "."]


def shown(text: str) -> float:
    return float(text.replace("−", "-"))


def row(page, name: str) -> list[float]:
    cells = page.locator(f"tr[data-row={name}] >> nth=0").locator(".mr-value").all_inner_texts()
    return [shown(text) for text in cells]


def gradients(actor: list[float], reference: list[float]) -> dict[str, list[float]]:
    """All eight rows by autograd alone, each written as its definition."""
    z = torch.tensor([actor], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor([reference], dtype=torch.float64).log_softmax(-1)

    def slope(loss) -> list[float]:
        log_pi = z.log_softmax(-1)
        return torch.autograd.grad(loss(log_pi, log_pi.detach().exp()), z)[0][0].tolist()

    found = {
        "kl": slope(lambda lp, pi: (lp.exp() * (lp - ref)).sum()),
        "reverse_kl": slope(lambda lp, pi: (ref.exp() * (ref - lp)).sum()),
    }
    for k in ("k1", "k2", "k3"):
        found[f"reward_{k}"] = slope(
            lambda lp, pi, k=k: (pi * per_token_kl(lp, ref, estimator=k).detach() * lp).sum()
        )
        found[f"loss_{k}"] = slope(
            lambda lp, pi, k=k: (pi * per_token_kl(lp, ref, estimator=k)).sum()
        )
    return found


def check(page, actor: list[float], reference: list[float]) -> None:
    lp = torch.tensor([actor], dtype=torch.float64).log_softmax(-1)
    ref = torch.tensor([reference], dtype=torch.float64).log_softmax(-1)
    near = pytest.approx
    assert row(page, "actor") == near(lp.exp()[0].tolist(), abs=5.1e-4)
    assert row(page, "reference") == near(ref.exp()[0].tolist(), abs=5.1e-4)
    for name in ("k1", "k2", "k3"):
        k = per_token_kl(lp, ref, estimator=name)
        assert row(page, name) == near(k[0].tolist(), abs=5.1e-4), name
        mean = shown(page.locator(f"tr[data-row={name}] .mr-mean").inner_text())
        assert mean == near(float((lp.exp() * k).sum()), abs=5.1e-4), name
    for name, wanted in gradients(actor, reference).items():
        cells = page.locator(f"tr[data-row={name}] .mr-value").all_inner_texts()
        assert [shown(text) for text in cells] == near(wanted, abs=5.1e-4), name
    text = page.locator("[aria-live=polite]").inner_text()
    kl = float((lp.exp() * (lp - ref)).sum())
    assert f"KL(π‖ref) {kl:.3f}," in text.replace("−", "-")


def matches(page) -> dict[str, str]:
    cells = {name: page.locator(f"tr[data-row={name}][data-match]") for name in ROWS}
    return {name: cell.get_attribute("data-match") for name, cell in cells.items()}


@pytest.mark.parametrize("dark", [False, True])
def test_renders_in_both_themes(show, dark, tmp_path):
    page = show(KLExplorer(tokens=TOKENS), dark=dark)
    assert page.locator("rect.mr-actor").count() == 5  # four tokens and the legend
    page.screenshot(path=tmp_path / "shot.png")
    page.set_viewport_size({"width": 800, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 800


@pytest.mark.parametrize("by", ["probabilities", "logits"])
def test_numbers_are_autograds_at_random_settings(show, by):
    page = show(KLExplorer(tokens=TOKENS, by=by))
    draw = random.Random(0)
    for i in range(25):
        page.evaluate(f"minirlhfModels[0].set('moves', '{draw.choice(['actor', 'reference'])}')")
        place = draw.randrange(4)
        value = draw.randint(-40, 40) / 10 if by == "logits" else draw.randint(2, 95) / 100
        slider = page.locator(f"input[name=token{place}]")
        slider.evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input'));"
            " e.dispatchEvent(new Event('change')); }",
            value,
        )
        traits = [page.evaluate(f"minirlhfModels[0].get('{n}')") for n in ("actor", "reference")]
        moved = page.evaluate("minirlhfModels[0].get(minirlhfModels[0].get('moves'))")
        is_now = moved if by == "logits" else torch.tensor(moved).softmax(-1).tolist()
        assert is_now[place] == pytest.approx(value, abs=0.001), i
        check(page, *traits)


def test_says_which_gradient_it_is(show):
    page = show(KLExplorer(tokens=TOKENS))
    assert matches(page) == {
        "kl": "exact", "reverse_kl": "exact",
        "reward_k1": "kl", "reward_k2": "none", "reward_k3": "difference",
        "loss_k1": "zero", "loss_k2": "kl", "loss_k3": "reverse_kl",
    }  # fmt: skip
    page.get_by_role("button", name="actor = reference").click()
    assert set(matches(page).values()) == {"exact", "zero"}


def test_the_words_agree_with_python(show):
    widget = KLExplorer(tokens=TOKENS)
    page = show(widget)
    found = widget.numbers()
    for name in ROWS:
        cell = page.locator(f"tr[data-row={name}] td.mr-match").inner_text()
        assert cell == widget.equal_to(name, found)


def test_keyboard_reaches_and_moves_everything(show):
    page = show(KLExplorer(tokens=TOKENS))
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("minirlhfModels[0].get('moves')") == "reference"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("minirlhfModels[0].get('by')") == "logits"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    for place in range(4):
        assert page.evaluate("document.activeElement.name") == f"token{place}"
        before = page.locator("[aria-live=polite]").inner_text()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        assert page.locator("[aria-live=polite]").inner_text() != before
        page.keyboard.press("Tab")


def test_python_moves_it_and_text_stays_text(show):
    widget = KLExplorer(tokens=["<img src=x onerror=alert(1)>", "‮right", "😀", "x" * 200])
    page = show(widget)
    assert page.locator(".mr-kl img").count() == 0
    page.evaluate("minirlhfModels[0].set('actor', [0, 1, 2, 3])")
    check(page, [0.0, 1.0, 2.0, 3.0], list(widget.reference))
    assert page.evaluate("document.documentElement.scrollWidth") <= 1100


def test_high_contrast_keeps_its_lines(show):
    page = show(KLExplorer())
    page.emulate_media(forced_colors="active", color_scheme="dark")
    fill = page.locator(".mr-kl svg").first.evaluate("e => getComputedStyle(e).fill")
    back = page.locator(".mr-kl").evaluate("e => getComputedStyle(e).backgroundColor")
    assert fill != back


def test_no_word_is_missing(show):
    page = show(KLExplorer())
    assert "kl_explorer." not in page.locator(".mr").inner_html()
