"""Stage 3 with RLOO: several answers to each prompt, each compared with the others.

One iteration:
    1. rollout: K answers to each prompt, read by Reference and Reward model
    2. Â of an answer = its return − the mean return of the K − 1 others to the same prompt
    3. one step on −mean Â·ρ_t, whose ρ_t is exactly 1 (its gradient is that of log π)
"""

from torch import Tensor

from minirlhf.baselines import rloo_advantages
from minirlhf.batch import Rollout
from minirlhf.config import RLOOConfig
from minirlhf.online_trainer import OnlineTrainer


class RLOOTrainer(OnlineTrainer):
    """Iterate to train an Actor with RLOO; the arguments are those of `OnlineTrainer`."""

    stage = "rloo"
    config_class = RLOOConfig
    config: RLOOConfig

    def advantages(self, rollout: Rollout) -> Tensor:
        """Each response's lead over the others of its group, at each of its tokens: (B, R)."""
        return rloo_advantages(
            rollout.rewards, rollout.response_mask, group_size=self.config.group_size
        )
