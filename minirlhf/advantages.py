"""What the Critic should have said, and how much better than expected each token was.

Both functions read V(S_t) as recorded at rollout and take V after the last counted token as 0:
nothing more can be earned there, whether the response ended by itself or was cut.
"""

import torch
from torch import Tensor

from minirlhf.masks import check_response_mask, check_same_shape, masked


def td_target(rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float) -> Tensor:
    """The critic's one-step target: a fact, plus what the critic says comes after it.

        target_t = R_t + γ·V_{t+1}      (V after the last counted token is 0)

    R_t is a fact, so the *expected* target is nearer the truth: over all states its largest error
    is at most γ times that of V, and 0 at the last token. One sample of it carries the noise of the
    token that was drawn, which V_t does not (measured in `minirlhf.worlds.exact.targets`).

    Args:
        rewards: (B, R) reward units, from `per_token_rewards`.
        values: (B, R) reward units; V(S_t) recorded at rollout, fixed over the PPO epochs.
        response_mask: (B, R) bool, True = counted; each row is Trues, then Falses.
        gamma: discount in [0, 1]; 1 = a later reward counts as much as one now.

    Returns:
        (B, R) reward units, 0 where masked, without gradient.

    Raises:
        ValueError: shapes differ, a mask row has a gap, or γ lies outside [0, 1].

    Example:
        >>> rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.2, 0.6]])
        >>> td_target(rewards, values, torch.ones(1, 2, dtype=torch.bool), gamma=1.0)
        tensor([[0.6000, 1.0000]])

    Reference: Sutton & Barto 2018, section 6.1 (the TD(0) target).
    """
    _check(rewards, values, response_mask, gamma=gamma)
    with torch.no_grad():
        rewards = masked(rewards, response_mask)
        values = masked(values, response_mask)
        return masked(rewards + gamma * _next(values), response_mask)


def gae(
    rewards: Tensor, values: Tensor, response_mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Advantages by generalised advantage estimation, and the returns that go with them.

        δ_t = R_t + γ·V_{t+1} − V_t      (V after the last counted token is 0)
        Â_t = δ_t + γλ·Â_{t+1}
        return_t = Â_t + V_t

    λ is how much the sampled future is trusted over the critic: λ = 0 gives Â_t = δ_t and
    return_t = R_t + γV_{t+1}; λ = 1 (with γ = 1) gives all the reward still to come, minus V_t.
    The loop runs backwards because Â_t contains Â_{t+1}.

    Args:
        rewards: (B, R) reward units, from `per_token_rewards`.
        values: (B, R) reward units; V(S_t) recorded at rollout.
        response_mask: (B, R) bool, True = counted; each row is Trues, then Falses.
        gamma: discount in [0, 1].
        lam: λ in [0, 1].

    Returns:
        advantages, returns: (B, R) each, reward units, 0 where masked, not whitened, no gradient.

    Raises:
        ValueError: shapes differ, a mask row has a gap, or γ or λ lies outside [0, 1].

    Example:
        >>> rewards, values = torch.tensor([[0.0, 0.0, 1.0]]), torch.full((1, 3), 0.5)
        >>> gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), gamma=1.0, lam=0.5)[0]
        tensor([[0.1250, 0.2500, 0.5000]])

    Reference: Schulman et al. 2016, arXiv:1506.02438, eq. 16.
    """
    _check(rewards, values, response_mask, gamma=gamma, lam=lam)
    with torch.no_grad():
        rewards = masked(rewards, response_mask)
        values = masked(values, response_mask)
        delta = masked(rewards + gamma * _next(values) - values, response_mask)
        advantages = torch.zeros_like(delta)
        advantage = torch.zeros_like(delta[:, 0]) if delta.shape[1] else delta.sum(dim=1)
        for t in reversed(range(delta.shape[1])):
            advantage = delta[:, t] + gamma * lam * advantage
            advantages[:, t] = advantage
        return advantages, masked(advantages + values, response_mask)


def _next(values: Tensor) -> Tensor:
    """V_{t+1} at place t: shifted left by one, 0 after the end."""
    return torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)


def _check(rewards: Tensor, values: Tensor, response_mask: Tensor, **factors: float) -> None:
    check_response_mask(response_mask)
    check_same_shape(response_mask, rewards=rewards, values=values)
    for name, factor in factors.items():
        if not 0.0 <= factor <= 1.0:
            raise ValueError(f"{name} must lie in [0, 1], got {factor}")
