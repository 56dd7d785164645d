"""The live picture of the four models in a real browser: every step, every number, every key."""

import json

import pytest
from tiny_models import four_roles, four_trainer

from minirlhf.masks import masked_mean, masked_whiten
from minirlhf.widgets.four_models_live import FourModels, StageScrubber
from minirlhf.widgets.picture import number


@pytest.fixture(scope="module")
def trainer():
    settings = {"max_response_tokens": 12, "kl_coef": 0.3, "minibatch_size": 2, "ppo_epochs": 2}
    return four_trainer(four_roles(), **settings)


@pytest.fixture(scope="module")
def record(trainer):
    return next(iter(trainer))


def digits(x: float, n: int) -> str:
    text = f"{x:.{n}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


@pytest.mark.parametrize("dark", [False, True])
def test_renders_in_both_themes(show, trainer, record, dark, tmp_path):
    widget = FourModels(trainer, record)
    widget.step = 7
    page = show(widget, dark=dark)
    assert page.locator(".mr-model").count() == 4
    page.screenshot(path=tmp_path / "shot.png")
    box = page.locator(".mr-map").bounding_box()
    assert box and box["width"] > 700 and box["x"] + box["width"] <= 1100


def test_all_nine_steps_by_keyboard(show, trainer, record):
    widget = FourModels(trainer, record)
    page = show(widget)
    page.locator(".mr-choices >> nth=1").locator("[aria-checked=true]").focus()
    for step in range(1, 10):
        page.keyboard.press("ArrowRight")
        widget.step = step
        said = page.locator("[aria-live=polite]").inner_text()
        assert said.startswith(f"Step {step} of 9: ")
        assert said.endswith(widget.sentence(step))
        lit = page.locator(".mr-map .mr-lit[data-arrow]")
        shown = {int(lit.nth(i).get_attribute("data-arrow")) for i in range(lit.count())}
        assert shown == set(widget._steps[step - 1]["arrows"])
    page.get_by_role("button", name="‹ back").focus()
    page.keyboard.press("Enter")
    assert "Step 8 of 9" in page.locator("[aria-live=polite]").inner_text()


def test_numbers_are_the_rollouts(show, trainer, record):
    rollout, mask = record.rollout, record.rollout.response_mask
    widget = FourModels(trainer, record)
    page = show(widget)
    row = 2
    page.evaluate(f"minirlhfModels[0].set('row', {row})")
    seen = set()
    for step in range(1, 10):
        page.evaluate(f"minirlhfModels[0].set('step', {step})")
        for name, *_ in widget._steps[step - 1]["badges"]:
            seen.add(name)
            badge = page.locator(f".mr-badge[data-field={name}]").text_content()
            cells = page.locator(f"tr[data-field={name}] .mr-value").all_text_contents()
            if name in ("actor_loss", "critic_loss"):
                assert f"mean {digits(record.metrics[name], 4)}" in badge
                continue
            if name == "used_advantages":
                x = masked_whiten(rollout.advantages, mask)
            else:
                x = getattr(rollout, name)
            assert f"({', '.join(map(str, x.shape))}" in badge
            if name.endswith("_ids"):
                continue
            counted = mask if x.dim() == 2 else x == x
            assert badge.endswith(f"mean {digits(float(masked_mean(x.double(), counted)), 3)}")
            length = int(rollout.lengths[row])
            if x.dim() == 2:
                assert cells == [number(v) for v in x[row, :length].tolist()]
            else:
                assert cells == [*[""] * (length - 1), number(float(x[row]))]
    assert seen == set(widget._quantities) - {"returns"}


def test_a_number_of_the_whole_response_stands_under_its_last_token(show, trainer, record):
    widget = FourModels(trainer, record)
    widget.step = 4
    page = show(widget)
    heads = page.locator("th.mr-token").count()
    assert heads == page.locator("tr[data-field=scores] .mr-value").count()
    assert heads == int(record.rollout.lengths[0])


