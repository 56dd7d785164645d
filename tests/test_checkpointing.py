"""Gradient checkpointing: less is kept, nothing else changes, and dropout stays off."""

import copy
from collections.abc import Callable

import pytest
import torch
from tiny_models import (
    SHAPES,
    TOKENIZER,
    four_roles,
    four_trainer,
    ragged,
    same_bits,
    shape_config,
    weights,
)
from tiny_trainers import dpo_trainer, reward_trainer, sft_trainer, tiny_actor
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM
from transformers.modeling_layers import GradientCheckpointingLayer

from minirlhf import Actor, Critic, PPOTrainer, Reference, RewardModel
from minirlhf.checkpointing import recomputed, set_checkpointing


def with_dropout(shape: str, *, layers: int = 2) -> Actor:
    """A model that would drop half of everything if it were ever in training mode."""
    config = shape_config(shape)
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop", "attention_dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.5)
    config.num_hidden_layers = layers
    if hasattr(config, "layer_types"):
        config.layer_types = ["full_attention"] * layers
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return Actor(model, TOKENIZER)


def critic_of(actor: Actor) -> Critic:
    return Critic.from_reward_model(RewardModel.from_actor(actor))


def read(role: Actor | Critic) -> torch.Tensor:
    x, y, _ = ragged()
    return role.log_probs(x, y) if isinstance(role, Actor) else role.values(x, y)


class Runs:
    """Counts forward passes of blocks, and notes modules inside that are in training mode."""

    def __init__(self, role: Actor | Critic) -> None:
        self.blocks, self.training = 0, []
        for name, module in role.model.named_modules():
            if isinstance(module, GradientCheckpointingLayer):
                # what a block calls first, so that a pass that is computed again is counted
                next(module.children()).register_forward_hook(self.count)
            else:
                module.register_forward_hook(lambda m, *_, name=name: self.note(m, name))

    def count(self, *_: object) -> None:
        self.blocks += 1

    def note(self, module: torch.nn.Module, name: str) -> None:
        if module.training:
            self.training.append(name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [lambda actor: actor, critic_of], ids=["actor", "critic"])
def test_gradients_are_the_same_bits_and_dropout_stays_off(
    shape: str, make: Callable[[Actor], Actor | Critic]
) -> None:
    roles = [make(with_dropout(shape)), make(with_dropout(shape))]
    set_checkpointing(roles[1], True)
    runs = [Runs(role) for role in roles]
    outputs = [read(role) for role in roles]
    assert torch.equal(*outputs)
    assert [one.blocks for one in runs] == [2, 2]
    for role, output in zip(roles, outputs, strict=True):
        output.square().sum().backward()
        assert not any(module.training for module in role.modules() if module is not role)
    assert [one.blocks for one in runs] == [2, 4]  # computed again, with gradient
    assert [one.training for one in runs] == [[], []]
    for one, other in zip(*(role.parameters() for role in roles), strict=True):
        assert (one.grad is None and other.grad is None) or torch.equal(one.grad, other.grad)
    with torch.no_grad():
        read(roles[1])
    assert runs[1].blocks == 6  # no gradient, nothing to compute again


def test_a_block_in_training_mode_would_have_dropped_something() -> None:
    """The test above could not fail otherwise."""
    actor = with_dropout("gpt2")
    before = read(actor)
    actor.model.train()
    assert not torch.equal(read(actor), before)


def kept(role: Actor) -> int:
    """Bytes that a forward pass leaves allocated for its backward pass."""
    read(role)  # what is made only once
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        output = read(role)
    assert output.requires_grad
    events = seen.profiler.kineto_results.events()
    return sum(event.nbytes() for event in events if event.name() == "[memory]")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pass_keeps_little_more_than_the_inputs_of_its_blocks(shape: str) -> None:
    actor = with_dropout(shape, layers=8)
    plain = kept(actor)
    set_checkpointing(actor, True)
    assert kept(actor) < 0.35 * plain
    set_checkpointing(actor, False)
    assert kept(actor) == plain


@pytest.mark.parametrize("shape", SHAPES)
def test_generation_keeps_its_cache(shape: str, caplog: pytest.LogCaptureFixture) -> None:
    actor = with_dropout(shape)
    before = actor.generate(ragged()[0], max_response_tokens=6, seed=3)
    set_checkpointing(actor, True)
    read(actor).sum().backward()
    after = actor.generate(ragged()[0], max_response_tokens=6, seed=3)
    assert torch.equal(before.response_ids, after.response_ids)
    assert torch.equal(before.log_probs, after.log_probs)
    assert not caplog.records  # transformers would say that it dropped the cache


def test_copies_are_made_without_it_and_leave_the_first_one_alone() -> None:
    actor = with_dropout("gpt2")
    set_checkpointing(actor, True)
    copied = copy.deepcopy(actor)
    runs, copied_runs = Runs(actor), Runs(copied)
    read(copied).sum().backward()
    assert runs.blocks == 0 and copied_runs.blocks == 4
    reference = Reference.from_actor(actor)
    assert not reference.gradient_checkpointing
    assert torch.equal(reference.log_probs(*ragged()[:2]), read(actor))


def test_after_an_error_no_block_stays_in_training_mode() -> None:
    actor = with_dropout("gpt2")
    set_checkpointing(actor, True)
    with pytest.raises(ZeroDivisionError), recomputed(actor):
        assert any(module.training for module in actor.model.modules())
        raise ZeroDivisionError
    assert not any(module.training for module in actor.model.modules())


def test_a_model_without_such_blocks_is_refused() -> None:
    actor = with_dropout("gpt2")
    actor.model.transformer.h = torch.nn.ModuleList()
    with pytest.raises(ValueError, match="GPT2LMHeadModel has no blocks that can be computed"):
        set_checkpointing(actor, True)
    set_checkpointing(actor, False)


# ------------------------------------------------------------------------------ trainers


def ppo(**settings: object) -> PPOTrainer:
    return four_trainer(four_roles("llama"), minibatch_size=2, microbatch_size=1, **settings)


@pytest.mark.parametrize("make", [sft_trainer, reward_trainer, dpo_trainer, ppo])
def test_every_trainer_learns_the_same_bits(make: Callable[..., object]) -> None:
    plain, saving = make(), make(gradient_checkpointing=True)
    runs = {name: Runs(role) for name, role in saving.roles.items()}
    plain_runs = {name: Runs(role) for name, role in plain.roles.items()}
    for one, other in zip(plain, saving, strict=True):
        mine = {k: v for k, v in other.metrics.items() if k != "seconds"}
        assert mine == {k: v for k, v in one.metrics.items() if k != "seconds"}
    for name, role in saving.roles.items():
        assert same_bits(weights(plain.roles[name]), weights(role))
        assert runs[name].blocks > plain_runs[name].blocks and not runs[name].training


def test_the_next_trainer_decides_anew() -> None:
    first = sft_trainer(gradient_checkpointing=True)
    assert first.actor.gradient_checkpointing
    type(first)(first.actor, [{"prompt": "the :", "completion": "the soup ."}])
    assert not first.actor.gradient_checkpointing
    assert not tiny_actor().gradient_checkpointing
