"""How far the Actor has moved from the Reference: KL per token, and its coefficient β.

The Kullback–Leibler divergence KL(actor‖reference) = E_{y∼actor}[log π(y) − log π_ref(y)] is
estimated from the tokens the Actor sampled. **The samples must come from the actor**, the first
argument; text sampled any other way (top-k, another temperature) gives numbers that can be negative
for ever and mean nothing.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from minirlhf.masks import at_least_float32

KLEstimator = Literal["k1", "k2", "k3"]
KL_ESTIMATORS: tuple[KLEstimator, ...] = ("k1", "k2", "k3")


def per_token_kl(
    log_probs: Tensor, ref_log_probs: Tensor, *, estimator: KLEstimator = "k1"
) -> Tensor:
    """One sample's estimate of KL(actor‖reference) at each token.

        k1 = log π − log π_ref                               unbiased; can be negative
        k2 = ½·k1²                                           biased; never negative
        k3 = exp(log π_ref − log π) − 1 − (log π_ref − log π) unbiased; never negative

    Args:
        log_probs: (B, R) nats, under the actor that sampled the tokens.
        ref_log_probs: (B, R) nats, under the reference.
        estimator: "k1", "k2" or "k3". An unbiased estimate may still have the wrong *gradient*.

    Returns:
        (B, R) nats; keeps the gradient of both inputs.

    Raises:
        ValueError: shapes differ or the estimator is unknown.

    Example:
        >>> per_token_kl(torch.tensor([[-1.0]]), torch.tensor([[-1.5]]))
        tensor([[0.5000]])

    Reference: Schulman 2020, "Approximating KL divergence" (the names k1, k2, k3).
    """
    if log_probs.shape != ref_log_probs.shape:
        raise ValueError(
            f"log_probs {tuple(log_probs.shape)} and ref_log_probs "
            f"{tuple(ref_log_probs.shape)} must have the same shape"
        )
    if log_probs.shape[:1] == (0,):
        raise ValueError("empty batch: log_probs has 0 rows, wanted at least 1")
    k1 = at_least_float32(log_probs) - at_least_float32(ref_log_probs)
    if estimator == "k1":
        return k1
    if estimator == "k2":
        return 0.5 * k1**2
    if estimator == "k3":
        # expm1 keeps the digits that exp(−k1) − 1 loses when the two models agree
        return torch.expm1(-k1) + k1
    raise ValueError(
        f"unknown KL estimator {estimator!r}, wanted one of {', '.join(KL_ESTIMATORS)}"
    )


@dataclass(frozen=True)
class AdaptiveKL:
    """Turn β up when the measured KL is above a target, down when it is below.

        e = clip(KL / target − 1, −0.2, +0.2)
        β ← β·(1 + e·n / horizon)

    Attributes:
        target: wanted KL of a whole response, nats.
        horizon: number of responses over which β may change by about 20 %.

    Reference: Ziegler et al. 2019, arXiv:1909.08593, section 2.2.
    """

    target: float
    horizon: int

    def update(self, kl_coef: float, kl: float, n_responses: int) -> float:
        """The next β, from this β, the measured KL per response (nats) and their number."""
        error = min(max(kl / self.target - 1.0, -0.2), 0.2)
        return kl_coef * (1.0 + error * n_responses / self.horizon)
