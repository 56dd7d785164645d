"""The live picture of the four models without a browser: words, facts, refusals, still picture."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_models import four_roles, four_trainer, same_bits, weights

from minirlhf.widgets.four_models_live import FourModels, StageScrubber
from minirlhf.widgets.four_models_map import NODES, STEPS, map_of
from minirlhf.widgets.live import strings
from minirlhf.widgets.scenes import MODELS, SCENES


@pytest.fixture(scope="module")
def trainer():
    return four_trainer(four_roles(), max_response_tokens=6)


@pytest.fixture(scope="module")
def record(trainer):
    return next(iter(trainer))


def test_the_words_are_those_of_the_static_picture():
    table = strings()
    for name, model in MODELS.items():
        key = f"four_models.model.{name}"
        found = (table[key], table[f"{key}.does"], table[f"{key}.starts"])
        assert found == (model.title, model.does, model.starts)
    for stage, scene in SCENES.items():
        assert len(NODES[stage]) == len(scene.nodes)
        for name in NODES[stage]:
            assert f"four_models.node.{name}.formula" in table
        for i, arrow in enumerate(scene.arrows):
            if arrow.label and not arrow.gradient:
                assert f"four_models.arrow.{stage}.{i}" in table


def test_every_step_lights_something_that_exists():
    for step in STEPS:
        assert max(step.arrows) < len(SCENES["ppo"].arrows)
        assert set(step.places) <= {*MODELS, *NODES["ppo"]}
    lit = {i for step in STEPS for i in step.arrows}
    assert lit == set(range(len(SCENES["ppo"].arrows)))


def test_looking_changes_nothing(trainer, record):
    roles = (trainer.actor, trainer.critic, trainer.reference, trainer.reward_model)
    before, flags = weights(*roles), [p.requires_grad for r in roles for p in r.parameters()]
    state = torch.get_rng_state()
    widget = FourModels(trainer, record)
    widget.picture().png()
    assert same_bits(before, weights(*roles)) and torch.equal(state, torch.get_rng_state())
    assert flags == [p.requires_grad for r in roles for p in r.parameters()]
    json.dumps(widget.facts, allow_nan=False)


def test_a_kind_of_reward_model_counts_as_one(trainer):
    class Known(type(trainer.reward_model)):
        pass

    known = FourModels(trainer).counts
    before, trainer.reward_model.__class__ = type(trainer.reward_model), Known
    try:
        assert FourModels(trainer).counts == known and "RewardModel" in known
    finally:
        trainer.reward_model.__class__ = before


def test_pads_are_never_read(trainer, record):
    mask = record.rollout.response_mask
    broken = record.rollout.rewards.masked_fill(~mask, float("nan"))
    other = replace(record, rollout=replace(record.rollout, rewards=broken))
    assert FourModels(trainer, other).facts == FourModels(trainer, record).facts


def test_the_picture_says_the_step(trainer, record):
    widget = FourModels(trainer, record)
    widget.step = 5
    assert repr(widget) == widget.picture().alt
    assert widget.sentence(5) in repr(widget) and "Actor: trained" in repr(widget)
    data, metadata = widget._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"]["alt"] == repr(widget)
    assert repr(FourModels(here="Critic")).startswith("you are here: Critic.")
    assert "Actor: trained" in repr(StageScrubber()) and "stage 1 of 3" in repr(StageScrubber())


def test_guesses_nothing_that_only_the_trainer_knows(record):
    widget = FourModels(record=record)
    assert "γ = –, λ = –" in widget.sentence(7) and "β = 0.0500" in widget.sentence(6)
    assert widget.facts["fields"]["used_advantages"]["mean"] is None
    assert widget.facts["rows"][0]["prompt"] == "" and not widget.counts


def test_gae_has_another_target(record):
    widget = FourModels(four_trainer(four_roles(), critic_target="gae"), record)
    assert any(name == "returns" for step in widget._steps for name, *_ in step["badges"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage": "rlhf"}, "unknown stage 'rlhf'"),
        ({"here": "Teacher"}, "'Teacher' is no place of stage 'ppo', which has Actor"),
        ({"here": "Critic", "stage": "sft"}, "'Critic' is no place of stage 'sft'"),
        ({"mode": "run"}, "unknown mode 'run'"),
    ],
)
def test_refuses_what_it_does_not_know(arguments, message):
    with pytest.raises(ValueError, match=message):
        FourModels(**arguments)


def test_refuses_a_record_without_rollout_and_other_algorithms(trainer, record):
    with pytest.raises(ValueError, match="with its rollout"):
        FourModels(trainer, replace(record, rollout=None))
    other = four_trainer(four_roles())
    other.stage = "grpo"
    with pytest.raises(ValueError, match="got a trainer of 'grpo'"):
        FourModels(other)


def test_the_map_is_plain_json():
    for stage in SCENES:
        assert json.loads(json.dumps(map_of(stage)))["number"] == SCENES[stage].number
