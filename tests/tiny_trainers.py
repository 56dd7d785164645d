"""The smallest trainers that still do everything: one layer of width 16 on café words."""

import functools
import json
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from minirlhf import (
    Actor,
    Critic,
    DPOConfig,
    DPOTrainer,
    GRPOTrainer,
    PPOConfig,
    PPOTrainer,
    Reference,
    ReinforceTrainer,
    RewardModel,
    RewardModelConfig,
    RewardModelTrainer,
    RLOOTrainer,
    SFTConfig,
    SFTTrainer,
)
from minirlhf.online_trainer import OnlineTrainer
from minirlhf.trainer import Trainer
from minirlhf.worlds.cafe import build_tokenizer

PROMPTS = ["review the soup :", "review the waiter :", "review the soup and the waiter :"]
SFT_ROWS = [
    {"prompt": "review the soup :", "completion": "the soup was warm ."},
    {"prompt": "review the waiter :", "completion": "the waiter was rude ."},
    {"prompt": "review the soup :", "completion": "the soup was cold but the waiter was kind ."},
]
PAIRS = [
    {"prompt": prompt, "chosen": "the soup was warm .", "rejected": f"the soup was {word} ."}
    for prompt in PROMPTS
    for word in ("cold", "rude", "stale")
]

QUICK = {  # settings of a PPO run that takes next to no time
    "iterations": 2,
    "batch_size": 2,
    "minibatch_size": 2,
    "ppo_epochs": 1,
    "max_response_tokens": 2,
}


def tiny_actor(*, seed: int = 0, width: int = 16, layers: int = 1) -> Actor:
    """A one-layer GPT-2 shape with random weights; the same ones each time."""
    tokenizer = build_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=width,
        n_layer=layers,
        n_head=2,
        activation_function="gelu_pytorch_tanh",
        attn_implementation="eager",
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.mul_(8.0)  # so that different tokens get different values
    return Actor(model, tokenizer)


def sft_trainer(**settings: object) -> SFTTrainer:
    config = SFTConfig(**{"steps": 6, "batch_size": 4, **settings})
    return SFTTrainer(tiny_actor().add_adapter(config.lora_rank), SFT_ROWS, config)


def reward_trainer(**settings: object) -> RewardModelTrainer:
    small = {"steps": 6, "batch_size": 4, "standardise_samples": 8, "max_response_tokens": 6}
    config = RewardModelConfig(**{**small, **settings})
    actor = tiny_actor()
    reward_model = RewardModel.from_actor(actor, seed=config.seed, lora_rank=config.lora_rank)
    return RewardModelTrainer(reward_model, PAIRS, config, sft_actor=actor)


def ppo_trainer(**settings: object) -> PPOTrainer:
    small = {
        "iterations": 6,
        "batch_size": 4,
        "minibatch_size": 2,
        "ppo_epochs": 2,
        "max_response_tokens": 6,
    }
    config = PPOConfig(**{**small, **settings})
    actor, reward_model = tiny_actor(), RewardModel.from_actor(tiny_actor(), seed=1)
    reference = Reference.from_actor(actor.add_adapter(config.lora_rank))
    critic = Critic.from_reward_model(reward_model, lora_rank=config.lora_rank)
    return PPOTrainer(actor, reference, critic, reward_model, PROMPTS, config)


CRITIC_FREE = {"reinforce": ReinforceTrainer, "rloo": RLOOTrainer, "grpo": GRPOTrainer}


def critic_free_trainer(stage: str, **settings: object) -> OnlineTrainer:
    """One of `CRITIC_FREE`; those with groups answer each prompt twice."""
    trainer = CRITIC_FREE[stage]
    small = {"iterations": 6, "batch_size": 4, "minibatch_size": 2, "max_response_tokens": 6}
    group = {} if stage == "reinforce" else {"group_size": 2}
    config = trainer.config_class(**{**small, **group, **settings})
    actor, reward_model = tiny_actor(), RewardModel.from_actor(tiny_actor(), seed=1)
    actor.add_adapter(config.lora_rank)
    return trainer(actor, Reference.from_actor(actor), reward_model, PROMPTS, config)


def dpo_trainer(**settings: object) -> DPOTrainer:
    config = DPOConfig(**{"steps": 6, "batch_size": 4, **settings})
    actor = tiny_actor().add_adapter(config.lora_rank)
    return DPOTrainer(actor, Reference.from_actor(actor), PAIRS, config)


TRAINERS = {
    "sft": sft_trainer,
    "reward": reward_trainer,
    "ppo": ppo_trainer,
    "dpo": dpo_trainer,
    **{stage: functools.partial(critic_free_trainer, stage) for stage in CRITIC_FREE},
}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes; the lock apart, and times taken out."""
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {
        name: _without_times(path) if name == "history.jsonl" else path.read_bytes()
        for name, path in sorted(files.items())
        if name != ".lock"
    }


def _without_times(history: Path) -> bytes:
    steps = [json.loads(line) for line in history.read_text().splitlines()]
    return "\n".join(
        json.dumps({k: v for k, v in step.items() if k != "seconds"}) for step in steps
    ).encode()


def state(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Every number that training goes on from."""
    numbers = {"counters": torch.tensor(list(trainer.counters().values()), dtype=torch.float64)}
    for role_name, role in trainer.roles.items():
        numbers |= {f"{role_name} {k}": v.clone() for k, v in role.model.state_dict().items()}
        for name, parameter in role.named_parameters():
            moments = trainer.optimizers[role_name].state.get(parameter, {})
            numbers |= {f"{role_name} {name} {k}": v.clone() for k, v in moments.items()}
        shift = getattr(role.model.config, "score_shift", 0.0)
        numbers[f"{role_name} score_shift"] = torch.tensor(shift, dtype=torch.float64)
    return numbers
