"""Tiny random models of three shapes, ragged batches for them, and plain one-by-one arithmetic.

The arithmetic here is what the package is compared with: one row at a time, no padding, no cache,
nothing but plain transformers models and formulas written out.
"""

from dataclasses import fields, replace
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from minirlhf import Actor, Critic, PPOConfig, Prompts, Reference, RewardModel, Rollout
from minirlhf.data import pad_prompts, pad_responses
from minirlhf.ppo_trainer import PPOTrainer
from minirlhf.worlds.cafe import build_tokenizer

SHAPES = ("gpt2", "llama", "qwen2")
TOKENIZER = build_tokenizer()
PAD, EOS = int(TOKENIZER.pad_token_id), int(TOKENIZER.eos_token_id)
PROMPT_IDS = [[3, 5, 16, 4], [7], [3, 5, 16, 6, 5, 17, 4], [9, 4]]  # unequal on purpose
RESPONSE_IDS = [[5, 19, 6, 20, EOS], [EOS], [8, 12, 30, 5, 5, 7, 11], [21, EOS]]


def shape_config(shape: str) -> PreTrainedConfig:
    """One or two layers of width 16; GPT-2 keeps its usual dropout of 0.1."""
    special = {"eos_token_id": EOS, "bos_token_id": EOS, "pad_token_id": PAD}
    if shape == "gpt2":
        sizes = {"n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
        return GPT2Config(vocab_size=len(TOKENIZER), **sizes, **special)
    sizes = {
        "vocab_size": len(TOKENIZER),
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    if shape == "llama":
        return LlamaConfig(**sizes, **special)
    return Qwen2Config(**sizes, **special, tie_word_embeddings=True)


def shaped_actor(shape: str = "gpt2", *, seed: int = 0) -> Actor:
    """Random weights, the same ones each time, with words and places that matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(shape_config(shape), attn_implementation="eager")
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.mul_(6.0)
        if shape == "gpt2":  # its output has a bias: EOS gets a logit higher by 2
            eos = model.transformer.wte.weight.data[EOS]
            model.transformer.ln_f.bias.data.add_(2.0 * eos / eos.square().sum())
    return Actor(model, TOKENIZER)


class Four(NamedTuple):
    """The four roles; the Reference is not the Actor, so that no KL is 0."""

    actor: Actor
    reference: Reference
    critic: Critic
    reward_model: RewardModel


def four_roles(
    shape: str = "gpt2", *, dtype: torch.dtype = torch.float32, spread: float = 1
) -> Four:
    """Four different models of one shape; scores spread over some `spread` reward units."""
    actor = shaped_actor(shape)
    reference = Reference.from_actor(actor)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.mul_(0.9)
    reward_model = RewardModel.from_actor(shaped_actor(shape, seed=1), seed=1)
    reward_model.model.score.weight.data.mul_(spread)
    reward_model.model.config.score_shift = 0.25
    critic = Critic.from_reward_model(RewardModel.from_actor(shaped_actor(shape, seed=2), seed=2))
    critic.model.config.score_shift = -0.5
    return Four(*(role.to(dtype) for role in (actor, reference, critic, reward_model)))


def four_trainer(four: Four, prompts: list[str] | None = None, **settings: object) -> PPOTrainer:
    """A PPO trainer over these roles, as float32 or float64 as they are."""
    small = {
        "batch_size": 4, "minibatch_size": 4, "ppo_epochs": 1, "iterations": 2,
        "max_response_tokens": 8,
    }  # fmt: skip
    prompts = prompts or ["review the soup :", "review the waiter :", "the :"]
    return PPOTrainer(*four, prompts, PPOConfig(**{**small, **settings}))


def ragged() -> tuple[Prompts, Tensor, Tensor]:
    """Four prompts of 1 to 7 tokens with responses of 1 to 7 tokens: prompts, ids, mask."""
    return pad_prompts(PROMPT_IDS, PAD), *pad_responses(RESPONSE_IDS, PAD)


def wider(prompts: Prompts, extra: int) -> Prompts:
    """The same prompts behind `extra` more columns of left padding."""
    rows = prompts.prompt_ids.shape[0]
    ids = torch.full((rows, extra), PAD)
    mask = torch.zeros(rows, extra, dtype=torch.bool)
    return Prompts(
        torch.cat([ids, prompts.prompt_ids], 1), torch.cat([mask, prompts.prompt_mask], 1)
    )


def longer(ids: Tensor, mask: Tensor, extra: int) -> tuple[Tensor, Tensor]:
    """The same responses before `extra` more columns of right padding."""
    rows = ids.shape[0]
    more = torch.full((rows, extra), PAD)
    return torch.cat([ids, more], 1), torch.cat([mask, torch.zeros_like(more, dtype=bool)], 1)


def plain_log_probs(role: Actor | Reference, row: int, temperature: float = 1.0) -> Tensor:
    """(L,) log-probs of one row of `ragged()`, alone and unpadded."""
    return plain_log_probs_of(role, PROMPT_IDS[row], RESPONSE_IDS[row], temperature)


@torch.no_grad()
def plain_log_probs_of(
    role: Actor | Reference, prompt: list[int], response: list[int], temperature: float = 1.0
) -> Tensor:
    """(L,) log-probs: slot P−1+t of the logits is read for token t."""
    logits = role.model(torch.tensor([prompt + response])).logits[0] / temperature
    log_pi = logits.log_softmax(-1)
    first = len(prompt) - 1
    return torch.stack([log_pi[first + t, token] for t, token in enumerate(response)])


@torch.no_grad()
def plain_head_of(role: Critic | RewardModel, prompt: list[int], response: list[int]) -> Tensor:
    """(P+L,) the score head at every slot, minus the shift."""
    hidden = role.model.base_model(torch.tensor([prompt + response])).last_hidden_state[0]
    shift = role.model.config.score_shift
    return hidden @ role.model.score.weight[0] - shift


def plain_row(four: Four, rollout: Rollout, row: int, config: PPOConfig) -> tuple[Tensor, Tensor]:
    """Log-probs and values (L,) of one row, unpadded, with gradient."""
    x = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
    y = rollout.response_ids[row][rollout.response_mask[row]].tolist()
    ids, before = torch.tensor([x + y]), slice(len(x) - 1, len(x) - 1 + len(y))
    log_pi = (four.actor.model(ids).logits[0] / config.temperature).log_softmax(-1)
    hidden = four.critic.model.base_model(ids).last_hidden_state[0]
    head = hidden @ four.critic.model.score.weight[0] - four.critic.model.config.score_shift
    return log_pi[before][range(len(y)), y], head[before]


def plain_update(
    four: Four, rollout: Rollout, minibatches: list[list[int]], config: PPOConfig
) -> tuple[float, float]:
    """Every step of one update, a row at a time; returns the losses, averaged over the steps."""
    mask = rollout.response_mask
    advantages = rollout.advantages.clone()
    if config.whiten_advantages:
        counted = advantages[mask]
        advantages = (advantages - counted.mean()) / (counted.var(correction=0) + 1e-8).sqrt()
    targets = rollout.td_target if config.critic_target == "td" else rollout.returns
    settings = {"betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0, "foreach": False}
    optimizers = [
        torch.optim.AdamW(four.actor.parameters(), lr=config.actor_lr, **settings),
        torch.optim.AdamW(four.critic.parameters(), lr=config.critic_lr, **settings),
    ]
    totals = [0.0, 0.0]
    for rows in minibatches:
        costs, n = [torch.tensor(0.0), torch.tensor(0.0)], int(mask[rows].sum())
        for row in rows:
            a, g = advantages[row][mask[row]], targets[row][mask[row]]
            old, v_old = rollout.old_log_probs[row][mask[row]], rollout.old_values[row][mask[row]]
            log_probs, values = plain_row(four, rollout, row, config)
            ratio, eps = (log_probs - old).exp(), config.clip_range
            held = ratio.clamp(1 - eps, 1 + eps)
            costs[0] = costs[0] - torch.minimum(a * ratio, a * held).sum() / n
            squares = (values - g) ** 2
            if config.value_clip_range is not None:
                c = config.value_clip_range
                near = torch.maximum(torch.minimum(values, v_old + c), v_old - c)
                squares = torch.maximum(squares, (near - g) ** 2)
            costs[1] = costs[1] + squares.sum() / n / 2
        for i, (role, optimizer) in enumerate(zip((four.actor, four.critic), optimizers)):  # noqa: B905
            optimizer.zero_grad()
            costs[i].backward()
            norm = sum(p.grad.square().sum() for p in role.parameters()).sqrt()
            for p in role.parameters():
                p.grad.mul_(min(1.0, config.grad_clip / (float(norm) + 1e-6)))
            optimizer.step()
            totals[i] += costs[i].item() / len(minibatches)
    return totals[0], totals[1]


def weights(*roles: object) -> list[Tensor]:
    """A copy of every weight."""
    return [p.detach().clone() for role in roles for p in role.parameters()]  # type: ignore[attr-defined]


def same_bits(before: list[Tensor], after: list[Tensor]) -> bool:
    """True when no weight differs."""
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def cut_to(rollout: Rollout, lengths: list[int]) -> Rollout:
    """The rollout with its responses cut to these lengths; padding is filled with NaN."""
    mask = torch.arange(rollout.response_mask.shape[1]) < torch.tensor(lengths)[:, None]
    mask &= rollout.response_mask
    changed = {"response_mask": mask}
    for field in fields(rollout):
        x = getattr(rollout, field.name)
        if x is not None and x.shape == mask.shape and x.is_floating_point():
            changed[field.name] = x.masked_fill(~mask, float("nan"))
    return replace(rollout, **changed)
