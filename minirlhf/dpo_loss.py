"""DPO's loss: the Actor is its own reward model.

The policy that maximises E[r] − β·KL is π*(y) ∝ π_ref(y)·exp(r(y)/β). Solved for r, it says which
reward a policy is the best answer to: β·log(π(y)/π_ref(y)), up to a constant of the prompt. Put
that reward into Bradley–Terry, where the constant cancels, and preferences train the policy itself.
"""

from torch import Tensor

from minirlhf.losses import preference_loss
from minirlhf.masks import check_response_mask, check_same_shape, masked


def implicit_rewards(
    log_probs: Tensor, ref_log_probs: Tensor, response_mask: Tensor, *, kl_coef: float
) -> Tensor:
    """The reward of each whole response for which the Actor would be the best policy.

        r_i = β·Σ_t (log π(A_t given S_t) − log π_ref(A_t given S_t))

    Args:
        log_probs: (B, R) nats, under the actor, with gradient.
        ref_log_probs: (B, R) nats, under the reference; no gradient flows into them.
        response_mask: (B, R) bool, True = counted.
        kl_coef: β > 0, reward units per nat.

    Returns:
        (B,) reward units, up to a constant of the prompt; 0 while Actor and Reference agree.

    Raises:
        ValueError: shapes differ, a mask row has a gap, or β is not a positive number.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[True, True, False]])
        >>> implicit_rewards(-torch.ones(1, 3), -torch.full((1, 3), 1.5), mask, kl_coef=0.1)
        tensor([0.1000])

    Reference: Rafailov et al. 2023, arXiv:2305.18290, eq. 5.
    """
    check_response_mask(response_mask)
    check_same_shape(response_mask, log_probs=log_probs, ref_log_probs=ref_log_probs)
    if not 0.0 < kl_coef < float("inf"):
        raise ValueError(f"kl_coef must be a positive number, got {kl_coef}")
    log_ratio = masked(log_probs, response_mask) - masked(ref_log_probs, response_mask).detach()
    return kl_coef * log_ratio.sum(dim=1)


def dpo_loss(chosen_scores: Tensor, rejected_scores: Tensor) -> Tensor:
    """Bradley–Terry on the implicit rewards: make the chosen response likelier than the other.

        loss = mean of −log σ(β·log(π(y_c)/π_ref(y_c)) − β·log(π(y_r)/π_ref(y_r)))

    Args:
        chosen_scores: (B,) reward units, from `implicit_rewards`.
        rejected_scores: (B,) reward units, from `implicit_rewards`.

    Returns:
        A scalar, nats; log 2 ≈ 0.693 while Actor and Reference agree.

    Raises:
        ValueError: shapes differ, or the batch is empty.

    Reference: Rafailov et al. 2023, arXiv:2305.18290, eq. 7.
    """
    return preference_loss(chosen_scores, rejected_scores)
