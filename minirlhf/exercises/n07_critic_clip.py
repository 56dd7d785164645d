"""Exercises of notebook 07: what the unit of rewards changes, and two ways to take a mean."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise, question

question(
    "ten_times_the_reward",
    notebook="07",
    title="Ten times the reward",
    difficulty=3,
    importance=4,
    minutes=5,
    task="""
        A colleague runs what you run, but his Reward model gives scores ten times as large (none
        of them is clipped), and his β is ten times yours. So his $R_t$, $V_t$, targets and raw
        advantages are ten times yours, token by token. Every other setting is the same: ε = 0.2,
        $ε_v$ = 0.2, advantages are whitened. In the middle of an update his ratios are still yours,
        and his values have moved ten times as far as yours. Which of these five numbers are *not*
        the same for you and for him? Give a set: `"actor_loss"`, `"clip_fraction"`, `"approx_kl"`,
        `"critic_loss"`, `"value_clip_fraction"` (the share of tokens with
        $|V_t - V_{old,t}| > ε_v$).
        """,
    hints=(
        "Which of the five are made of ratios and whitened advantages, and which of values?",
        "Whitening divides by the standard deviation, so his advantages come out as yours. And "
        "$ε_v$ is the same number of reward units for both, while his values go ten times as far.",
    ),
    answer={"critic_loss", "value_clip_fraction"},
    form='a set of names, such as {"approx_kl"}',
    wrong=[
        (
            {"critic_loss"},
            "His values move ten times as far, and ε_v is 0.2 for both: which share counts that?",
        ),
        (
            {"value_clip_fraction"},
            "One more is made of values: a mean of squares, in reward units squared.",
        ),
        (
            {"actor_loss", "critic_loss"},
            "The Actor's loss sees whitened advantages, which have no unit left. And what does "
            "ε_v compare with?",
        ),
        (
            {"actor_loss", "critic_loss", "value_clip_fraction"},
            "The Actor's loss sees whitened advantages: divided by their standard deviation, his "
            "are the same as yours.",
        ),
    ],
    remark="""
        His Critic loss is larger (a hundred times, without the clip), and his clip bites where
        yours does not: with his rewards, $ε_v$ should be 2. ε needs no change, for a ratio has no
        unit. `score_clip` is the third setting in reward units.
        """,
)


@exercise(
    notebook="07",
    title="Two averages",
    difficulty=2,
    importance=4,
    minutes=6,
    task="""
        Return two means of `x` (B, R) as a tuple of scalars: (1) over all counted tokens, and (2)
        over the responses, each of them counted with the mean of its own tokens. A response
        without a token does not count in (2). Without any token both are 0.
        """,
    hints=(
        "(1) is one sum divided by one count. For (2) do that for each row, with `dim=1`.",
        "Rows of length 0: divide by `lengths.clamp(min=1)`, then average over the rows whose "
        "length is not 0.",
    ),
    remark="""
        (1) is what our losses do: a token weighs the same wherever it stands, so a long response
        has more say. In (2) every response has the same say, and a token of a long one weighs
        less.
        """,
)
def two_means(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over tokens, and mean over responses of their own mean. Returns two scalars."""
    x = torch.where(mask, x, 0.0)
    lengths = mask.sum(dim=1)
    per_token = x.sum() / lengths.sum().clamp(min=1)
    of_rows = x.sum(dim=1) / lengths.clamp(min=1)
    return per_token, of_rows.sum() / (lengths > 0).sum().clamp(min=1)


@two_means.cases
def _(draw: Draw) -> Iterator[Case]:
    x = torch.tensor([[1.0, 1.0, 1.0], [5.0, 0.0, 0.0]])
    yield Case("three tokens and one", x, draw.mask(3, 1))
    yield Case("one token", torch.tensor([[2.0]]), draw.mask(1))
    other, mask = draw.normal(4, 5), draw.mask(5, 2, 3, 0)
    yield Case("a response without a token", other, mask)
    yield Case("NaN in the padding", other.where(mask, torch.nan), mask)
    yield Case("no token at all", other, torch.zeros_like(mask))


def _rows(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(mask, x, 0.0).sum(dim=1), mask.sum(dim=1)


@two_means.wrong("The two are swapped: the first is to treat all tokens alike.")
def _(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    sums, n = _rows(x, mask)
    of_rows = (sums / n.clamp(min=1)).sum() / (n > 0).sum().clamp(min=1)
    return of_rows, sums.sum() / n.sum().clamp(min=1)


@two_means.wrong("In (2) a response without a token was counted as a response with mean 0.")
def _(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    sums, n = _rows(x, mask)
    return sums.sum() / n.sum().clamp(min=1), (sums / n.clamp(min=1)).mean()


@two_means.wrong("You divided each response by the width of the batch, not by its own length.")
def _(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    sums, n = _rows(x, mask)
    padded = (sums / x.shape[1]).sum() / (n > 0).sum().clamp(min=1)
    return sums.sum() / n.sum().clamp(min=1), padded
