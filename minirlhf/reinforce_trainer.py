"""Stage 3 with REINFORCE: the oldest policy gradient, without a Critic, a clip or a second pass.

One iteration:
    1. rollout: one answer to each prompt, read by Reference and Reward model
    2. Â_t = reward still to come − what earlier batches brought on average
    3. one step on −mean Â_t·ρ_t, whose ρ_t is exactly 1 (its gradient is that of log π)
"""

from typing import Any

from torch import Tensor

from minirlhf.baselines import moved_baseline, reinforce_advantages
from minirlhf.batch import Rollout
from minirlhf.config import ReinforceConfig
from minirlhf.masks import masked_mean
from minirlhf.online_trainer import OnlineTrainer


class ReinforceTrainer(OnlineTrainer):
    """Iterate to train an Actor with REINFORCE; the arguments are those of `OnlineTrainer`."""

    stage = "reinforce"
    config_class = ReinforceConfig
    config: ReinforceConfig
    baseline = 0.0  # reward units; the moving average over earlier batches

    def advantages(self, rollout: Rollout) -> Tensor:
        """Returns minus the baseline, (B, R)."""
        return reinforce_advantages(rollout.returns, rollout.response_mask, baseline=self.baseline)

    def after_update(self, rollout: Rollout, metrics: dict[str, float]) -> None:
        """Move the baseline towards this batch's mean return, for the next batch."""
        metrics["baseline"] = self.baseline
        self.baseline = moved_baseline(
            self.baseline,
            float(masked_mean(rollout.returns, rollout.response_mask)),
            decay=self.config.baseline_decay,
            batches=self.step,
        )

    def counters(self) -> dict[str, Any]:
        """The step and the baseline."""
        return {"step": self.step, "baseline": self.baseline}

    def restore_counters(self, counters: dict[str, Any]) -> None:
        """Take over step and baseline."""
        super().restore_counters(counters)
        self.baseline = float(counters["baseline"])
