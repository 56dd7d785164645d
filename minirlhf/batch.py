"""The records that are passed around: prompts in, rollouts through, step records out.

B batch, P prompt, R response, T = P + R. Index t on the response axis is action A_t, the t-th
response token; S_t is the prompt and the response before t. Per-token tensors live on the response
axis only; prompts are padded on the left, responses on the right.
"""

from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prompts:
    """A batch of prompts, padded on the left so that all end at the same slot."""

    prompt_ids: Tensor  # (B, P) int     x
    prompt_mask: Tensor  # (B, P) bool    False on left padding

    def to(self, device: torch.device) -> "Prompts":
        """The same prompts on another device."""
        return Prompts(self.prompt_ids.to(device), self.prompt_mask.to(device))


@dataclass(frozen=True)
class Responses:
    """What the Actor sampled, as the decode loop saw it."""

    response_ids: Tensor  # (B, R) int     y; padding after the end
    response_mask: Tensor  # (B, R) bool    counted tokens, the first EOS included
    ended: Tensor  # (B,)   bool    True where an EOS was sampled
    log_probs: Tensor  # (B, R) nats    log π(A_t given S_t), from the cached decode
    top_ids: Tensor | None = None  # (B, R, K) int   likeliest tokens at each step, on request
    top_log_probs: Tensor | None = None  # (B, R, K) nats


@dataclass(frozen=True)
class Rollout:
    """One batch of experience: everything that the two losses and the pictures read.

    No gradient anywhere. "old" means recorded before the update, under the policy that sampled.
    """

    prompt_ids: Tensor  # (B, P) int     x, left-padded
    prompt_mask: Tensor  # (B, P) bool
    response_ids: Tensor  # (B, R) int     y, right-padded
    response_mask: Tensor  # (B, R) bool    True = counted; Trues, then Falses
    old_log_probs: Tensor  # (B, R) nats    log π_old(A_t given S_t)
    ref_log_probs: Tensor  # (B, R) nats    log π_ref(A_t given S_t)
    old_values: Tensor  # (B, R) reward  V_old(S_t), read before the token
    scores: Tensor  # (B,)   reward  reward model's score, less the missing-EOS penalty
    kl: Tensor  # (B, R) nats    kl_t
    rewards: Tensor  # (B, R) reward  R_t
    advantages: Tensor  # (B, R) reward  Â_t, not whitened
    returns: Tensor  # (B, R) reward  Â_t + V_t
    td_target: Tensor  # (B, R) reward  R_t + γV_{t+1}
    ended: Tensor  # (B,)   bool    True where the response ended by itself
    entropy: Tensor  # (B, R) nats    of the actor's next-token distribution at S_t
    top_ids: Tensor | None = None  # (B, R, K) int   the actor's likeliest tokens, on request
    top_log_probs: Tensor | None = None  # (B, R, K) nats

    @property
    def lengths(self) -> Tensor:
        """(B,) int: counted tokens of each response."""
        return self.response_mask.sum(dim=1)

    def select(self, rows: Tensor) -> "Rollout":
        """The rollout of some rows only; `rows` is an index tensor."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v[rows] for k, v in chosen.items() if v is not None})


@dataclass(frozen=True)
class StepRecord:
    """What a trainer yields after each optimiser step, or iteration of stage 3."""

    stage: str  # the command: "sft", "reward", "ppo", "reinforce", "rloo", "grpo" or "dpo"
    step: int  # 1, 2, …
    total: int  # steps that the run will have
    metrics: dict[str, float] = field(default_factory=dict)  # explained in minirlhf.metrics.METRICS
    sample: str = ""  # one prompt and response, as text
    rollout: Rollout | None = None  # of algorithms that sample
