"""Exercises of notebook 01: sums and means over the tokens that count."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise

NAN = float("nan")


@exercise(
    notebook="01",
    title="The log-prob of a whole answer",
    difficulty=2,
    importance=5,
    minutes=6,
    task="""
        Write $\\log\\pi(y \\mid x) = \\sum_t \\log\\pi(A_t \\mid S_t)$ over the counted tokens of
        each answer: (B,) nats from `log_probs` and `response_mask`, both (B, R). Masked places may
        hold NaN and must not be read. An answer without tokens has log-prob 0.
        """,
    hints=(
        "`0 * NaN` is NaN, so multiplying with the mask is not enough. What chooses instead?",
        "`log_probs.where(response_mask, 0.0)` puts a 0 wherever the mask is False.",
    ),
    remark="Probabilities multiply, log-probs add: a hundred factors of 0.1 would be 0 in float32.",
    gradient_of=("log_probs",),
)
def answer_log_prob(log_probs: Tensor, response_mask: Tensor) -> Tensor:
    """Log π(y given x) of each answer: (B,) nats, from (B, R) nats and (B, R) bool."""
    return log_probs.where(response_mask, 0.0).sum(dim=1)


@answer_log_prob.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("an empty answer", draw.log_probs(1, 2), draw.mask(0, width=2))
    yield Case("three tokens", torch.tensor([[-0.5, -1.0, -0.25]]), draw.mask(3))
    yield Case("padding", draw.log_probs(2, 4), draw.mask(4, 2))
    mask = draw.mask(3, 1, 0)
    yield Case("one token, none", draw.log_probs(2, 1), draw.mask(1, 0))
    yield Case("NaN where masked", draw.log_probs(3, 3).where(mask, NAN), mask)


@answer_log_prob.wrong("You also added the masked places.")
def _(log_probs: Tensor, response_mask: Tensor) -> Tensor:
    return log_probs.sum(dim=1)


@answer_log_prob.wrong(
    "You multiplied by the mask. 0 · NaN is NaN, so the filling got into the sum. Choose, do not "
    "multiply."
)
def _(log_probs: Tensor, response_mask: Tensor) -> Tensor:
    return (log_probs * response_mask).sum(dim=1)


@answer_log_prob.wrong(
    "That is the mean per token; its exponentials do not sum to 1 over all answers."
)
def _(log_probs: Tensor, response_mask: Tensor) -> Tensor:
    return log_probs.where(response_mask, 0.0).sum(dim=1) / response_mask.sum(dim=1).clamp(min=1)


@answer_log_prob.wrong("That is the probability. The task asks for its logarithm.")
def _(log_probs: Tensor, response_mask: Tensor) -> Tensor:
    return log_probs.where(response_mask, 0.0).sum(dim=1).exp()


@answer_log_prob.wrong("You multiplied the log-probs. Probabilities multiply; their logs do not.")
def _(log_probs: Tensor, response_mask: Tensor) -> Tensor:
    return log_probs.where(response_mask, 1.0).prod(dim=1)


@exercise(
    notebook="01",
    title="The masked mean",
    difficulty=2,
    importance=4,
    minutes=6,
    task="""
        Write the mean of `x` over the counted places: $\\sum mask \\cdot x / \\sum mask$, a scalar.
        All counted tokens of the batch weigh the same. Masked places may hold NaN. The mean of
        nothing is 0.
        """,
    hints=(
        "Sum first, with `where`; then divide by the number of Trues, not by the number of places.",
        "`mask.sum().clamp(min=1)` is a divisor that is never 0.",
    ),
    remark="`minirlhf.masked_mean`. All losses of this course are such means.",
    gradient_of=("x",),
)
def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of x over the places where mask is True: a scalar; 0 if there are none."""
    return x.where(mask, 0.0).sum() / mask.sum().clamp(min=1)


@masked_mean.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("one token", torch.tensor([[2.0]]), draw.mask(1))
    yield Case("1, 3 and one masked", torch.tensor([[1.0, 3.0, 99.0]]), draw.mask(2, width=3))
    mask = draw.mask(3, 1, 0)
    yield Case("a long and a short row", draw.normal(2, 6), draw.mask(6, 1))
    yield Case("NaN where masked", draw.normal(3, 3).where(mask, NAN), mask)
    yield Case("nothing is counted", draw.normal(1, 3), draw.mask(0, width=3))


@masked_mean.wrong("That is the plain mean: the filling joined in.")
def _(x: Tensor, mask: Tensor) -> Tensor:
    return x.mean()


