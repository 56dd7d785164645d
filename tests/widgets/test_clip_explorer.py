"""The clip explorer without a browser: its tokens, its static picture, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from tiny_models import four_roles, four_trainer, same_bits, weights

from minirlhf import Prompts
from minirlhf.widgets.clip_explorer import ClipExplorer
from minirlhf.widgets.clip_points import actor_walk, surrogate_and_gradient


@pytest.fixture(scope="module")
def trainer():
    return four_trainer(four_roles(), max_response_tokens=8, actor_lr=2e-3)


@pytest.fixture(scope="module")
def rollout(trainer):
    return trainer.collect(trainer.batch())


def test_the_six_cases():
    ratio, advantages = [0.5, 1.0, 1.5] * 2, [2.0] * 3 + [-2.0] * 3
    surrogate, gradient = surrogate_and_gradient(ratio, advantages, clip_range=0.2)
    assert surrogate == pytest.approx([1.0, 2.0, 2.4, -1.6, -2.0, -3.0])
    assert gradient == pytest.approx([1.0, 2.0, 0.0, 0.0, -2.0, -3.0])


def test_the_walk_trains_a_copy(trainer, rollout):
    before, state = weights(trainer.actor, trainer.critic), torch.get_rng_state()
    walk = actor_walk(trainer, rollout, trainer.advantages(rollout), steps=3)
    assert len(walk) == 4 and not any(x.requires_grad for x in walk)
    mask = rollout.response_mask
    assert torch.equal(walk[0][mask], rollout.old_log_probs[mask])  # the first ratio is 1
    assert not torch.equal(walk[3][mask], walk[0][mask])
    assert same_bits(before, weights(trainer.actor, trainer.critic))
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in trainer.actor.parameters())
    assert not trainer.optimizers["actor"].state


def test_the_first_step_of_the_walk_is_the_trainers(rollout):
    trainer = four_trainer(four_roles(), max_response_tokens=8, actor_lr=2e-3)
    own = trainer.collect(trainer.batch())
    walk = actor_walk(trainer, own, trainer.advantages(own), steps=1)
    trainer.update(own)  # one minibatch, one epoch: one step
    after = trainer.actor.log_probs(Prompts(own.prompt_ids, own.prompt_mask), own.response_ids)
    mask = own.response_mask
    assert torch.allclose(walk[1][mask], after.detach()[mask], atol=1e-6)


def test_points_are_the_counted_tokens_only(rollout):
    mask = rollout.response_mask
    broken = replace(
        rollout,
        old_log_probs=rollout.old_log_probs.masked_fill(~mask, float("nan")),
        advantages=rollout.advantages.masked_fill(~mask, float("nan")),
    )
    widget = ClipExplorer(broken)
    assert widget.points == ClipExplorer(rollout).points
    assert len(widget.points["old"]) == int(mask.sum())
    assert widget.ratios() == [1.0] * int(mask.sum())


def test_the_picture_describes_itself(trainer, rollout):
    widget = ClipExplorer.from_trainer(trainer, rollout, steps=4, rows=[0, 1])
    widget.step = 4
    assert "After 4 optimiser steps" in repr(widget) and "ε = 0.20" in repr(widget)
    assert widget.picture().png().startswith(b"\x89PNG")
    assert "tokens" not in repr(ClipExplorer())


def test_refuses_what_does_not_fit(rollout):
    with pytest.raises(ValueError, match=r"clip_range must lie in \(0, 1\], got 0.0"):
        ClipExplorer(clip_range=0.0)
    with pytest.raises(ValueError, match="belong to a minibatch"):
        ClipExplorer(log_probs=torch.zeros(1, 1))
    with pytest.raises(ValueError, match="log_probs must have the mask's shape"):
        ClipExplorer(rollout, torch.zeros(1, 1))
    with pytest.raises(ValueError, match="no step"):
        ClipExplorer(rollout, [])
    with pytest.raises(ValueError, match="not a finite number"):
        ClipExplorer(rollout, torch.full_like(rollout.old_log_probs, float("inf")))
    many = rollout.select(torch.zeros(3000, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"rollout\.select"):
        ClipExplorer(many)
