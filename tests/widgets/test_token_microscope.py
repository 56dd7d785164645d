"""The microscope from Python: its traits, what it sends, what it refuses, its static picture."""

import base64
import json
from dataclasses import fields, replace

import pytest
import torch
import traitlets
from tiny_models import TOKENIZER, four_roles, four_trainer

from minirlhf import PPOConfig, Rollout
from minirlhf.config import ReinforceConfig
from minirlhf.monte_carlo import MonteCarloValues
from minirlhf.widgets.live import strings
from minirlhf.widgets.picture import number
from minirlhf.widgets.token_microscope import ROWS, TokenMicroscope
from minirlhf.widgets.token_rows import json_numbers, recompute

CONFIG = PPOConfig(kl_coef=0.3, gamma=0.9, lam=0.8)


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    trainer = four_trainer(
        four_roles(), max_response_tokens=20, kl_coef=0.3, gamma=0.9, lam=0.8, clip_range=0.1
    )
    return next(iter(trainer)).rollout


def sent(widget: TokenMicroscope, which: int = 0) -> dict:
    return widget._responses[which]


def test_starts_at_the_settings_of_the_run(rollout):
    widget = TokenMicroscope(rollout, TOKENIZER, config=replace(CONFIG, clip_range=0.1))
    assert (widget.kl_coef, widget.gamma, widget.lam, widget.clip_range) == (0.3, 0.9, 0.8, 0.1)
    assert widget.kl_estimator == "k1" and not sent(widget)["differs"]
    free = TokenMicroscope(rollout, TOKENIZER, config=ReinforceConfig())
    assert free.lam == 1.0
    assert TokenMicroscope(rollout, TOKENIZER, kl_coef=0.7, hidden=["kl"]).kl_coef == 0.7


def test_says_when_the_rollout_s_own_numbers_are_others(rollout):
    assert sent(TokenMicroscope(rollout, TOKENIZER))["differs"] > 1e-3
    broken = replace(rollout, rewards=rollout.rewards + 0.25)
    found = sent(TokenMicroscope(broken, TOKENIZER, config=CONFIG))["differs"]
    assert found == pytest.approx(0.25, abs=1e-4)


def test_the_formulas_give_the_rollout_s_own_numbers(rollout):
    settings = TokenMicroscope(rollout, TOKENIZER, config=CONFIG).settings()
    again, mask = recompute(rollout, settings), rollout.response_mask
    for name in ("kl", "rewards", "td_target", "advantages", "returns"):
        ours, theirs = getattr(again, name)[mask], getattr(rollout, name)[mask]
        assert torch.allclose(ours, theirs.double(), atol=1e-5), name


def test_sends_the_chosen_responses_and_no_more(rollout):
    widget = TokenMicroscope(rollout, TOKENIZER, config=CONFIG, row=-1)
    assert [one["row"] for one in widget._responses] == [rollout.kl.shape[0] - 1]
    widget.other = 1
    assert [one["row"] for one in widget._responses] == [rollout.kl.shape[0] - 1, 1]
    widget.row = 2
    length = int(rollout.lengths[2])
    assert sent(widget)["old_log_prob"] == rollout.old_log_probs[2, :length].double().tolist()
    assert sent(widget)["ids"] == rollout.response_ids[2, :length].tolist()
    widget.other = None
    assert len(widget._responses) == 1


def test_another_response_closes_the_open_cell(rollout):
    cell = {"response": 0, "row": "kl", "token": 0}
    widget = TokenMicroscope(rollout, TOKENIZER, config=CONFIG, selected=cell)
    assert widget.selected == cell
    widget.row = 1
    assert widget.selected is None


def test_the_rollout_may_change_afterwards(rollout):
    own = replace(rollout, old_values=rollout.old_values.clone())
    log_probs = own.old_log_probs.clone().requires_grad_()
    widget = TokenMicroscope(own, TOKENIZER, config=CONFIG, log_probs=log_probs)
    before = sent(widget)["value"]
    own.old_values.zero_()
    widget.row = 1
    widget.row = 0
    assert sent(widget)["value"] == before and any(before)
    assert log_probs.grad is None and log_probs.requires_grad


def test_touches_no_random_number_and_no_tensor(rollout):
    names = [f.name for f in fields(rollout) if getattr(rollout, f.name) is not None]
    state = torch.get_rng_state()
    copies = {name: getattr(rollout, name).clone() for name in names}
    repr(TokenMicroscope(rollout, TOKENIZER, config=CONFIG))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(getattr(rollout, name), copies[name]) for name in names)


def test_nan_and_infinity_are_fit_for_json():
    numbers = json_numbers(torch.tensor([0.5, float("nan"), float("inf"), -float("inf")]))
    assert numbers == [0.5, None, "Infinity", "-Infinity"]


