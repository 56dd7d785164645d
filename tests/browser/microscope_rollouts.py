"""Rollouts of tiny models for the microscope's tests, and what the library says about them."""

from dataclasses import fields, replace
from typing import NamedTuple

import torch
from tiny_models import TOKENIZER, four_roles
from torch import Tensor

from minirlhf import (
    PPOConfig,
    Rollout,
    actor_loss,
    collect_rollout,
    gae,
    per_token_kl,
    per_token_rewards,
    td_target,
)
from minirlhf.data import encode_prompts, pad_prompts
from minirlhf.monte_carlo import MonteCarloValues

CONFIG = PPOConfig(kl_coef=0.3, gamma=0.95, lam=0.9, max_response_tokens=24, score_clip=1.5)


class Case(NamedTuple):
    """A rollout and all that the microscope can be given with it."""

    rollout: Rollout
    log_probs: Tensor
    truth: MonteCarloValues
    reference_top: tuple[Tensor, Tensor]

    def options(self) -> dict[str, object]:
        return {
            "config": CONFIG,
            "log_probs": self.log_probs,
            "truth": self.truth,
            "reference_top": self.reference_top,
        }

    def longest(self) -> int:
        return int(self.rollout.lengths.argmax())


def make_case() -> Case:
    """Eight responses; the Actor now is the old one with noise, so that clips bind."""
    four = four_roles(spread=3)
    texts = ["review the soup :", "review the waiter :", "the :", "review the room :"] * 2
    prompts = pad_prompts(encode_prompts(TOKENIZER, texts), int(TOKENIZER.pad_token_id))
    rollout = collect_rollout(*four, prompts, CONFIG, alternatives=3)
    generator = torch.Generator().manual_seed(0)

    def noise(scale: float) -> Tensor:
        return scale * torch.randn(rollout.kl.shape, generator=generator)

    vocabulary = torch.randn(*rollout.kl.shape, len(TOKENIZER), generator=generator)
    top = vocabulary.log_softmax(-1).topk(4)
    truth = MonteCarloValues(rollout.old_values + noise(0.3), noise(0.1).abs(), 32)
    return Case(rollout, rollout.old_log_probs + noise(0.3), truth, (top.indices, top.values))


def stretched(rollout: Rollout, length: int) -> Rollout:
    """Two copies of the longest response, repeated or cut to this many counted tokens."""
    width = rollout.response_mask.shape[1]
    rows = rollout.select(torch.tensor([int(rollout.lengths.argmax())] * 2))
    full = int(rows.lengths[0])
    index = torch.arange(length) % full
    changed = {}
    for field in fields(rows):
        x = getattr(rows, field.name)
        if x is not None and x.dim() > 1 and not field.name.startswith("prompt"):
            assert x.shape[1] == width
            changed[field.name] = x[:, index]
    return replace(rows, **changed)


def library_numbers(
    case: Case, row: int, beta: float, gamma: float, lam: float, epsilon: float, estimator: str
) -> dict[str, list[float]]:
    """Every row of the table, from the library's own functions in float64."""
    one = case.rollout.select(torch.tensor([row]))
    mask, values = one.response_mask, one.old_values.double()
    old, now = one.old_log_probs.double(), case.log_probs[row : row + 1].double()
    kl = per_token_kl(old, one.ref_log_probs.double(), estimator=estimator)
    rewards = per_token_rewards(
        one.scores.double(), kl, mask, kl_coef=beta, score_clip=CONFIG.score_clip
    )
    advantages, returns = gae(rewards, values, mask, gamma=gamma, lam=lam)
    deltas, _ = gae(rewards, values, mask, gamma=gamma, lam=0.0)
    moving = now.clone().requires_grad_()
    actor_loss(moving, old, advantages, mask, clip_range=epsilon).backward()
    tensors = {
        "log_prob": now,
        "old_log_prob": old,
        "ref_log_prob": one.ref_log_probs,
        "kl": kl,
        "reward": rewards,
        "value": values,
        "truth": case.truth.values[row : row + 1],
        "errors": case.truth.errors[row : row + 1],
        "td_target": td_target(rewards, values, mask, gamma=gamma),
        "delta": deltas,
        "advantage": advantages,
        "return": returns,
        "ratio": (now - old).exp(),
        "gradient": moving.grad,
    }
    return {name: x[0][mask[0]].double().tolist() for name, x in tensors.items()}
