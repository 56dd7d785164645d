"""Rank 8 is enough to learn in the café, with several times the learning rate of all weights."""

import pytest
from test_lora import bytes_of
from tiny_models import same_bits

from minirlhf import (
    DPOConfig,
    PPOConfig,
    Reference,
    RewardModel,
    RewardModelConfig,
    RewardModelTrainer,
)
from minirlhf.lora import trunk
from minirlhf.worlds.cafe import recipe

pytestmark = pytest.mark.slow
RANK = 8


def test_gold_rises_under_ppo_on_two_trunks() -> None:
    sft, reward_model = recipe.load_shipped("cpu")
    before = [p.detach().clone() for p in sft.parameters()]
    config = PPOConfig(iterations=8, lora_rank=RANK, actor_lr=2e-3, critic_lr=2e-3)
    trainer = recipe.ppo_trainer(sft, reward_model, config)
    four = (trainer.actor, trainer.reference, trainer.critic, trainer.reward_model)
    whole = bytes_of(trainer.reference) + bytes_of(trainer.reward_model)
    assert bytes_of(*four) < 1.2 * whole  # not 2 ×, as with four models that share nothing
    golds = [record.metrics["gold"] for record in trainer]
    assert golds[0] < 0.2 and sum(golds[-2:]) / 2 > 1.2
    assert same_bits(before, list(trunk(trainer.actor.model).parameters()))


def test_dpo_learns_the_pairs() -> None:
    config = DPOConfig(steps=25, batch_size=32, lr=2e-3, lora_rank=RANK)
    records = list(recipe.dpo_trainer(recipe.load_shipped("cpu")[0], 400, config))
    assert records[0].metrics["dpo_loss"] == pytest.approx(0.6931, abs=1e-4)
    assert sum(record.metrics["dpo_loss"] for record in records[-5:]) / 5 < 0.58
    assert sum(record.metrics["reward_margin"] for record in records[-5:]) / 5 > 0.25
    assert records[-1].metrics["held_out_accuracy"] > 0.7


def test_a_reward_model_learns_on_the_trunk_of_the_actor_that_writes_its_samples() -> None:
    actor = recipe.load_shipped("cpu")[0].freeze()
    reference = Reference.from_actor(actor)
    rows = recipe.compare_samples(actor, 400, seed=0)
    reward_model = RewardModel.from_actor(actor, lora_rank=RANK)
    config = RewardModelConfig(
        steps=30, batch_size=32, lr=4e-3, lora_rank=RANK, standardise_samples=64
    )
    *_, last = RewardModelTrainer(reward_model, rows, config, sft_actor=actor)
    assert last.metrics["held_out_accuracy"] > 0.7
    assert same_bits(list(reference.parameters()), list(actor.parameters()))
    assert bytes_of(actor, reward_model) < 1.2 * bytes_of(actor)