def test_padding_is_never_sent(rollout):
    dirty = replace(
        rollout, old_values=rollout.old_values.masked_fill(~rollout.response_mask, float("nan"))
    )
    row = int(rollout.lengths.argmin())
    assert int(rollout.lengths[row]) < rollout.kl.shape[1]
    widget = TokenMicroscope(dirty, TOKENIZER, config=CONFIG, row=row)
    text = json.dumps(widget._responses, allow_nan=False)
    assert len(sent(widget)["value"]) == rollout.lengths[row] and "null, null" not in text
    assert None not in sent(widget)["value"] and not sent(widget)["differs"]


def test_a_response_of_no_token_is_fit_to_be_shown(rollout):
    none = replace(rollout, response_mask=torch.zeros_like(rollout.response_mask))
    widget = TokenMicroscope(none, TOKENIZER, config=CONFIG)
    assert sent(widget)["tokens"] == [] and "0 tokens" in repr(widget)


def test_the_picture_has_the_numbers_of_the_sliders(rollout):
    widget = TokenMicroscope(rollout, TOKENIZER, config=CONFIG)
    first = {text.get_text() for text in widget.picture().axes[0].texts}
    widget.kl_coef, widget.gamma = 0.9, 0.5
    row = recompute(rollout, widget.settings()).returns[0, : int(rollout.lengths[0])]
    picture = widget.picture()
    texts = {text.get_text() for text in picture.axes[0].texts}
    advantages = recompute(rollout, widget.settings()).advantages[0, : len(row)].tolist()
    assert {number(x) for x in advantages} <= texts and texts != first
    assert "β 0.90, γ 0.50" in repr(widget) and repr(widget) == picture.alt


def test_shows_a_picture_where_no_script_runs(rollout):
    bundle, about = TokenMicroscope(rollout, TOKENIZER, config=CONFIG)._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/plain"].startswith("Token microscope, response 0")
    assert about["image/png"]["alt"] == bundle["text/plain"]


def test_a_very_long_response_gets_a_picture_of_its_beginning(rollout):
    index = torch.arange(300) % int(rollout.lengths[0])
    changed = {
        f.name: getattr(rollout, f.name)[:, index]
        for f in fields(rollout)
        if getattr(rollout, f.name) is not None
        and getattr(rollout, f.name).dim() > 1
        and not f.name.startswith("prompt")
    }
    long = replace(rollout, **changed | {"response_mask": torch.ones(4, 300, dtype=torch.bool)})
    widget = TokenMicroscope(long, TOKENIZER)
    widget.selected = {"response": 0, "row": "kl", "token": 299}
    assert widget.picture().get_figheight() < 15
    assert "300 tokens" in repr(widget) and len(sent(widget)["tokens"]) == 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"row": 4}, "row 4 of a rollout that has 4 responses"),
        ({"other": -5}, "row -5 of a rollout that has 4 responses"),
        ({"truth": torch.zeros(2, 2)}, "truth must have the mask's shape"),
        ({"log_probs": torch.zeros(4, 1)}, "log_probs must have the mask's shape"),
        ({"truth": MonteCarloValues(torch.zeros(1), torch.zeros(1), 2)}, "truth.values must"),
        ({"reference_top": (torch.zeros(4), torch.zeros(4))}, r"two tensors \(B, R, K\)"),
    ],
)
def test_refuses_what_belongs_to_another_rollout(rollout, options, message):
    with pytest.raises(ValueError, match=message):
        TokenMicroscope(rollout, TOKENIZER, **options)


def test_refuses_the_two_of_reference_top_in_the_wrong_order(rollout):
    shape = (*rollout.kl.shape, 2)
    nats, ids = torch.zeros(shape), torch.zeros(shape, dtype=torch.long)
    TokenMicroscope(rollout, TOKENIZER, reference_top=(ids, nats))
    with pytest.raises(ValueError, match="in this order"):
        TokenMicroscope(rollout, TOKENIZER, reference_top=(nats, ids))


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("gamma", 1.5),
        ("lam", -0.1),
        ("kl_coef", -1.0),
        ("clip_range", 0.0),
        ("kl_estimator", "k4"),
        ("row", 4),
        ("hidden", ["price"]),
        ("order", ["kl"]),
        ("selected", {"response": 1, "row": "kl", "token": 0}),
        ("selected", {"response": 0, "row": "price", "token": 0}),
        ("selected", {"response": 0, "row": "kl", "token": 99}),
    ],
)
def test_a_trait_refuses_what_it_cannot_be(rollout, trait, value):
    widget = TokenMicroscope(rollout, TOKENIZER, config=CONFIG)
    before = getattr(widget, trait)
    with pytest.raises(traitlets.TraitError):
        setattr(widget, trait, value)
    assert getattr(widget, trait) == before


def test_every_row_has_its_words():
    table = strings()
    for row in (*ROWS, "score"):
        assert table[f"microscope.about.{row}"]
    assert all(table[f"microscope.row.{row}"] for row in ROWS)
