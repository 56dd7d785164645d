"""The reward builder in a browser: every step shows the library's numbers."""

import random

import pytest
from browser.microscope_rollouts import CONFIG, Case, make_case, stretched
from playwright.sync_api import Page, expect
from tiny_models import TOKENIZER

from minirlhf import Rollout
from minirlhf.kl import per_token_kl
from minirlhf.rewards import per_token_rewards
from minirlhf.widgets.reward_builder import RewardBuilder

DRIVE = """(settings) => settings.map(([set, estimator, ended]) => {
  for (const name of Object.keys(set)) {
    const input = document.querySelector(`input[name=${name}]`);
    input.value = set[name];
    input.dispatchEvent(new Event("input", { bubbles: true }));
    set[name] = input.valueAsNumber;
  }
  document.querySelector(`button[data-key=${estimator}]`).click();
  if (document.querySelector("input[name=ended]").checked !== ended)
    document.querySelector("input[name=ended]").click();
  const texts = (row) => [...document.querySelectorAll(`tr[data-row=${row}] td`)]
    .map((cell) => cell.textContent);
  return { set, kl: texts("kl"), toll: texts("toll"), reward: texts("reward"),
    sum: document.querySelector(".mr-rb-sum").textContent };
})"""


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


def as_number(text: str) -> float:
    return float(text.replace("−", "-"))


def texts_of(page: Page, row: str) -> list[str]:
    return page.locator(f"tr[data-row={row}] td").all_text_contents()


def one(rollout: Rollout, row: int) -> Rollout:
    return rollout.select(rollout.kl.new_tensor([row]).long())


def test_every_number_is_the_library_s(case, show):
    chance = random.Random(0)
    settings = [
        [
            {
                "kl_coef": chance.random(),
                "score": chance.uniform(-10, 10),
                "score_clip": chance.uniform(0.05, 10),
                "missing_eos_penalty": chance.uniform(0, 5),
            },
            chance.choice(["k1", "k2", "k3"]),
            chance.random() < 0.5,
        ]
        for _ in range(80)
    ]
    row = case.longest()
    page = show(RewardBuilder(case.rollout, TOKENIZER, config=CONFIG, row=row, step=4))
    same = one(case.rollout, row)
    old, ref = same.old_log_probs.double(), same.ref_log_probs.double()
    mask = same.response_mask
    for (_, estimator, ended), read in zip(settings, page.evaluate(DRIVE, settings), strict=True):
        now = read["set"]
        kl = per_token_kl(old, ref, estimator=estimator)
        paid = old.new_tensor([now["score"] - (0 if ended else now["missing_eos_penalty"])])
        rewards = per_token_rewards(
            paid, kl, mask, kl_coef=now["kl_coef"], score_clip=now["score_clip"]
        )
        wanted = {"kl": kl, "toll": -now["kl_coef"] * kl, "reward": rewards}
        for name, values in wanted.items():
            shown = [as_number(text) for text in read[name]]
            assert shown == pytest.approx(values[mask].tolist(), abs=0.005 + 1e-9), name
        total = as_number(read["sum"].rsplit("= ", 1)[1])
        assert total == pytest.approx(float(rewards[mask].sum()), abs=0.005 + 1e-9)


def test_goes_through_five_steps_by_keyboard(case, show):
    page = show(RewardBuilder(case.rollout, TOKENIZER, config=CONFIG, row=case.longest()))
    page.get_by_role("radio", name="1 log-probs").focus()
    filled = []
    for step in range(5):
        expect(page.locator("[aria-live]").first).to_contain_text(f"Step {step + 1} of 5")
        filled.append([row for row in ("kl", "toll", "reward") if "" not in texts_of(page, row)])
        assert (page.locator(".mr-rb-score").text_content() != "") == (step >= 3)
        page.keyboard.press("ArrowRight")
    assert filled == [[], ["kl"], ["kl", "toll"], ["kl", "toll"], ["kl", "toll", "reward"]]


def test_starts_as_in_the_rollout_and_goes_back_to_it(case, show):
    for row in range(len(case.rollout.kl)):
        page = show(RewardBuilder(case.rollout, TOKENIZER, config=CONFIG, row=row, step=4))
        length = int(case.rollout.lengths[row])
        wanted = case.rollout.rewards[row, :length].tolist()
        assert [as_number(x) for x in texts_of(page, "reward")] == pytest.approx(wanted, abs=0.0051)
    page.locator("input[name=kl_coef]").fill("1")
    page.get_by_role("radio", name="k3").click()
    page.get_by_role("button", name="as in the rollout").click()
    assert [as_number(x) for x in texts_of(page, "reward")] == pytest.approx(wanted, abs=0.0051)
    page.evaluate("minirlhfModels[0].set('score_clip', null)")
    expect(page.locator(".mr-rb-score")).not_to_contain_text("clip")


def test_a_long_response_scrolls_inside(case, show):
    rollout = stretched(case.rollout, 1000)
    page = show(RewardBuilder(rollout, TOKENIZER, config=CONFIG, step=4), dark=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len(texts_of(page, "reward")) == 1000
