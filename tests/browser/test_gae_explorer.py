"""The GAE explorer in a browser: the shares are the library's, and they add up to Â_t."""

import random

import pytest
from browser.microscope_rollouts import CONFIG, Case, make_case
from playwright.sync_api import expect
from tiny_models import TOKENIZER

from minirlhf.advantages import gae
from minirlhf.widgets.gae_explorer import GAEExplorer

DRIVE = """(settings) => settings.map((set) => {
  for (const name of Object.keys(set)) {
    const input = document.querySelector(`input[name=${name}]`);
    input.value = set[name];
    input.dispatchEvent(new Event("input", { bubbles: true }));
    set[name] = input.valueAsNumber;
  }
  const texts = (row) => [...document.querySelectorAll(`tr[data-row=${row}] td`)]
    .map((cell) => cell.textContent);
  return { set, delta: texts("delta"), weight: texts("weight"), share: texts("share"),
    total: texts("total"), sum: document.querySelector(".mr-strip-sum").textContent };
})"""


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


def numbers(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-")) for text in texts]


def test_the_shares_add_up_to_the_library_s_advantage(case, show):
    row, chance = case.longest(), random.Random(0)
    length = int(case.rollout.lengths[row])
    settings = [
        {"gamma": chance.random(), "lam": chance.random(), "token": chance.randrange(length)}
        for _ in range(60)
    ] + [{"gamma": 1, "lam": 1, "token": 0}, {"gamma": 1, "lam": 0, "token": 1}]
    page = show(GAEExplorer(case.rollout, TOKENIZER, config=CONFIG, row=row))
    rewards = case.rollout.rewards[row : row + 1, :length].double()
    values = case.rollout.old_values[row : row + 1, :length].double()
    mask = rewards == rewards
    near = {"abs": 0.005 + 1e-9}
    for read in page.evaluate(DRIVE, settings):
        gamma, lam, token = read["set"].values()
        advantages, returns = gae(rewards, values, mask, gamma=gamma, lam=lam)
        deltas, _ = gae(rewards, values, mask, gamma=gamma, lam=0.0)
        assert numbers(read["delta"]) == pytest.approx(deltas[0].tolist(), **near)
        assert set(read["share"][:token]) <= {""}
        # what one δ adds: the advantage with it, less the advantage without it
        shares = [float((gamma * lam) ** i * deltas[0, token + i]) for i in range(length - token)]
        assert numbers(read["share"][token:]) == pytest.approx(shares, **near)
        assert float(advantages[0, token]) == pytest.approx(sum(shares))
        assert numbers(read["total"][-1:]) == pytest.approx([float(advantages[0, token])], **near)
        assert f"= {read['total'][-1]};" in read["sum"]
        assert read["sum"].endswith(f"= {float(returns[0, token]):.2f}".replace("-", "−"))


def test_says_what_the_two_ends_of_lambda_mean(case, show):
    page = show(GAEExplorer(case.rollout, TOKENIZER, config=CONFIG, row=case.longest()))
    said = page.locator(".mr-note").last
    for gamma, lam, words in ((1, 0, "λ = 0"), (1, 1, "all the reward still to come")):
        page.evaluate(DRIVE, [{"gamma": gamma, "lam": lam, "token": 0}])
        expect(said).to_contain_text(words)
    page.evaluate(DRIVE, [{"gamma": 1, "lam": 0.5, "token": 0}])
    expect(said).to_contain_text("After 1.0 tokens")


def test_a_click_on_a_column_and_python_choose_the_token(case, show):
    page = show(GAEExplorer(case.rollout, TOKENIZER, config=CONFIG, row=case.longest()), dark=True)
    page.locator("tr[data-row=delta] td").nth(2).click()
    assert page.evaluate("minirlhfModels[0].get('token')") == 2
    expect(page.locator("thead th").nth(3)).to_have_attribute("data-lit", "true")
    page.evaluate("minirlhfModels[0].set('token', 1)")
    assert page.locator("input[name=token]").input_value() == "1"
    page.locator("input[name=lam]").focus()
    page.keyboard.press("Home")
    assert page.evaluate("minirlhfModels[0].get('lam')") == 0
    page.get_by_role("button", name="as in the rollout").click()
    assert page.evaluate("minirlhfModels[0].get('lam')") == CONFIG.lam
