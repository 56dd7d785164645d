"""Exercises of notebook 00: who learns, and what one token and one response earn."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise, question

question(
    "models_that_change",
    notebook="00",
    title="Who learns in stage 3?",
    difficulty=1,
    importance=5,
    minutes=2,
    task="""
        Which of the four models have other weights after stage 3 than before? Give a set of their
        names: `"Actor"`, `"Reference"`, `"Reward model"`, `"Critic"`.
        """,
    hints=(
        "Look at the picture above: who has a thick border?",
        "One of them writes. The other one predicts, and what there is to predict keeps changing.",
    ),
    answer={"Actor", "Critic"},
    form='a set of names, such as {"Reference"}',
    wrong=[
        (
            {"Actor"},
            "The Actor is what we want in the end, but one of the others has to keep up with it: "
            "who predicts what the Actor's next words will earn?",
        ),
        (
            {"Actor", "Reward model"},
            "The Reward model has finished learning in stage 2. If it went on, the judge would "
            "change while being pleased. Which model predicts rather than judges?",
        ),
        (
            {"Actor", "Critic", "Reward model"},
            "One too many: the Reward model has finished learning in stage 2. If it went on, the "
            "judge would change while being pleased.",
        ),
        (
            {"Actor", "Reference", "Reward model", "Critic"},
            "Two are frozen: the leash, and the judge.",
        ),
    ],
    remark="Reference and Reward model are read, never written: they need no gradient and no "
    "optimiser, which halves the memory of training.",
)


@exercise(
    notebook="00",
    title="The numbers of one token",
    difficulty=2,
    importance=5,
    minutes=8,
    task="""
        The cell above did it for one token of one response. Write it as a function: return the four
        numbers `kl, reward, target, surprise` of a token that is **not** the last one.
        """,
    hints=(
        "Follow the table under *four models* from $kl_t$ down to the target.",
        "The reward of such a token is a toll: it is negative where the Actor likes its token more "
        "than the Reference does.",
        "The surprise is what the Critic should have said, minus what it did say.",
    ),
    remark="All of stage 3 hangs on these four lines. With the last token, the score joins the "
    "reward, and there is no $V_{t+1}$.",
)
def token_numbers(
    log_prob: float, ref_log_prob: float, value: float, next_value: float, beta: float, gamma: float
) -> tuple[float, float, float, float]:
    """kl_t in nats; R_t, R_t + γ·V_{t+1} and δ_t in reward units."""
    kl = log_prob - ref_log_prob
    reward = -beta * kl
    target = reward + gamma * next_value
    surprise = target - value
    return kl, reward, target, surprise


@token_numbers.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("no KL, no change", -1.0, -1.0, 0.5, 0.5, 0.05, 1.0)
    yield Case("dearer for the Reference", -1.0, -3.0, 0.5, 1.5, 0.1, 1.0)
    yield Case("γ = 0.9", -2.0, -1.0, -0.5, 1.0, 0.2, 0.9)
    yield Case("β = 0", -2.0, -1.0, 0.7, 0.2, 0.0, 1.0)
    for _ in range(8):
        a, b, c, d = draw.normal(4).tolist()
        yield Case("at random", -abs(a), -abs(b), c, d, 0.05, 0.95)


@token_numbers.wrong(
    "Your kl_t has the wrong sign: it is how much likelier the token is for the Actor, so the "
    "Actor's own log-prob comes first."
)
def _(
    log_prob: float, ref_log_prob: float, value: float, next_value: float, beta: float, gamma: float
) -> tuple[float, float, float, float]:
    kl = ref_log_prob - log_prob
    target = -beta * kl + gamma * next_value
    return kl, -beta * kl, target, target - value


@token_numbers.wrong("Did you multiply by β? The toll is β for each nat.")
def _(
    log_prob: float, ref_log_prob: float, value: float, next_value: float, beta: float, gamma: float
) -> tuple[float, float, float, float]:
    kl = log_prob - ref_log_prob
    target = -kl + gamma * next_value
    return kl, -kl, target, target - value


@token_numbers.wrong(
    "Your target looks at the Critic's value before the token; after R_t has become a fact, what "
    "is left to predict begins one token later."
)
def _(
    log_prob: float, ref_log_prob: float, value: float, next_value: float, beta: float, gamma: float
) -> tuple[float, float, float, float]:
    kl = log_prob - ref_log_prob
    target = -beta * kl + gamma * value
    return kl, -beta * kl, target, target - value


@token_numbers.wrong("Your toll is paid to the Actor: with a plus, straying would be rewarded.")
def _(
    log_prob: float, ref_log_prob: float, value: float, next_value: float, beta: float, gamma: float
) -> tuple[float, float, float, float]:
    kl = log_prob - ref_log_prob
    target = beta * kl + gamma * next_value
    return kl, beta * kl, target, target - value


@exercise(
    notebook="00",
    title="What a whole response earns",
    difficulty=2,
    importance=4,
    minutes=6,
    task="""
        Return $\\sum_t R_t$ for each response: its score, less $\\beta$ for each nat of KL. Only
        tokens where `response_mask` is True count; what stands at the others means nothing. A
        response without any token earns nothing, not even its score.
        """,
    hints=(
        "Sum `kl` over the tokens that count, `dim=1`.",
        "`kl.where(response_mask, 0.0)` puts 0 where nothing counts; a product with the mask would "
        "keep a NaN.",
        "`response_mask.any(dim=1)` says which responses have a token at all.",
    ),
    remark="Training adds up just this, token by token: the sum of `minirlhf.per_token_rewards`.",
)
def response_return(scores: Tensor, kl: Tensor, response_mask: Tensor, beta: float) -> Tensor:
    """Σ_t R_t: (B,) reward units, from scores (B,), kl (B, R) in nats and the mask (B, R)."""
    toll = beta * kl.where(response_mask, 0.0).sum(dim=1)
    return (scores - toll).where(response_mask.any(dim=1), 0.0)


@response_return.cases
def _(draw: Draw) -> Iterator[Case]:
    one = torch.ones(1, 1, dtype=torch.bool)
    yield Case("one token", torch.tensor([1.0]), torch.tensor([[2.0]]), one, 0.1)
    mask = draw.mask(3, 1)
    kl = torch.tensor([[0.5, -0.2, 0.4], [1.0, 7.0, 7.0]])
    yield Case("padding", torch.tensor([1.0, -1.0]), kl, mask, 0.1)
    yield Case("no token", torch.tensor([3.0]), torch.ones(1, 2), draw.mask(0, width=2), 0.1)
    nan = kl.where(mask, float("nan"))
    yield Case("NaN where masked", torch.tensor([1.0, -1.0]), nan, mask, 0.1)
    yield Case("β = 0", draw.normal(3), draw.normal(3, 5), draw.mask(5, 3, 1), 0.0)
    yield Case("at random", draw.normal(4), draw.normal(4, 6), draw.mask(6, 4, 0, 1), 0.05)


@response_return.wrong("You count the padding: what stands where the mask is False means nothing.")
def _(scores: Tensor, kl: Tensor, response_mask: Tensor, beta: float) -> Tensor:
    return scores - beta * kl.sum(dim=1)


@response_return.wrong(
    "The score is paid once for the whole response. You pay it for each token, and the model would "
    "learn to ramble."
)
def _(scores: Tensor, kl: Tensor, response_mask: Tensor, beta: float) -> Tensor:
    return (scores[:, None] - beta * kl).where(response_mask, 0.0).sum(dim=1)


@response_return.wrong(
    "You take the mean of KL. The toll is paid for every token, so a longer way costs more: a sum."
)
def _(scores: Tensor, kl: Tensor, response_mask: Tensor, beta: float) -> Tensor:
    lengths = response_mask.sum(dim=1).clamp(min=1)
    toll = beta * kl.where(response_mask, 0.0).sum(dim=1) / lengths
    return (scores - toll).where(response_mask.any(dim=1), 0.0)


@response_return.wrong(
    "A response without any token has no last token that could carry the score: it earns nothing."
)
def _(scores: Tensor, kl: Tensor, response_mask: Tensor, beta: float) -> Tensor:
    return scores - beta * kl.where(response_mask, 0.0).sum(dim=1)


@response_return.wrong("0 times NaN is NaN: choose with `where` instead of multiplying by a mask.")
def _(scores: Tensor, kl: Tensor, response_mask: Tensor, beta: float) -> Tensor:
    return (scores - beta * (kl * response_mask).sum(dim=1)) * response_mask.any(dim=1)