def test_says_the_metrics(show, trainer, record):
    page = show(FourModels(trainer, record))
    page.evaluate("minirlhfModels[0].set('step', 8)")
    said = page.locator("[aria-live=polite]").inner_text()
    for name, n in (("actor_loss", 4), ("ratio_mean", 4), ("actor_grad_norm", 3)):
        assert digits(record.metrics[name], n) in said, name
    assert "4 optimiser steps" in said


def test_stages_scrub_by_keyboard(show, trainer):
    page = show(StageScrubber(trainer))
    page.locator(".mr-choices >> nth=0").locator("[aria-checked=true]").focus()
    trained = {"sft": ["Actor"], "reward": ["RewardModel"], "ppo": ["Actor", "Critic"]}
    for stage, names in trained.items():
        assert page.evaluate("minirlhfModels[0].get('stage')") == stage
        found = page.locator(".mr-map .mr-trained")
        places = [found.nth(i).get_attribute("data-place") for i in range(found.count())]
        assert places == names
        assert page.locator(".mr-gradient").count() == len(names)
        assert page.locator("th.mr-now").count() == 1
        page.keyboard.press("ArrowRight")


def test_you_are_here(show):
    page = show(FourModels(here=["Critic", "target"]))
    assert page.locator(".mr-flag").count() == 2
    assert page.locator("[aria-live=polite]").inner_text() == "you are here: Critic, target"
    assert not page.locator(".mr-choices >> nth=1").is_visible()


def test_without_a_record_it_shows_letters_and_no_numbers(show):
    widget = FourModels()
    widget.step = 3
    page = show(widget)
    assert page.locator(".mr-badge[data-field=kl]").text_content() == "kl (B, R)"
    assert page.locator("td.mr-value").count() == 0


def test_tells_whoever_really_trains(show):
    four = four_roles()
    trainer = four_trainer(four)
    four.actor.freeze()
    page = show(FourModels(trainer))
    assert page.locator(".mr-map .mr-trained").count() == 1
    assert page.locator(".mr-gradient").count() == 1
    label = page.locator(".mr-map").get_attribute("aria-label")
    count = sum(p.numel() for p in four.actor.parameters())
    assert f"Actor: frozen, {count:,} parameters" in label


def test_text_of_the_data_stays_text(show, trainer, record):
    widget = FourModels(trainer, record)
    facts = json.loads(json.dumps(widget.facts))
    nasty = "<img src=x onerror=alert(1)>"
    facts["rows"][0] = {"prompt": nasty, "tokens": [nasty] * len(facts["rows"][0]["tokens"])}
    widget.facts, widget.step = facts, 3
    page = show(widget)
    assert page.locator(".mr-four img").count() == 0
    assert "<img" in page.locator("th.mr-token").first.text_content()


@pytest.mark.parametrize("width", [800])
def test_nothing_sticks_out_at_800_pixels(show, trainer, record, width):
    widget = FourModels(trainer, record)
    page = show(widget)
    page.set_viewport_size({"width": width, "height": 900})
    for step in range(10):
        page.evaluate(f"minirlhfModels[0].set('step', {step})")
        page.wait_for_timeout(20)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_high_contrast_keeps_its_lines(show, trainer, record):
    page = show(FourModels(trainer, record))
    page.emulate_media(forced_colors="active", color_scheme="dark")
    fill = page.locator(".mr-four svg").first.evaluate("e => getComputedStyle(e).fill")
    back = page.locator(".mr-four").evaluate("e => getComputedStyle(e).backgroundColor")
    assert fill != back


def test_no_word_is_missing(show, trainer, record):
    page = show(FourModels(trainer, record))
    for stage in ("sft", "reward", "ppo"):
        for mode in ("steps", "stages", "here"):
            for step in range(10):
                settings = {"stage": stage, "mode": mode, "step": step}
                page.evaluate(
                    "s => Object.entries(s).forEach(([k, v]) => minirlhfModels[0].set(k, v))",
                    settings,
                )
                assert "four_models." not in page.locator(".mr").inner_html(), settings
