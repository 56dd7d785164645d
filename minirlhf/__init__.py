"""minirlhf: RLHF with PPO, small enough to read and tested enough to trust.

Everything public is here; each name lives in the file that its meaning suggests.
"""

from minirlhf import threads

threads.prepare()  # has to come before anything that imports torch

from minirlhf.actor import Actor  # noqa: E402
from minirlhf.advantages import gae, td_target  # noqa: E402
from minirlhf.batch import Prompts, Responses, Rollout, StepRecord  # noqa: E402
from minirlhf.config import PPOConfig, RewardModelConfig, SFTConfig  # noqa: E402
from minirlhf.critic import Critic  # noqa: E402
from minirlhf.kl import per_token_kl  # noqa: E402
from minirlhf.log_probs import gather_log_probs  # noqa: E402
from minirlhf.losses import actor_loss, critic_loss, preference_loss, sft_loss  # noqa: E402
from minirlhf.masks import masked_mean, masked_whiten  # noqa: E402
from minirlhf.metrics import METRICS  # noqa: E402
from minirlhf.ppo_trainer import PPOTrainer  # noqa: E402
from minirlhf.reference import Reference  # noqa: E402
from minirlhf.reward_model import RewardModel  # noqa: E402
from minirlhf.reward_trainer import RewardModelTrainer  # noqa: E402
from minirlhf.rewards import per_token_rewards  # noqa: E402
from minirlhf.rollout import collect_rollout  # noqa: E402
from minirlhf.sft_trainer import SFTTrainer  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "METRICS",
    "Actor",
    "Critic",
    "PPOConfig",
    "PPOTrainer",
    "Prompts",
    "Reference",
    "Responses",
    "RewardModel",
    "RewardModelConfig",
    "RewardModelTrainer",
    "Rollout",
    "SFTConfig",
    "SFTTrainer",
    "StepRecord",
    "actor_loss",
    "collect_rollout",
    "critic_loss",
    "gae",
    "gather_log_probs",
    "masked_mean",
    "masked_whiten",
    "per_token_kl",
    "per_token_rewards",
    "preference_loss",
    "sft_loss",
    "td_target",
]