@masked_mean.wrong("0 · NaN is NaN: multiplying with the mask lets the filling in. Choose instead.")
def _(x: Tensor, mask: Tensor) -> Tensor:
    return (x * mask).sum() / mask.sum().clamp(min=1)


@masked_mean.wrong("You divided by the number of places, filling included. Only Trues count.")
def _(x: Tensor, mask: Tensor) -> Tensor:
    return x.where(mask, 0.0).mean()


@masked_mean.wrong(
    "That is a mean of means: first of each row, then over rows. A token of a short answer then "
    "weighs more than one of a long answer. Some libraries do this; here each token weighs the "
    "same."
)
def _(x: Tensor, mask: Tensor) -> Tensor:
    return (x.where(mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()


@masked_mean.wrong("Where nothing is counted you divide 0 by 0. The mean of nothing is 0 here.")
def _(x: Tensor, mask: Tensor) -> Tensor:
    return x.where(mask, 0.0).sum() / mask.sum()


@exercise(
    notebook="01",
    title="The loss of stage 1",
    difficulty=3,
    importance=5,
    minutes=10,
    task="""
        Write the SFT loss: the mean of $-\\log\\pi(A_t \\mid S_t)$ over the counted tokens.
        `logits` (B, R, V) are aligned, `token_ids` and `mask` are (B, R). Where masked, logits may
        be NaN and the token id may be no token at all, such as −100: neither the loss nor its
        gradient may notice. The mean of nothing is 0.
        """,
    hints=(
        "Three steps: log-probs of all tokens, pick the written ones, masked mean of their "
        "negative.",
        "`gather` fails on −100, even where nobody wants the result: put a harmless id there "
        "first.",
        "`logits.where(mask[:, :, None], 0.0)` and `token_ids.where(mask, 0)` are harmless inputs.",
    ),
    remark="`minirlhf.sft_loss`. The field also calls it cross-entropy, or next-token loss.",
    gradient_of=("logits",),
)
def sft_loss(logits: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
    """Mean of −log π(token) over the counted tokens: a scalar, nats; 0 if nothing is counted."""
    log_pi = torch.log_softmax(logits.where(mask[:, :, None], 0.0), dim=-1)
    log_probs = log_pi.gather(2, token_ids.where(mask, 0)[:, :, None])[:, :, 0]
    return -log_probs.where(mask, 0.0).sum() / mask.sum().clamp(min=1)


@sft_loss.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("one token out of two", torch.zeros(1, 1, 2), torch.tensor([[1]]), draw.mask(1))
    yield Case("padding", draw.normal(2, 4, 3), draw.ids(3, 2, 4), draw.mask(4, 1))
    mask = draw.mask(3, 1)
    logits = draw.normal(2, 3, 4).where(mask[:, :, None], NAN)
    yield Case("NaN where masked", logits, draw.ids(4, 2, 3), mask)
    yield Case("−100 where masked", draw.normal(2, 3, 4), draw.ids(4, 2, 3).where(mask, -100), mask)
    none = draw.mask(0, width=2)
    yield Case("nothing is counted", draw.normal(1, 2, 3), draw.ids(3, 1, 2), none)


@sft_loss.wrong("The sign: a loss must fall when the written tokens get likelier.")
def _(logits: Tensor, token_ids: Tensor, mask: Tensor) -> Any:
    return -sft_loss.solution(logits, token_ids, mask)


@sft_loss.wrong("The filling was learnt, too: the mean goes over all places, masked ones included.")
def _(logits: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
    log_pi = torch.log_softmax(logits, dim=-1)
    return -log_pi.gather(2, token_ids[:, :, None]).mean()


@sft_loss.wrong(
    "The loss is right, but its gradient is NaN: it flows back through the log-softmax of the "
    "masked places, and there 0 · NaN is NaN. Choose *before* the log-softmax: mask the logits."
)
def _(logits: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
    log_pi = torch.log_softmax(logits, dim=-1)
    log_probs = log_pi.gather(2, token_ids.where(mask, 0)[:, :, None])[:, :, 0]
    return -log_probs.where(mask, 0.0).sum() / mask.sum().clamp(min=1)


@sft_loss.wrong("That is the sum. A batch with more tokens would then pull harder; take the mean.")
def _(logits: Tensor, token_ids: Tensor, mask: Tensor) -> Any:
    return sft_loss.solution(logits, token_ids, mask) * mask.sum()


@sft_loss.wrong(
    "You shifted once more, as most losses on the Hub do inside. These logits are aligned already: "
    "logits[:, t] predicts token t."
)
def _(logits: Tensor, token_ids: Tensor, mask: Tensor) -> Any:
    return sft_loss.solution(logits[:, :-1], token_ids[:, 1:], mask[:, 1:])
