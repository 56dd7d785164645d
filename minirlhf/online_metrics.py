"""The numbers of one iteration of stage 3, gathered from its rollout and its update."""

from collections import defaultdict

from torch import Tensor

from minirlhf.batch import Rollout
from minirlhf.config import OnlineConfig
from minirlhf.masks import masked, masked_mean
from minirlhf.metrics import approx_kl, explained_variance, share_beyond
from minirlhf.processes import here


def rollout_metrics(rollout: Rollout) -> dict[str, float]:
    """What the rollout says about the policy before this update; see `minirlhf.metrics`."""
    mask = rollout.response_mask
    return {
        "score": float(rollout.scores.mean()),
        "kl": float(masked(rollout.kl, mask).sum(dim=1).mean()),
        "reward": float(rollout.rewards.sum(dim=1).mean()),
        "length": float(rollout.lengths.float().mean()),
        "eos_rate": float(rollout.ended.float().mean()),
        "entropy": float(masked_mean(rollout.entropy, mask)),
    }


def critic_metrics(rollout: Rollout) -> dict[str, float]:
    """What the rollout says about the Critic before this update."""
    mask = rollout.response_mask
    return {
        "value_mean": float(masked_mean(rollout.old_values, mask)),
        "return_mean": float(masked_mean(rollout.returns, mask)),
        "explained_variance": float(explained_variance(rollout.old_values, rollout.returns, mask)),
    }


class UpdateMetrics:
    """Averages over the optimiser steps of one update, each step weighted alike.

    `add_batch` is called once a microbatch and `close_step` once an optimiser step. Of several
    processes each adds its part, and all get the same averages and the same decisions.
    """

    def __init__(self, config: OnlineConfig) -> None:
        # settings that not every algorithm has
        self._clip_range: float | None = getattr(config, "clip_range", None)
        self._value_clip_range: float | None = getattr(config, "value_clip_range", None)
        self._target_kl: float | None = getattr(config, "target_kl", None)
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._ratio_max = 0.0
        self._ratio_error_first: float | None = None
        self._first_step_error = 0.0
        self._step_approx_kl = 0.0
        self._steps_seen = 0
        self._steps_taken = 0

    def add(self, name: str, value: float) -> None:
        """Add one step's value of a metric."""
        self._sums[name] += value

    def add_batch(
        self, batch: Rollout, log_probs: Tensor, values: Tensor | None, share: float
    ) -> None:
        """Add a microbatch that has `share` of the step's tokens; `values` None = no Critic."""
        mask, weight = batch.response_mask, share
        log_ratio = masked(log_probs, mask) - masked(batch.old_log_probs, mask)
        ratio = log_ratio.exp()
        self.add("ratio_mean", weight * float(masked_mean(ratio, mask)))
        if self._clip_range is not None:
            clipped = share_beyond(ratio - 1.0, self._clip_range, mask)
            self.add("clip_fraction", weight * float(clipped))
        if values is not None and self._value_clip_range is not None:
            moved = share_beyond(values - batch.old_values, self._value_clip_range, mask)
            self.add("value_clip_fraction", weight * float(moved))
        self._step_approx_kl += weight * float(approx_kl(log_ratio, mask))
        if mask.any():
            self._ratio_max = max(self._ratio_max, float(ratio[mask].max()))
            error = float((ratio[mask] - 1.0).abs().max())
            self._first_step_error = max(self._first_step_error, error)

    def close_step(self) -> bool:
        """End an optimiser step; True when its KL(old‖new) exceeds `target_kl`."""
        if self._ratio_error_first is None:
            self._ratio_error_first = self._first_step_error
        self.add("approx_kl", self._step_approx_kl)
        too_far = False
        if self._target_kl is not None:
            step_kl = here().sum({"approx_kl": self._step_approx_kl})["approx_kl"]
            too_far = step_kl > self._target_kl
        self._step_approx_kl = 0.0
        self._steps_seen += 1
        self._steps_taken += not too_far
        return too_far

    def averages(self) -> dict[str, float]:
        """The metrics of the update."""
        # every process has the whole gradient's norm, and its own part of all the rest
        parts = {name: total for name, total in self._sums.items() if "grad_norm" not in name}
        sums = self._sums | here().sum(parts)
        most = here().largest(
            {"ratio_max": self._ratio_max, "ratio_error_first": self._ratio_error_first or 0.0}
        )
        means = {
            # a step that `target_kl` skipped was seen, but has no gradient norm
            name: total / (self._steps_taken if "grad_norm" in name else self._steps_seen)
            for name, total in sums.items()
        }
        return means | most | {"optimiser_steps": float(self._steps_taken)}
