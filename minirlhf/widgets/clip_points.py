"""Real tokens for the clip explorer, and what `actor_loss` and autograd say of each."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from minirlhf.batch import Prompts, Rollout
from minirlhf.losses import actor_loss
from minirlhf.ppo_trainer import PPOTrainer
from minirlhf.trainer import adamw, clip_and_step


def surrogate_and_gradient(
    ratio: Sequence[float], advantages: Sequence[float], *, clip_range: float
) -> tuple[list[float], list[float]]:
    """PPO's surrogate of single tokens, and its gradient by log π(A_t given S_t).

        surrogate_t = min(Â_t·ρ_t, Â_t·clip(ρ_t, 1 − ε, 1 + ε))      its mean, negated, is the loss

    Args:
        ratio: ρ of each token, ≥ 0.
        advantages: Â of each token.
        clip_range: ε > 0.

    Returns:
        surrogate, gradient: of each token, in units of Â; both from `actor_loss`, in float64.
    """
    surrogates, gradients = [], []
    zero, mask = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.bool)
    for rho, advantage in zip(ratio, advantages, strict=True):
        log_prob = torch.tensor([[rho]], dtype=torch.float64).log().requires_grad_()
        weight = torch.full_like(zero, advantage)
        loss = actor_loss(log_prob, zero, weight, mask, clip_range=clip_range)
        (gradient,) = torch.autograd.grad(loss, log_prob)
        surrogates.append(-float(loss.detach()))
        gradients.append(-float(gradient))
    return surrogates, gradients


def actor_walk(
    trainer: PPOTrainer, minibatch: Rollout, advantages: Tensor, *, steps: int
) -> list[Tensor]:
    """Train a copy of the Actor on one minibatch, again and again; the trainer stays as it is.

    Args:
        trainer: gives the Actor, its learning rate, ε and the gradient clip; not changed.
        minibatch: rows of a rollout.
        advantages: (B, R) of those rows, as the loss gets them.
        steps: optimiser steps, ≥ 0.

    Returns:
        steps + 1 tensors (B, R) of log-probs, nats: before the first step, and after each.
    """
    config, actor = trainer.config, copy.deepcopy(trainer.actor)
    optimizer = adamw(actor, config.actor_lr)
    prompts = Prompts(minibatch.prompt_ids, minibatch.prompt_mask)
    walk = []
    for step in range(steps + 1):
        log_probs = actor.log_probs(prompts, minibatch.response_ids, temperature=config.temperature)
        walk.append(log_probs.detach())
        if step == steps:
            break
        loss = actor_loss(
            log_probs,
            minibatch.old_log_probs,
            advantages,
            minibatch.response_mask,
            clip_range=config.clip_range,
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_and_step(optimizer, actor, config.grad_clip, step + 1)
    return walk
