"""The labeler in a browser: mouse, keys, undo, agreement, the result, hostile text."""

import random

import pytest

from minirlhf import PPOConfig
from minirlhf.labelling import Labels, Question, make_questions
from minirlhf.widgets.preference_labeler import PreferenceLabeler
from minirlhf.worlds.cafe import PROMPTS, recipe, write_review
from minirlhf.worlds.cafe.your_taste import likes_gold

HOSTILE = "<script>alert(1)</script> \u202eabc <img src=x onerror=alert(2)> " + "x" * 200
LIVE = """() => { const m = minirlhfModels[0]; window.sent = []; m.widget_manager = {};
  m.send = (content) => sent.push(content.do); m.set("state", m.get("state")); }"""


@pytest.fixture(scope="module")
def actor():
    return recipe.load_shipped("cpu")[0]


@pytest.fixture
def labeler(actor):
    rng = random.Random(0)
    pairs = [(p, write_review(rng, p)[1], write_review(rng, p)[1]) for p in PROMPTS[:10]]
    return PreferenceLabeler(actor, questions=make_questions(pairs, repeats=3), ppo=PPOConfig())


def trait(page, name):
    return page.evaluate("(name) => minirlhfModels[0].get(name)", name)


def put(page, **traits):
    page.evaluate(
        "(t) => Object.entries(t).forEach(([k, v]) => minirlhfModels[0].set(k, v))", traits
    )


def test_chooses_with_the_mouse_and_with_keys_and_takes_back(show, labeler):
    page = show(labeler)
    first = labeler.labels.questions[0]
    assert page.locator(".mr-prompt bdi").first.inner_text() == first.prompt
    assert first.left in page.locator("button[name=left]").inner_text()
    page.locator("button[name=right]").click()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    assert trait(page, "choices") == ["right", "left", "right"]
    assert "3 of 13 labelled" in page.locator(".mr-labeler").inner_text()
    page.keyboard.press("Backspace")
    page.locator("button[name=undo]").click()
    assert trait(page, "choices") == ["right"]
    assert page.locator("[aria-live]").last.inner_text() == "undone; now 1 of 13"
    question = labeler.labels.questions[1]
    assert question.left in page.locator("button[name=left]").get_attribute("aria-label")


def test_everything_by_keyboard_alone(show, labeler):
    page = show(labeler)
    page.evaluate(LIVE)
    page.keyboard.press("Tab")
    for _ in range(13):
        page.keyboard.press("ArrowLeft")
    assert trait(page, "choices") == ["left"] * 13
    assert page.evaluate("document.activeElement.name") == "train"
    page.keyboard.press("Enter")
    assert page.evaluate("sent") == ["train"]
    assert page.evaluate(
        "[...document.querySelectorAll('.mr button')]"
        ".every((b) => b.dataset.lmSuppressShortcuts === 'true')"
    )


def test_agreement_is_what_python_counts(show, labeler):
    page, rng = show(labeler), random.Random(1)
    for _ in range(20):
        choices = [rng.choice(["left", "right"]) for _ in range(rng.randint(0, 13))]
        put(page, choices=choices)
        labels = Labels(labeler.labels.questions)
        labels.take(choices)
        gold, self_ = labels.agreement_with(likes_gold), labels.agreement_with_self()
        text = page.locator("[data-agreement=gold]").inner_text()
        assert text == f"agreement with gold: {gold.same} of {gold.of}"
        text = page.locator("[data-agreement=self]").inner_text()
        assert text == f"with your earlier self: {self_.same} of {self_.of}"


def test_a_page_without_python_labels_but_does_not_train(show, labeler):
    page = show(labeler)
    assert page.locator("button[name=train]").is_disabled()
    assert "no Python" in page.get_by_role("note").inner_text()
    page.locator("button[name=left]").press("ArrowLeft")
    assert trait(page, "choices") == ["left"]


def test_shows_how_training_goes_and_takes_no_answers_meanwhile(show, labeler):
    page = show(labeler)
    page.evaluate(LIVE)
    assert page.get_by_label("share of the training done").count() == 0 or not (
        page.get_by_label("share of the training done").is_visible()
    )
    put(page, state="training", doing="ppo", step=170, total=175)
    assert "PPO on that reward model, step 170 of 175" in page.locator(".mr").inner_text()
    assert page.locator("button[name=left]").is_disabled()
    assert page.locator("button[name=train]").is_disabled()
    put(page, state="failed", error="ValueError: <b>no</b>")
    assert page.get_by_role("alert").inner_text() == "ValueError: <b>no</b>"


def answer(text, score, judged):
    return {"prompt": "review :", "text": text, "score": score, "judged": judged, "ended": True}


RESULT = {
    "same": 20, "of": 24, "scores": [-0.004, 1.5], "judged": [0.0, -1.0],
    "before": [answer("plain", 0.0, 1.2)], "after": [answer(HOSTILE, 1.234, -3.0)],
    "fooled": [answer("rude but loved", 1.5, -3.0), answer("kind", -0.5, 1.2)],
}  # fmt: skip


def test_shows_before_and_after_and_asks_about_the_answer_that_fools(show, labeler):
    page = show(labeler)
    put(page, result=RESULT, simulated_answers=13, state="done")
    text = page.locator(".mr-result").inner_text()
    assert "20 of 24" in text and "from 0.00 to 1.50" in text and "score 1.23" in text
    assert "13 of the 13 labels come from a simulated labeller" in text
    assert "likes the left answer better by 2.00" in text and "better by 4.20" in text
    assert "trained" in page.locator("[aria-live]").last.inner_text()
    page.locator("button[name=verdict_right]").press("Enter")
    assert page.evaluate("document.activeElement.name") == "verdict_right"  # and can go on
    assert trait(page, "verdict") == "right"
    assert "you do not" in page.locator(".mr-verdict").inner_text()
    assert page.locator("button[name=verdict_right]").get_attribute("aria-pressed") == "true"
    put(page, verdict="left")
    assert "knows your taste" in page.locator(".mr-verdict").inner_text()
    put(page, result={**RESULT, "fooled": []})
    assert "No answer was found" in page.locator(".mr-result").inner_text()


@pytest.mark.parametrize("dark", [False, True])
def test_hostile_answers_are_text_and_the_layout_holds(show, actor, dark):
    questions = [Question("review \u202e<b>", HOSTILE, "🍜 " * 30), Question("p", "a" * 900, "b")]
    labeler = PreferenceLabeler(actor, questions=questions)
    labeler.result = RESULT
    page = show(labeler, dark=dark)
    page.set_viewport_size({"width": 800, "height": 900})
    for _ in range(2):
        shown = page.locator(".mr-labeler").inner_text()
        assert "\u202e" not in shown and page.evaluate("document.body.scrollWidth <= innerWidth")
        page.locator("button[name=left]").click()
    assert page.locator(".mr img, .mr script, .mr b").count() == 0
    assert "<script>alert(1)</script>" in page.locator(".mr-result").inner_text()
