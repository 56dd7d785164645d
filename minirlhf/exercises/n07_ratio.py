"""Exercises of notebook 07: the ratio, the six cases of the clip, and how far it went."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise, question


@exercise(
    notebook="07",
    title="The ratio",
    difficulty=1,
    importance=5,
    minutes=5,
    task="""
        Write $ρ_t = π(A_t|S_t)/π_{old}(A_t|S_t)$ for every counted token, from log-probs. All
        tensors are (B, R). Where masked the result is 0, and what stands there must not be read:
        it may be NaN, and its gradient is 0.
        """,
    hints=(
        "Dividing probabilities is subtracting logarithms.",
        "`torch.where(response_mask, x, 0.0)` before the exponential, and once more after it: then "
        "no NaN gets into the gradient.",
    ),
    remark="""
        Masking twice is no waste. A NaN that is only thrown away *after* `exp` still spoils the
        gradient, because 0 · NaN is NaN.
        """,
    gradient_of=("log_probs",),
)
def ratios(log_probs: Tensor, old_log_probs: Tensor, response_mask: Tensor) -> Tensor:
    """ρ_t = exp(log π − log π_old). Returns (B, R), 0 where masked."""
    log_ratio = torch.where(response_mask, log_probs - old_log_probs.detach(), 0.0)
    return torch.where(response_mask, log_ratio.exp(), 0.0)


@ratios.cases
def _(draw: Draw) -> Iterator[Case]:
    one = torch.ones(1, 1, dtype=torch.bool)
    yield Case("not moved", torch.tensor([[-1.0]]), torch.tensor([[-1.0]]), one)
    yield Case("likelier", torch.tensor([[-0.5]]), torch.tensor([[-1.0]]), one)
    yield Case("rarer", torch.tensor([[-3.0]]), torch.tensor([[-1.0]]), one)
    now, old, mask = draw.log_probs(3, 4), draw.log_probs(3, 4), draw.mask(4, 2, 0)
    yield Case("padding", now, old, mask)
    yield Case("NaN in the padding", now.where(mask, torch.nan), old.where(mask, torch.nan), mask)


@ratios.wrong(
    "You divided the log-probs. A quotient of probabilities is a difference of their logarithms."
)
def _(log_probs: Tensor, old_log_probs: Tensor, response_mask: Tensor) -> Tensor:
    safe = torch.where(response_mask, log_probs, 0.0)
    return safe / torch.where(response_mask, old_log_probs, 1.0)


@ratios.wrong(
    "That is the logarithm of the ratio: 0 where nothing moved. The ratio itself is 1 there."
)
def _(log_probs: Tensor, old_log_probs: Tensor, response_mask: Tensor) -> Tensor:
    return torch.where(response_mask, log_probs - old_log_probs, 0.0)


@ratios.wrong("Upside down: old over new. A token that became likelier must get a ratio above 1.")
def _(log_probs: Tensor, old_log_probs: Tensor, response_mask: Tensor) -> Tensor:
    log_ratio = torch.where(response_mask, old_log_probs - log_probs, 0.0)
    return torch.where(response_mask, log_ratio.exp(), 0.0)


@ratios.wrong("Padding got the ratio exp(0) = 1. Masked places are to be 0.")
def _(log_probs: Tensor, old_log_probs: Tensor, response_mask: Tensor) -> Tensor:
    return torch.where(response_mask, log_probs - old_log_probs, 0.0).exp()


question(
    "six_cases",
    notebook="07",
    title="The six cases",
    difficulty=3,
    importance=5,
    minutes=6,
    task="""
        A token's loss is $\\max(-Âρ,\\ -Â\\cdot\\mathrm{clip}(ρ, 1-ε, 1+ε))$. In which of the six
        cases does it have a gradient with respect to $\\log π$? Answer with six times True or
        False: first $Â > 0$ with ρ below, inside, above the range; then $Â < 0$ with ρ below,
        inside, above.
        """,
    hints=(
        "Take $Â = 1$, $ε = 0.2$ and $ρ = 0.5$. Which of $-Âρ$ and $-Â\\cdot$clip is larger? "
        "Does the larger one depend on ρ?",
        "Outside the range the clipped term is a constant. A gradient is left exactly where the "
        "*other* term is the larger one.",
        "There are two cases without a gradient, one for each sign of $Â$: there the token has "
        "already gone where we wanted it.",
    ),
    answer=[True, True, False, False, True, True],
    form="a list of six True / False",
    wrong=(
        (
            [False, True, False, False, True, False],
            "That would be the clipped term alone. The loss is the larger of two terms, so what "
            "moved the wrong way can still be pulled back.",
        ),
        (
            [True, True, False, True, True, False],
            "You asked only whether ρ is above the range. Look at the sign of Â as well: where "
            "does a token with Â < 0 want to go?",
        ),
        (
            [False, True, True, True, True, False],
            "Those are the cases of the smaller of the two terms. A loss takes the larger: it "
            "assumes the worse.",
        ),
        (
            [True, True, True, True, True, True],
            "Without a clip every token has a gradient. Outside the range one of the two terms is "
            "a constant.",
        ),
    ),
    remark="""
        The two Falses are the tokens that have already gone where their advantage sends them.
        Moving the wrong way, or not having moved, always leaves a gradient.
        """,
)


@exercise(
    notebook="07",
    title="How far did it go? KL(old‖new)",
    difficulty=2,
    importance=3,
    minutes=6,
    task="""
        The update's own distance: estimate $KL(π_{old}‖π)$ per token as the mean of $(ρ_t - 1) -
        \\log ρ_t$ over the counted tokens. `log_ratio` is $\\log π - \\log π_{old}$, (B, R);
        return a scalar, 0 if no token is counted.
        """,
    hints=(
        "ρ is `log_ratio.exp()`; `torch.expm1(x)` is $e^x - 1$ without losing small digits.",
        "Put 0 where masked before anything else, add up, divide by `response_mask.sum()`, which "
        "must not be 0.",
    ),
    remark="""
        It is k3 again (notebook 04), with the roles that belong here: π_old wrote the tokens, so
        the mean over them is KL(old‖new). `minirlhf.metrics.approx_kl` says the same.
        """,
)
def approx_kl(log_ratio: Tensor, mask: Tensor) -> Tensor:
    """Mean over counted tokens of (ρ − 1) − log ρ. Returns a scalar ≥ 0, in nats per token."""
    log_ratio = torch.where(mask, log_ratio, 0.0)
    return (torch.expm1(log_ratio) - log_ratio).sum() / mask.sum().clamp(min=1)


@approx_kl.cases
def _(draw: Draw) -> Iterator[Case]:
    one = torch.ones(1, 1, dtype=torch.bool)
    yield Case("not moved", torch.zeros(1, 1), one)
    yield Case("one token, twice as likely", torch.full((1, 1), 0.6931), one)
    yield Case("one token, half as likely", torch.full((1, 1), -0.6931), one)
    log_ratio, mask = draw.normal(3, 4), draw.mask(4, 2, 0)
    yield Case("padding", log_ratio, mask)
    yield Case("NaN in the padding", log_ratio.where(mask, torch.nan), mask)
    yield Case("no token", log_ratio, torch.zeros_like(mask))


@approx_kl.wrong(
    "The mean of −log ρ is right on average, but a single token can make it negative. Something "
    "that is 0 on average is still missing."
)
def _(log_ratio: Tensor, mask: Tensor) -> Tensor:
    return -torch.where(mask, log_ratio, 0.0).sum() / mask.sum().clamp(min=1)


@approx_kl.wrong(
    "You used 1/ρ instead of ρ. The old policy wrote these tokens, so ρ = new over old has mean 1 "
    "over them, and 1/ρ has not."
)
def _(log_ratio: Tensor, mask: Tensor) -> Tensor:
    log_ratio = torch.where(mask, log_ratio, 0.0)
    return (torch.expm1(-log_ratio) + log_ratio).sum() / mask.sum().clamp(min=1)


@approx_kl.wrong(
    "Half the squared log-ratio is near it for small steps, but it is another estimator (k2)."
)
def _(log_ratio: Tensor, mask: Tensor) -> Tensor:
    return 0.5 * (torch.where(mask, log_ratio, 0.0) ** 2).sum() / mask.sum().clamp(min=1)


@approx_kl.wrong("You divided by all places, padding included. Count the tokens.")
def _(log_ratio: Tensor, mask: Tensor) -> Tensor:
    log_ratio = torch.where(mask, log_ratio, 0.0)
    return (torch.expm1(log_ratio) - log_ratio).mean()
