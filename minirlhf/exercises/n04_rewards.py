"""Exercises of notebook 04: R_t, and the KL under top-k sampling."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="04",
    title="R_t, with padding",
    difficulty=3,
    importance=5,
    minutes=10,
    task="""
        Build $R_t = -\\beta\\,kl_t$, plus the score on the last counted token of each row, clipped
        to ±`score_clip` if there is one. Padding gets 0 and is never read: `kl` may hold NaN
        there. A response without a single token has nowhere to put its score, which is then
        dropped.
        """,
    hints=(
        "A token is the last counted one if it is counted and the next one is not (or there is no "
        "next one). That can be said with the mask alone.",
        "`torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)` is the mask of the "
        "*next* place. And `where`, not `*`: 0 · NaN is NaN.",
        "`rewards = torch.where(mask, -kl_coef * kl, 0.0)`, then add `scores[:, None]` where the "
        "token is the last.",
    ),
    remark="`minirlhf.per_token_rewards` says the same, and refuses masks with gaps.",
)
def per_token_rewards(
    scores: Tensor,
    kl: Tensor,
    response_mask: Tensor,
    *,
    kl_coef: float,
    score_clip: float | None = None,
) -> Tensor:
    """R_t; scores (B,), kl and response_mask (B, R). Returns (B, R), 0 where masked."""
    if score_clip is not None:
        scores = scores.clamp(-score_clip, score_clip)
    next_counts = torch.cat([response_mask[:, 1:], torch.zeros_like(response_mask[:, :1])], dim=1)
    is_last = response_mask & ~next_counts
    rewards = torch.where(response_mask, -kl_coef * kl, 0.0)
    return torch.where(is_last, rewards + scores[:, None], rewards)


@per_token_rewards.cases
def _(draw: Draw) -> Iterator[Case]:
    score, ones = torch.tensor([2.0]), torch.ones(1, 4)
    yield Case("one token", score, ones[:, :1], draw.mask(1), kl_coef=0.5)
    yield Case("three tokens", score, ones[:, :3], draw.mask(3), kl_coef=0.5)
    yield Case("two tokens and padding", score, ones, draw.mask(2, width=4), kl_coef=0.5)
    yield Case("β = 0", score, ones, draw.mask(3, width=4), kl_coef=0.0)
    high = torch.tensor([9.0, -9.0])
    kl = draw.normal(2, 3)
    yield Case("score_clip = 5", high, kl, draw.mask(3, 2), kl_coef=0.1, score_clip=5.0)
    steep = torch.tensor([[30.0, -30.0]])
    yield Case("a large KL", score, steep, draw.mask(2), kl_coef=1.0, score_clip=5.0)
    yield Case("no token in one row", high, kl, draw.mask(0, 3), kl_coef=0.1)
    mask = draw.mask(4, 2)
    holes = draw.normal(2, 4).where(mask, torch.nan)
    yield Case("NaN in the padding", draw.normal(2), holes, mask, kl_coef=0.3)


def clipped(x: Tensor, *, score_clip: float | None = None, **others: Any) -> Tensor:
    """Limited to ±score_clip, if there is one."""
    return x if score_clip is None else x.clamp(-score_clip, score_clip)


@per_token_rewards.wrong(
    "The score went into the last column. In a shorter row that is padding, and nobody is paid. "
    "Each row has its own last token."
)
def _(scores: Tensor, kl: Tensor, response_mask: Tensor, **settings: Any) -> Any:
    rewards = per_token_rewards.solution(0.0 * scores, kl, response_mask, **settings)
    rewards[:, -1] += clipped(scores, **settings)
    return rewards


@per_token_rewards.wrong(
    "Every token got the whole score. It is paid once, on the last counted token; so a longer "
    "response would earn more for the same score."
)
def _(scores: Tensor, kl: Tensor, response_mask: Tensor, **settings: Any) -> Any:
    rewards = per_token_rewards.solution(0.0 * scores, kl, response_mask, **settings)
    return torch.where(response_mask, rewards + clipped(scores, **settings)[:, None], 0.0)


@per_token_rewards.wrong(
    "Right, but for a response without a token: its last index is 0 − 1 = −1, which Python reads "
    "as the last column. Its score is to be dropped."
)
def _(scores: Tensor, kl: Tensor, response_mask: Tensor, **settings: Any) -> Any:
    rewards = per_token_rewards.solution(0.0 * scores, kl, response_mask, **settings)
    last = response_mask.sum(dim=1) - 1
    rewards[torch.arange(len(scores)), last] += clipped(scores, **settings)
    return rewards


@per_token_rewards.wrong("The KL is a toll: it is taken away, and you add it.")
def _(scores: Tensor, kl: Tensor, response_mask: Tensor, **settings: Any) -> Any:
    return per_token_rewards.solution(scores, -kl, response_mask, **settings)


@per_token_rewards.wrong("`score_clip` limits the score. You limit the whole R_t, toll included.")
def _(scores: Tensor, kl: Tensor, response_mask: Tensor, **settings: Any) -> Any:
    toll = {"kl_coef": settings["kl_coef"]}
    return clipped(per_token_rewards.solution(scores, kl, response_mask, **toll), **settings)


@per_token_rewards.wrong(
    "A NaN from the padding got through: a masked place must not be read, and multiplying it by 0 "
    "is reading it."
)
def _(scores: Tensor, kl: Tensor, response_mask: Tensor, **settings: Any) -> Any:
    return per_token_rewards.solution(scores, kl, response_mask, **settings) + 0.0 * kl


@exercise(
    notebook="04",
    title="The “KL” of somebody else's samples",
    difficulty=3,
    importance=4,
    minutes=8,
    task="""
        Tokens are drawn from the $k$ likeliest tokens of the Actor only, with their probabilities
        scaled up to sum to 1. But $kl_t = \\log\\pi - \\log\\pi_{ref}$ is read off the *full*
        distributions, as always. What is its mean, at one state? (`k` = 1 is greedy decoding.)
        """,
    hints=(
        "Two different distributions are at work: one decides how often a token comes, the other "
        "one what is written down for it.",
        "`log_pi.topk(k).indices` are the tokens; their weights are `log_pi[tokens].softmax(0)`.",
    ),
    remark="""
        With `k` = V it is the exact KL. With less, it is no KL of anything: it may be negative at
        every state, for ever. Gibbs' inequality protects a mean only if it is taken under π
        itself.
        """,
)
def mean_k1_under_top_k(log_pi: Tensor, ref_log_pi: Tensor, k: int) -> Tensor:
    """Mean of log π − log π_ref when the k likeliest tokens are sampled; both (V,). A scalar."""
    tokens = log_pi.topk(k).indices
    how_often = log_pi[tokens].softmax(dim=0)
    return (how_often * (log_pi - ref_log_pi)[tokens]).sum()


@mean_k1_under_top_k.cases
def _(draw: Draw) -> Iterator[Case]:
    log_pi = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    ref_log_pi = torch.tensor([0.5, 0.35, 0.1, 0.05]).log()
    yield Case("two of four tokens", log_pi, ref_log_pi, 2)
    yield Case("k = 1", log_pi, ref_log_pi, 1)
    yield Case("k = V, nothing left out", log_pi, ref_log_pi, 4)
    yield Case("the Actor is the Reference", log_pi, log_pi, 2)
    policies = draw.normal(2, 6).log_softmax(-1)
    yield Case("three of six tokens", policies[0], policies[1], 3)


@mean_k1_under_top_k.wrong(
    "The probabilities of the k tokens do not sum to 1 yet: a sampler that leaves tokens out draws "
    "the others more often."
)
def _(log_pi: Tensor, ref_log_pi: Tensor, k: int) -> Tensor:
    tokens = log_pi.topk(k).indices
    return (log_pi[tokens].exp() * (log_pi - ref_log_pi)[tokens]).sum()


@mean_k1_under_top_k.wrong(
    "You also *score* with the scaled-up probabilities. That would be an honest KL of the filtered "
    "policy; but here log π is read off the full softmax."
)
def _(log_pi: Tensor, ref_log_pi: Tensor, k: int) -> Tensor:
    tokens = log_pi.topk(k).indices
    filtered = log_pi[tokens].log_softmax(dim=0)
    return (filtered.exp() * (filtered - ref_log_pi[tokens])).sum()


@mean_k1_under_top_k.wrong("That is the exact KL, whatever k is: where are tokens left out?")
def _(log_pi: Tensor, ref_log_pi: Tensor, k: int) -> Tensor:
    return (log_pi.exp() * (log_pi - ref_log_pi)).sum()


@mean_k1_under_top_k.wrong("You took the k likeliest tokens of the Reference. Who is sampling?")
def _(log_pi: Tensor, ref_log_pi: Tensor, k: int) -> Tensor:
    tokens = ref_log_pi.topk(k).indices
    return (log_pi[tokens].softmax(dim=0) * (log_pi - ref_log_pi)[tokens]).sum()
