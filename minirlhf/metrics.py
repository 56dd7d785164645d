"""What every number on the dashboard means: one table, and the pure functions behind it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minirlhf.masks import masked, masked_mean


@dataclass(frozen=True)
class Metric:
    """One line of the table of metrics."""

    formula: str
    unit: str
    healthy: tuple[float | None, float | None]  # lowest, highest; None = no bound
    meaning: str


METRICS: dict[str, Metric] = {
    # stage 1
    "sft_loss": Metric(
        "mean −log π(token)", "nats per token", (0.0, None), "should fall, then level"
    ),
    # stage 2
    "preference_loss": Metric(
        "mean −log σ(r_c − r_r)", "nats", (0.0, 0.69), "guessing costs log 2 = 0.693"
    ),
    "accuracy": Metric(
        "share of pairs with r_c > r_r",
        "1",
        (0.5, 1.0),
        "on this step's pairs; DPO's r are its implicit rewards, all 0 at first",
    ),
    "held_out_accuracy": Metric(
        "the same, on pairs never trained on", "1", (0.55, 1.0), "noise in the labels limits it"
    ),
    # DPO: preferences train the Actor itself
    "dpo_loss": Metric(
        "mean −log σ(r_c − r_r), r = β·log(π/π_ref)", "nats", (0.0, 0.69), "starts at log 2 = 0.693"
    ),
    "reward_margin": Metric("mean r_c − r_r", "reward", (0.0, None), "implicit; should rise"),
    "chosen_reward": Metric(
        "mean r_c = β·log(π/π_ref)", "reward", (None, None), "below 0: even good answers got rarer"
    ),
    "rejected_reward": Metric("mean r_r", "reward", (None, 0.0), "should fall"),
    # stage 3: what is maximised
    "score": Metric(
        "mean score, penalty included", "reward", (None, None), "the proxy: should rise"
    ),
    "gold": Metric(
        "mean true reward", "reward", (None, None), "only worlds with a known gold have it"
    ),
    "kl": Metric(
        "mean over responses of Σ_t kl_t",
        "nats per response",
        (0.0, 30.0),
        "distance from Reference",
    ),
    "reward": Metric("mean of Σ_t R_t", "reward", (None, None), "score − β·KL: the objective"),
    "kl_coef": Metric("β", "reward per nat", (0.0, None), "moves only with a KL target"),
    "length": Metric("mean counted tokens", "tokens", (1.0, None), "a slow drift is a warning"),
    "eos_rate": Metric(
        "share that ended by itself", "1", (0.8, 1.0), "low: responses are being cut"
    ),
    "entropy": Metric(
        "mean −Σ_v π_v log π_v", "nats per token", (0.1, None), "near 0: the Actor repeats itself"
    ),
    # stage 3: the Actor's update
    "actor_loss": Metric(
        "mean max(−Âρ, −Â·clip ρ)",
        "units of Â",
        (-0.3, 0.3),
        "near 0 is normal, no trend needed; GRPO adds β·mean k3",
    ),
    "baseline": Metric(
        "mean return of earlier batches", "reward", (None, None), "REINFORCE compares with it"
    ),
    "ratio_mean": Metric("mean ρ_t over the update", "1", (0.9, 1.1), "should float around 1"),
    "ratio_max": Metric("max ρ_t over the update", "1", (1.0, 10.0), "one token that ran away"),
    "ratio_error_first": Metric(
        "max |ρ_t − 1| on the first minibatch",
        "1",
        (0.0, 1e-5),
        "0 but for rounding, or it is a bug",
    ),
    "approx_kl": Metric(
        "mean (ρ − 1) − log ρ", "nats per token", (0.0, 0.1), "KL(old‖new), how far one update went"
    ),
    "clip_fraction": Metric("share with |ρ_t − 1| > ε", "1", (0.0, 0.4), "tokens no longer paid"),
    "actor_grad_norm": Metric(
        "‖∇actor_loss‖ before clipping", "1", (0.0, None), "spikes are a warning"
    ),
    "optimiser_steps": Metric(
        "steps taken", "1", (1.0, None), "fewer: target_kl stopped the update"
    ),
    # stage 3: the Critic's update
    "critic_loss": Metric(
        "½ mean max of squares",
        "reward²",
        (0.0, None),
        "moves with what there is to foresee; judge by explained_variance",
    ),
    "value_mean": Metric("mean V_old", "reward", (None, None), "should follow the returns"),
    "return_mean": Metric("mean Â_t + V_t", "reward", (None, None), "what came, by GAE"),
    "explained_variance": Metric(
        "1 − Var(return − V) / Var(return)", "1", (0.2, 1.0), "≤ 0: the Critic is useless"
    ),
    "value_clip_fraction": Metric(
        "share with |V − V_old| > ε_v", "1", (0.0, 0.5), "critic held back"
    ),
    "critic_grad_norm": Metric(
        "‖∇critic_loss‖ before clipping", "1", (0.0, None), "spikes are a warning"
    ),
    # all stages
    "lr": Metric("learning rate (of the Actor in stage 3)", "1", (0.0, None), ""),
    "grad_norm": Metric("‖∇loss‖ before clipping", "1", (0.0, None), "spikes are a warning"),
    "seconds": Metric("wall-clock time of this step", "s", (0.0, None), ""),
}


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """How much of the returns' spread the Critic foresaw: 1 − Var(return − V) / Var(return).

    Args:
        values: (B, R) reward units.
        returns: (B, R) reward units.
        mask: (B, R) bool.

    Returns:
        A scalar ≤ 1; 0 for a constant critic, and where the returns do not vary.
    """
    spread = _variance(returns, mask)
    unexplained = _variance(masked(returns, mask) - masked(values, mask), mask)
    return torch.where(spread > 0, 1.0 - unexplained / spread, torch.zeros_like(spread))


def approx_kl(log_ratio: Tensor, mask: Tensor) -> Tensor:
    """KL(old‖new) per token, from samples of the old policy: mean of (ρ − 1) − log ρ.

    Args:
        log_ratio: (B, R) nats, log π − log π_old.
        mask: (B, R) bool.

    Returns:
        A scalar ≥ 0, nats per token.
    """
    log_ratio = masked(log_ratio, mask)
    return masked_mean(torch.expm1(log_ratio) - log_ratio, mask)


def share_beyond(x: Tensor, limit: float, mask: Tensor) -> Tensor:
    """Share of counted places where |x| > limit: clip fractions of the ratio and of the values."""
    return masked_mean((x.abs() > limit).float(), mask)


def _variance(x: Tensor, mask: Tensor) -> Tensor:
    return masked_mean((masked(x, mask) - masked_mean(x, mask)) ** 2, mask)
