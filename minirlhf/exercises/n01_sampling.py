"""Exercises of notebook 01: drawing a token, and how undecided a model is."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="01",
    title="Draw a token",
    difficulty=3,
    importance=3,
    minutes=8,
    task="""
        `log_pi` (B, V) are the log-probs of the next token, `noise` (B,) are numbers from [0, 1),
        each equally likely. Choose the first token whose **cumulative** probability is greater than
        the noise. Then token $v$ comes with probability $e^{\\log\\pi_v}$. (Rounding may leave even
        the last cumulative value a little below 1, and below the noise: then take the last token.)
        """,
    hints=(
        "`log_pi.exp().cumsum(dim=1)` is the cumulative probability, one row for each answer.",
        "Count, in each row, the tokens whose cumulative probability is *not* greater than the "
        "noise.",
        "Where rounding left the last value below the noise, that count is V: `.clamp(max=V - 1)`.",
    ),
    remark="`minirlhf.generation.draw` sums in float64, so that rare tokens are not rounded away.",
)
def draw_token(log_pi: Tensor, noise: Tensor) -> Tensor:
    """(B,) int: one token for each row, from log_pi (B, V) nats and noise (B,) in [0, 1)."""
    cumulative = log_pi.double().exp().cumsum(dim=1)
    passed = (cumulative <= noise[:, None]).sum(dim=1)
    return passed.clamp(max=log_pi.shape[1] - 1)


@draw_token.cases
def _(draw: Draw) -> Iterator[Case]:
    coin = torch.tensor([[0.5, 0.5]]).log()
    yield Case("a coin, 0.2", coin, torch.tensor([0.2]))
    yield Case("a coin, 0.7", coin, torch.tensor([0.7]))
    yield Case("a coin, exactly 0.5", coin, torch.tensor([0.5]))
    yield Case(
        "noise 0, first token impossible", torch.tensor([[0, 0.25, 0.75]]).log(), torch.zeros(1)
    )
    yield Case("one token", torch.zeros(2, 1), torch.tensor([0.0, 0.999]))
    short = torch.full((1, 16), 1 / 16).log() - 2e-7  # 16 probabilities that sum to 0.9999997
    yield Case("rounding", short, torch.tensor([0.9999999]))
    log_pi = torch.log_softmax(2 * draw.normal(200, 5), dim=1)
    yield Case("many", log_pi, torch.rand(200, generator=draw.generator))


@draw_token.wrong(
    "You took the likeliest token, whatever the noise: that is greedy decoding. It gives the same "
    "answer every time, and there is nothing to compare and learn from."
)
def _(log_pi: Tensor, noise: Tensor) -> Tensor:
    return log_pi.argmax(dim=1)


@draw_token.wrong("You took cumulative log-probs. Probabilities are to be summed: exp comes first.")
def _(log_pi: Tensor, noise: Tensor) -> Tensor:
    passed = (log_pi.cumsum(dim=1) <= noise[:, None]).sum(dim=1)
    return passed.clamp(max=log_pi.shape[1] - 1)


@draw_token.wrong(
    "You compared each token's own probability with the noise. Lay the probabilities end to end "
    "first, from 0 to 1, and see in whose stretch the noise falls."
)
def _(log_pi: Tensor, noise: Tensor) -> Tensor:
    return (log_pi.exp() > noise[:, None]).long().argmax(dim=1)


@draw_token.wrong(
    "Nearly: where the noise equals a cumulative value, the next token must be taken. With noise 0 "
    "yours can draw a token of probability 0."
)
def _(log_pi: Tensor, noise: Tensor) -> Tensor:
    passed = (log_pi.double().exp().cumsum(dim=1) < noise[:, None]).sum(dim=1)
    return passed.clamp(max=log_pi.shape[1] - 1)


@draw_token.wrong(
    "Rounding left the last cumulative value below the noise, and you count V tokens before it: "
    "there is no token number V. Take the last one."
)
def _(log_pi: Tensor, noise: Tensor) -> Tensor:
    return (log_pi.double().exp().cumsum(dim=1) <= noise[:, None]).sum(dim=1)


@draw_token.wrong(
    "Rounding left the last cumulative value below the noise: no value is greater, and argmax of a "
    "row of False is 0, the first token. Take the last one."
)
def _(log_pi: Tensor, noise: Tensor) -> Tensor:
    return (log_pi.double().exp().cumsum(dim=1) > noise[:, None]).long().argmax(dim=1)


@exercise(
    notebook="01",
    title="How undecided is the model?",
    difficulty=2,
    importance=3,
    minutes=6,
    task="""
        Write the entropy $H = -\\sum_v \\pi_v \\log \\pi_v$ of each next-token distribution, in
        nats: (B, R) from `logits` (B, R, V). A forbidden token has the logit −∞ and adds nothing.
        """,
    hints=(
        "`log_pi = torch.log_softmax(logits, dim=-1)`; the probabilities are `log_pi.exp()`.",
        "For a forbidden token the product is 0 · (−∞), which is NaN. Put a 0 there.",
    ),
    remark="""
        An entropy lies between 0 (certain) and log V (no idea). If a dashboard shows a negative
        one, somebody estimated it from other tokens than those the model would have drawn.
        """,
)
def token_entropy(logits: Tensor) -> Tensor:
    """(B, R) nats: −Σ_v π_v·log π_v, from logits (B, R, V)."""
    log_pi = torch.log_softmax(logits, dim=-1)
    terms = log_pi.exp() * log_pi
    return -terms.where(log_pi > -torch.inf, 0.0).sum(dim=-1)


@token_entropy.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("a coin", torch.zeros(1, 1, 2))
    yield Case("one token", torch.zeros(1, 1, 1))
    yield Case("certain", torch.tensor([[[100.0, 0.0, 0.0]]]))
    yield Case("a batch", 2 * draw.normal(2, 3, 5))
    yield Case("forbidden tokens", torch.tensor([[[0.0, -torch.inf, 1.0, -torch.inf]]]))


@token_entropy.wrong("The sign: π·log π is never positive, so an entropy needs the minus.")
def _(logits: Tensor) -> Any:
    return -token_entropy.solution(logits)


@token_entropy.wrong("That is the entropy in bits. A nat is the unit of the natural logarithm.")
def _(logits: Tensor) -> Any:
    return token_entropy.solution(logits) / torch.tensor(2.0).log()


@token_entropy.wrong("You took the mean over the vocabulary. The sum is weighted by π already.")
def _(logits: Tensor) -> Any:
    return token_entropy.solution(logits) / logits.shape[-1]


@token_entropy.wrong("A forbidden token gave 0 · (−∞) = NaN. It must add 0.")
def _(logits: Tensor) -> Tensor:
    log_pi = torch.log_softmax(logits, dim=-1)
    return -(log_pi.exp() * log_pi).sum(dim=-1)
