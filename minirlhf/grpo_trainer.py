"""Stage 3 with GRPO: PPO's clipped steps, with the group's mean and spread in place of a Critic.

One iteration:
    1. rollout: K answers to each prompt, read by Reference and Reward model
    2. Â of an answer = (score − mean of its group) / standard deviation of its group
    3. for each epoch, for each minibatch:
           log-probs now → ratio → clipped surrogate + β·k3 against the Reference → step

The mean runs over the tokens of the optimiser step, as in all our trainers; the paper takes the
mean of each response first, which lets a token of a short response weigh more.
"""

from torch import Tensor

from minirlhf.baselines import grpo_advantages
from minirlhf.batch import Rollout
from minirlhf.config import GRPOConfig
from minirlhf.kl import per_token_kl
from minirlhf.losses import actor_loss
from minirlhf.masks import masked, masked_mean
from minirlhf.online_trainer import OnlineTrainer


class GRPOTrainer(OnlineTrainer):
    """Iterate to train an Actor with GRPO; the arguments are those of `OnlineTrainer`."""

    stage = "grpo"
    config_class = GRPOConfig
    config: GRPOConfig

    @property
    def epochs(self) -> int:
        """Passes over each rollout."""
        return self.config.epochs

    def advantages(self, rollout: Rollout) -> Tensor:
        """Each response's place among the scores of its group, at each of its tokens: (B, R)."""
        config = self.config
        return grpo_advantages(
            rollout.scores,
            rollout.response_mask,
            group_size=config.group_size,
            divide_by_std=config.divide_by_std,
            score_clip=config.score_clip,
        )

    def loss(self, batch: Rollout, log_probs: Tensor, advantages: Tensor) -> Tensor:
        """Clipped surrogate + β·KL, a mean over counted tokens.

        Reference: Shao et al. 2024, arXiv:2402.03300, eq. 3 and 4 (with the sign of a loss).
        """
        config, mask = self.config, batch.response_mask
        surrogate = actor_loss(
            log_probs, batch.old_log_probs, advantages, mask, clip_range=config.clip_range
        )
        kl = per_token_kl(
            masked(log_probs, mask), batch.ref_log_probs, estimator=config.kl_estimator
        )
        return surrogate + self.kl_coef * masked_mean(kl, mask)
