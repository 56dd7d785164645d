"""Four mistakes in the formulas between the models."""

from typing import Any

import torch
from torch import Tensor

from minirlhf.masks import at_least_float32, masked, masked_whiten
from minirlhf.museum.bug import Bug, Wrong


def reward_on_a_pad(
    right: Wrong,
    scores: Tensor,
    kl: Tensor,
    response_mask: Tensor,
    *,
    score_clip: float | None = None,
    **options: Any,
) -> Any:
    """Put the score in the last column of the batch."""
    rewards = right(torch.zeros_like(scores), kl, response_mask, **options)
    limit = torch.inf if score_clip is None else score_clip
    rewards[:, -1] += scores.clamp(-limit, limit)  # WRONG: the last token of the widest row
    # right: rewards[rows, lengths - 1] += …, the last counted token of each row
    return rewards


REWARD_ON_A_PAD = Bug(
    name="reward_on_a_pad",
    title="reward on a pad",
    story=(
        "The score was added to the last column, rewards[:, -1], which is right as long as all "
        "responses have one length (as in OpenAI's first code, the last thread below). Once they "
        "end by themselves, that column is padding in every row but the widest, and no mask lets "
        "it count. Add the score at each row's last counted token. In the other two threads it "
        "lands one slot after EOS, a close relative that is there on purpose."
    ),
    symptom=(
        "reward, a sum over all columns, looks right, but return_mean stays near 0: for most "
        "responses the counted rewards are the KL toll alone. explained_variance is far below 0 "
        "at once, the score rises more slowly, and responses grow: only the widest is paid."
    ),
    watch=("return_mean", "reward", "explained_variance", "length"),
    sources=(
        "https://github.com/huggingface/trl/issues/3750",
        "https://github.com/huggingface/trl/issues/1893",
        "https://github.com/openai/lm-human-preferences/issues/12",
    ),
    replaces={"minirlhf.rewards:per_token_rewards": reward_on_a_pad},
)


def flipped_k3(
    right: Wrong, log_probs: Tensor, ref_log_probs: Tensor, *, estimator: str = "k1"
) -> Any:
    """Compute k3 with the log-ratio turned round."""
    if estimator != "k3":
        return right(log_probs, ref_log_probs, estimator=estimator)
    log_ratio = at_least_float32(log_probs) - at_least_float32(ref_log_probs)  # WRONG
    # right: log_ratio = ref_log_probs - log_probs
    return torch.expm1(log_ratio) - log_ratio


FLIPPED_K3 = Bug(
    name="flipped_k3",
    title="flipped k3",
    story=(
        "k3 = exp(d) − 1 − d needs d = log π_ref − log π; it was written with log π − log π_ref. "
        "Then E[exp(d)] is no longer 1 under the Actor, so the estimate is biased, and it grows "
        "exponentially just where the Actor has gone beyond the Reference: one new word may cost "
        "hundreds of nats. The first thread has this very line; in the second the ratio itself "
        "was exponentiated."
    ),
    symptom=(
        "kl is never negative and looks right while it is small. Then it spikes to tens, "
        "hundreds or thousands; reward and return_mean plunge with it, critic_loss explodes, and "
        "the next iteration may look calm again. log π − log π_ref over the same tokens shows no "
        "spike."
    ),
    watch=("kl", "reward", "critic_loss"),
    sources=(
        "https://github.com/walkinglabs/hands-on-modern-rl/issues/27",
        "https://github.com/Rolv-Arild/rocket-learn/pull/12",
    ),
    replaces={"minirlhf.kl:per_token_kl": flipped_k3},
    settings={"kl_estimator": "k3"},
)


def whitened_before_returns(
    right: Wrong, rewards: Tensor, values: Tensor, response_mask: Tensor, **factors: float
) -> tuple[Tensor, Tensor]:
    """Whiten the advantages, then make returns of them."""
    advantages, _ = right(rewards, values, response_mask, **factors)
    advantages = masked_whiten(advantages, response_mask)  # WRONG: one line too early
    return advantages, masked(advantages + values, response_mask)
    # right: returns = advantages + values first, from the advantages in reward units


WHITENED_BEFORE_RETURNS = Bug(
    name="whitened_before_returns",
    title="whitening before returns",
    story=(
        "Two lines stood in the wrong order: advantages were whitened, and then returns = "
        "advantages + values was computed from them. Whitened advantages have mean 0 and variance "
        "1 whatever happened, so the Critic's target is its own old opinion plus noise of size 1. "
        "Returns come first; whitening is for the Actor alone. In the first thread the return "
        "itself was normalised, a close relative; the second asks what this line is for. (With "
        'the default target "td" the Critic is spared, and only the metrics are wrong.)'
    ),
    symptom=(
        "return_mean equals value_mean in every iteration, and neither follows the score; "
        "critic_loss stays near ½, half the variance of whitened advantages, for ever."
    ),
    watch=("return_mean", "value_mean", "critic_loss"),
    sources=(
        "https://github.com/luchris429/model-free-opponent-shaping/issues/1",
        "https://github.com/huggingface/trl/issues/19",
    ),
    replaces={"minirlhf.advantages:gae": whitened_before_returns},
    settings={"critic_target": "gae"},
)


def unmasked_mean(right: Wrong, x: Tensor, mask: Tensor) -> Tensor:
    """Average over padding, too."""
    return at_least_float32(x).mean()  # WRONG
    # right: masked(x, mask).sum() / mask.sum().clamp(min=1)


UNMASKED_MEAN = Bug(
    name="unmasked_mean",
    title="unmasked mean",
    story=(
        "A plain .mean() was taken over tensors that are padded. Padding joins the losses (diluted "
        "the more, the wider the widest response), the whitening (the counted advantages no longer "
        "have mean 0) and the metrics. Multiply by the mask and divide by the mask's sum."
    ),
    symptom=(
        "actor_loss sits far from 0 with the same sign in every iteration, since advantages are "
        "not centred; return_mean is well below reward although γ is 1; entropy and value_mean "
        "are not those of the counted tokens."
    ),
    watch=("actor_loss", "return_mean", "entropy", "value_mean"),
    sources=(
        "https://github.com/huggingface/trl/issues/2022",
        "https://github.com/NovaSky-AI/SkyRL/pull/462",
        "https://github.com/natolambert/rlhf-book/pull/216",
    ),
    replaces={"minirlhf.masks:masked_mean": unmasked_mean},
)
