"""The models that an algorithm of stage 3 needs, made from the Actor and the reward model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minirlhf.actor import Actor
from minirlhf.adapter_files import rank_on_disk
from minirlhf.config import OnlineConfig, PPOConfig
from minirlhf.critic import Critic
from minirlhf.data import TextOrIds
from minirlhf.online_trainer import OnlineTrainer
from minirlhf.ppo_trainer import PPOTrainer
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel

if TYPE_CHECKING:
    import torch


def trainer_with(
    trainer_class: type[OnlineTrainer],
    config: OnlineConfig,
    actor: Actor,
    scorer: RewardModel,
    prompts: Sequence[TextOrIds],
) -> OnlineTrainer:
    """The trainer, with the models that it needs besides these two."""
    rank = config.lora_rank
    reference = Reference.from_actor(actor.add_adapter(rank, seed=config.seed))
    if isinstance(config, PPOConfig):
        critic = Critic.from_reward_model(scorer, lora_rank=rank, seed=config.seed)
        return PPOTrainer(actor, reference, critic, scorer, prompts, config)
    return trainer_class(actor, reference, scorer, prompts, config)


def load_scorer(actor: Actor, source: str, rank: int, device: "torch.device") -> RewardModel:
    """The reward model; on the Actor's own trunk where stage 2 trained such an adapter on it."""
    if rank and rank_on_disk(Path(source) / "adapter", actor.model) == rank:
        return RewardModel.from_adapter(actor, source)
    return RewardModel.from_pretrained(source, device=device)
