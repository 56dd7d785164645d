"""minirlhf: RLHF with PPO, small enough to read and tested enough to trust.

Everything public is here; each name lives in the file that its meaning suggests.
"""

from minirlhf import threads

threads.prepare()  # has to come before anything that imports torch

from minirlhf.actor import Actor  # noqa: E402
from minirlhf.advantages import gae, td_target  # noqa: E402
from minirlhf.baselines import (  # noqa: E402
    grpo_advantages,
    reinforce_advantages,
    rloo_advantages,
)
from minirlhf.batch import Prompts, Responses, Rollout, StepRecord  # noqa: E402
from minirlhf.config import (  # noqa: E402
    DPOConfig,
    GRPOConfig,
    PPOConfig,
    ReinforceConfig,
    RewardModelConfig,
    RLOOConfig,
    SFTConfig,
)
from minirlhf.critic import Critic  # noqa: E402
from minirlhf.dpo_loss import dpo_loss, implicit_rewards  # noqa: E402
from minirlhf.dpo_trainer import DPOTrainer  # noqa: E402
from minirlhf.grpo_trainer import GRPOTrainer  # noqa: E402
from minirlhf.kl import per_token_kl  # noqa: E402
from minirlhf.log_probs import gather_log_probs  # noqa: E402
from minirlhf.losses import actor_loss, critic_loss, preference_loss, sft_loss  # noqa: E402
from minirlhf.masks import masked_mean, masked_whiten  # noqa: E402
from minirlhf.metrics import METRICS  # noqa: E402
from minirlhf.monte_carlo import (  # noqa: E402
    MonteCarloValues,
    monte_carlo_gold,
    monte_carlo_values,
)
from minirlhf.ppo_trainer import PPOTrainer  # noqa: E402
from minirlhf.reference import Reference  # noqa: E402
from minirlhf.reinforce_trainer import ReinforceTrainer  # noqa: E402
from minirlhf.reward_ensemble import RewardEnsemble  # noqa: E402
from minirlhf.reward_model import RewardModel  # noqa: E402
from minirlhf.reward_trainer import RewardModelTrainer  # noqa: E402
from minirlhf.rewards import per_token_rewards  # noqa: E402
from minirlhf.rloo_trainer import RLOOTrainer  # noqa: E402
from minirlhf.rollout import collect_rollout  # noqa: E402
from minirlhf.sft_trainer import SFTTrainer  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "METRICS",
    "Actor",
    "Critic",
    "DPOConfig",
    "DPOTrainer",
    "GRPOConfig",
    "GRPOTrainer",
    "MonteCarloValues",
    "PPOConfig",
    "PPOTrainer",
    "Prompts",
    "RLOOConfig",
    "RLOOTrainer",
    "Reference",
    "ReinforceConfig",
    "ReinforceTrainer",
    "Responses",
    "RewardEnsemble",
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
    "dpo_loss",
    "gae",
    "gather_log_probs",
    "grpo_advantages",
    "implicit_rewards",
    "masked_mean",
    "masked_whiten",
    "monte_carlo_gold",
    "monte_carlo_values",
    "per_token_kl",
    "per_token_rewards",
    "preference_loss",
    "reinforce_advantages",
    "rloo_advantages",
    "sft_loss",
    "td_target",
]
