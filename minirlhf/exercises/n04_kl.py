"""Exercises of notebook 04: the KL, its three estimators, and what their gradients do."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="04",
    title="The exact KL of two distributions",
    difficulty=2,
    importance=4,
    minutes=6,
    task="""
        Given the log-probabilities that Actor and Reference give to *every* token of the
        vocabulary, compute $KL(\\pi\\,\\|\\,\\pi_{ref})$ without sampling. The tokens are on the
        last axis. A token that the Actor never chooses ($\\log\\pi = -\\infty$) must add 0.
        """,
    hints=(
        "A mean under the Actor: each token's $\\log\\pi - \\log\\pi_{ref}$ counts as often as the "
        "*Actor* chooses it.",
        "`(log_pi.exp() * (log_pi - ref_log_pi)).sum(-1)` is nearly it; but `0 * -inf` is NaN. "
        "`torch.where(condition, a, b)` picks without multiplying.",
    ),
    remark="""
        With the whole distribution at hand there is no luck in it. In a real model this needs all
        logits of both models, (B, R, V); that is why systems make do with the sampled token.
        """,
)
def exact_kl(log_pi: Tensor, ref_log_pi: Tensor) -> Tensor:
    """KL(π‖π_ref) in nats; both (..., V), log-probabilities. Returns (...)."""
    pi = log_pi.exp()
    return torch.where(pi > 0, pi * (log_pi - ref_log_pi), 0.0).sum(dim=-1)


@exact_kl.cases
def _(draw: Draw) -> Iterator[Case]:
    half, skewed = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
    yield Case("two tokens", skewed.log(), half.log())
    yield Case("the other way round", half.log(), skewed.log())
    yield Case("the same twice", skewed.log(), skewed.log())
    policies = draw.normal(2, 3, 4, 5).log_softmax(-1)
    yield Case("a batch of states", policies[0], policies[1])
    yield Case("a token that the Actor never chooses", torch.tensor([0.0, 1.0]).log(), half.log())


@exact_kl.wrong(
    "You compute KL(π_ref‖π), the other direction: its mean is taken over the Reference's tokens. "
    "Whose samples do we have in stage 3?"
)
def _(log_pi: Tensor, ref_log_pi: Tensor) -> Tensor:
    return (ref_log_pi.exp() * (ref_log_pi - log_pi)).sum(dim=-1)


@exact_kl.wrong(
    "You give every token of the vocabulary the same weight. Tokens that the Actor hardly ever "
    "chooses must hardly count."
)
def _(log_pi: Tensor, ref_log_pi: Tensor) -> Tensor:
    return (log_pi - ref_log_pi).mean(dim=-1)


@exact_kl.wrong(
    "The sign is turned round: this is never positive. The Actor's log-probability comes first."
)
def _(log_pi: Tensor, ref_log_pi: Tensor) -> Tensor:
    pi = log_pi.exp()
    return torch.where(pi > 0, pi * (ref_log_pi - log_pi), 0.0).sum(dim=-1)


@exact_kl.wrong(
    "Right, but for one thing: where π is 0, you multiply 0 by −∞, and that is NaN. Such a token "
    "never occurs, so it must add 0."
)
def _(log_pi: Tensor, ref_log_pi: Tensor) -> Tensor:
    return (log_pi.exp() * (log_pi - ref_log_pi)).sum(dim=-1)


@exercise(
    notebook="04",
    title="k1, k2 and k3",
    difficulty=2,
    importance=5,
    minutes=7,
    task="""
        Write the three estimators, one number for each token. They may be used in a loss later, so
        the gradient with respect to `log_probs` has to survive; the check looks at it, too.
        """,
    hints=(
        "Begin with `k1 = log_probs - ref_log_probs`; the other two can be written with it.",
        "For k3, $d = \\log\\pi_{ref} - \\log\\pi$ is `-k1`. `torch.expm1(d)` is $e^d - 1$, "
        "without losing the last digits where $d$ is near 0.",
    ),
    remark="`minirlhf.per_token_kl` says the same.",
    gradient_of=("log_probs",),
)
def per_token_kl(log_probs: Tensor, ref_log_probs: Tensor, *, estimator: str = "k1") -> Tensor:
    """One estimate of KL(π‖π_ref) for each token, nats; all (B, R). "k1", "k2" or "k3"."""
    k1 = log_probs - ref_log_probs
    if estimator == "k1":
        return k1
    if estimator == "k2":
        return 0.5 * k1**2
    return torch.expm1(-k1) + k1


@per_token_kl.cases
def _(draw: Draw) -> Iterator[Case]:
    liked, disliked = torch.tensor([[-0.5]]), torch.tensor([[-1.5]])
    yield Case("k1, the Actor likes the token more", liked, disliked, estimator="k1")
    yield Case("k1, the Reference likes it more", disliked, liked, estimator="k1")
    yield Case("k2, the Reference likes it more", disliked, liked, estimator="k2")
    yield Case("k3, the Reference likes it more", disliked, liked, estimator="k3")
    yield Case("k3, both alike", liked, liked, estimator="k3")
    yield Case("no token", liked[:, :0], liked[:, :0], estimator="k2")
    log_probs, ref_log_probs = draw.log_probs(2, 4), draw.log_probs(2, 4)
    for name in ("k1", "k2", "k3"):
        yield Case(f"{name}, eight tokens", log_probs, ref_log_probs, estimator=name)


@per_token_kl.wrong(
    "k1 is turned round, and k3 with it: you begin with ref_log_probs − log_probs. On average over "
    "the Actor's own tokens, that is minus the KL."
)
def _(log_probs: Tensor, ref_log_probs: Tensor, *, estimator: str = "k1") -> Tensor:
    k1 = ref_log_probs - log_probs
    return {"k1": k1, "k2": 0.5 * k1**2, "k3": torch.expm1(-k1) + k1}[estimator]


@per_token_kl.wrong(
    "k3 is flipped: its exponent needs log π_ref − log π. As it stands it grows exponentially "
    "where the Actor has gone beyond the Reference, and its mean is not the KL."
)
def _(log_probs: Tensor, ref_log_probs: Tensor, *, estimator: str = "k1") -> Tensor:
    k1 = log_probs - ref_log_probs
    return {"k1": k1, "k2": 0.5 * k1**2, "k3": torch.expm1(k1) - k1}[estimator]


@per_token_kl.wrong("k2 is twice too large: where is the ½?")
def _(log_probs: Tensor, ref_log_probs: Tensor, *, estimator: str = "k1") -> Tensor:
    k1 = log_probs - ref_log_probs
    return {"k1": k1, "k2": k1**2, "k3": torch.expm1(-k1) + k1}[estimator]


@per_token_kl.wrong(
    "You made k1 positive. A single k1 may be negative; only its mean cannot, and without the "
    "negative ones the mean is too large."
)
def _(log_probs: Tensor, ref_log_probs: Tensor, *, estimator: str = "k1") -> Tensor:
    k1 = log_probs - ref_log_probs
    return {"k1": k1.abs(), "k2": 0.5 * k1**2, "k3": torch.expm1(-k1) + k1}[estimator]


@per_token_kl.wrong(
    "The values are right, the gradient is lost: something detaches log_probs (no_grad, detach, "
    "item). In a loss such a term would do nothing."
)
def _(log_probs: Tensor, ref_log_probs: Tensor, *, estimator: str = "k1") -> Tensor:
    k1 = (log_probs - ref_log_probs).detach()
    return {"k1": k1, "k2": 0.5 * k1**2, "k3": torch.expm1(-k1) + k1}[estimator]
