"""Exercise of notebook 08: from noted numbers to the two losses."""

from collections.abc import Iterator

import torch
from torch import Tensor

import minirlhf
from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="08",
    title="From noted numbers to the two losses",
    difficulty=4,
    importance=5,
    minutes=15,
    task="""
        Assemble the middle of a PPO step from the package's functions. Given what was noted at the
        rollout and what the two models say now, return `torch.stack` of the Actor's and the
        Critic's loss: a tensor of two numbers. $kl_t$ is k1 of the old log-probs; the Critic's
        target is $R_t + γV_{t+1}$; advantages are GAE's, whitened; the Actor's clip is the
        default, the Critic's loss has no clip. All tensors are (B, R) but `scores`, which is (B,).
        """,
    hints=(
        "You need, in this order: `minirlhf.per_token_kl`, `per_token_rewards`, `td_target`, "
        "`gae`, `masked_whiten`, `actor_loss`, `critic_loss`. `help(minirlhf.gae)` shows how one "
        "is called.",
        "Everything that is made before the losses uses the *old* log-probs and the *old* values.",
        "`minirlhf.gae(...)` returns advantages and returns; here only the first is needed. "
        "`critic_loss(..., value_clip_range=None)` has no clip.",
    ),
    remark="`PPOTrainer.accumulate` and `collect_rollout` do just this.",
    gradient_of=("log_probs", "values"),
)
def two_losses(
    log_probs: Tensor,
    values: Tensor,
    old_log_probs: Tensor,
    ref_log_probs: Tensor,
    old_values: Tensor,
    scores: Tensor,
    response_mask: Tensor,
    *,
    kl_coef: float,
    gamma: float,
    lam: float,
) -> Tensor:
    """Actor's and Critic's loss from noted numbers. Returns (2,)."""
    mask = response_mask
    kl = minirlhf.per_token_kl(old_log_probs, ref_log_probs)
    rewards = minirlhf.per_token_rewards(scores, kl, mask, kl_coef=kl_coef)
    targets = minirlhf.td_target(rewards, old_values, mask, gamma=gamma)
    advantages, _ = minirlhf.gae(rewards, old_values, mask, gamma=gamma, lam=lam)
    advantages = minirlhf.masked_whiten(advantages, mask)
    actor = minirlhf.actor_loss(log_probs, old_log_probs, advantages, mask)
    critic = minirlhf.critic_loss(values, old_values, targets, mask, value_clip_range=None)
    return torch.stack((actor, critic))


@two_losses.cases
def _(draw: Draw) -> Iterator[Case]:
    settings = (
        ("three tokens", (3,), 0.1, 1.0, 0.95),
        ("one token and three", (1, 3), 0.1, 1.0, 0.95),
        ("padding, γ = 0.9, λ = 0", (4, 2, 1), 0.2, 0.9, 0.0),
        ("β = 0, λ = 1", (2, 4), 0.0, 1.0, 1.0),
        ("a response without a token", (3, 0), 0.5, 1.0, 0.5),
    )
    for name, lengths, beta, gamma, lam in settings:
        mask = draw.mask(*lengths)
        old = draw.log_probs(*mask.shape)
        now, ref = old + 0.2 * draw.normal(*mask.shape), draw.log_probs(*mask.shape)
        values, noted = draw.normal(*mask.shape), draw.normal(*mask.shape)
        tensors = (now, values, old, ref, noted, 2 * draw.normal(len(mask)), mask)
        yield Case(name, *tensors, kl_coef=beta, gamma=gamma, lam=lam)


def _variant(
    *tensors: Tensor, kl_coef: float, gamma: float, lam: float, live_kl: bool = False,
    live_values: bool = False, whiten: bool = True, returns_as_target: bool = False,
    value_clip: float | None = None,
) -> Tensor:  # fmt: skip
    """The solution with one thing done otherwise."""
    log_probs, values, old, ref, old_values, scores, mask = tensors
    kl = minirlhf.per_token_kl(log_probs if live_kl else old, ref)
    rewards = minirlhf.per_token_rewards(scores, kl, mask, kl_coef=kl_coef)
    noted = values if live_values else old_values
    targets = minirlhf.td_target(rewards, noted, mask, gamma=gamma)
    advantages, returns = minirlhf.gae(rewards, noted, mask, gamma=gamma, lam=lam)
    if whiten:
        advantages = minirlhf.masked_whiten(advantages, mask)
    if returns_as_target:
        targets = returns
    actor = minirlhf.actor_loss(log_probs, old, advantages, mask)
    critic = minirlhf.critic_loss(values, old_values, targets, mask, value_clip_range=value_clip)
    return torch.stack((actor, critic))


WRONGS = {
    "live_kl": "The toll was paid when the text was written: kl_t belongs to the old log-probs, "
    "and stays as it is for all steps.",
    "live_values": "Target and advantages were made from the Critic of now. They belong to the "
    "rollout, and use the values noted there.",
    "returns_as_target": "The Critic's target is Â_t + V_t here. That is the other choice "
    '(critic_target="gae"); the task asks for R_t + γV_{t+1}.',
}


@two_losses.wrong(WRONGS["live_kl"])
def _(*tensors: Tensor, kl_coef: float, gamma: float, lam: float) -> Tensor:
    return _variant(*tensors, kl_coef=kl_coef, gamma=gamma, lam=lam, live_kl=True)


@two_losses.wrong(WRONGS["live_values"])
def _(*tensors: Tensor, kl_coef: float, gamma: float, lam: float) -> Tensor:
    return _variant(*tensors, kl_coef=kl_coef, gamma=gamma, lam=lam, live_values=True)


@two_losses.wrong(WRONGS["returns_as_target"])
def _(*tensors: Tensor, kl_coef: float, gamma: float, lam: float) -> Tensor:
    return _variant(*tensors, kl_coef=kl_coef, gamma=gamma, lam=lam, returns_as_target=True)


@two_losses.wrong("The advantages are not whitened: their scale is still that of the rewards.")
def _(*tensors: Tensor, kl_coef: float, gamma: float, lam: float) -> Tensor:
    return _variant(*tensors, kl_coef=kl_coef, gamma=gamma, lam=lam, whiten=False)


@two_losses.wrong(
    "The Critic's loss is clipped, which `critic_loss` does unless it is told not to."
)
def _(*tensors: Tensor, kl_coef: float, gamma: float, lam: float) -> Tensor:
    return _variant(*tensors, kl_coef=kl_coef, gamma=gamma, lam=lam, value_clip=0.2)
