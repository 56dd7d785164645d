"""One response, token by token: every number that PPO computes about it."""

from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from minirlhf.advantages import td_target
from minirlhf.batch import Rollout
from minirlhf.widgets.picture import BLUE, GREY, INK, VERMILION, Picture, number

LONGEST_PICTURE = 48  # tokens of the widgets' static pictures
COLUMNS = 12  # tokens side by side; longer responses go on below
LABEL, CELL, ROW, GAP = 2.15, 0.65, 0.27, 0.3  # inches


class Line(NamedTuple):
    """One row of numbers."""

    label: str  # mathtext
    values: list[float]  # one for each token
    scale: float  # the value that gets the strongest shade; 0 = no shading


def token_figure(
    rollout: Rollout,
    row: int,
    tokenizer: PreTrainedTokenizerBase,
    *,
    gamma: float = 1.0,
    mark: int | None = None,
    longest: int | None = None,
    truth: Tensor | None = None,
) -> Picture:
    """Draw one response of a rollout as a table: tokens as columns, quantities as rows.

    Blue cells are positive and orange ones negative, as the signs say too; the stronger, the
    further from 0. Rewards, values and targets share one scale.

    Args:
        rollout: from `collect_rollout`, or a PPO step record.
        row: which response.
        tokenizer: turns ids into words.
        gamma: γ that the rollout was collected with.
        mark: a token whose column is to be framed; negative counts from the end.
        longest: draw this many tokens at most; None = all. The description counts all of them.
        truth: (B, R) god's-eye values, reward units, for a row of their own.

    Returns:
        A picture.

    Raises:
        ValueError: there is no such row or token, or the rollout was collected with another γ.
    """
    size = rollout.response_ids.shape[0]
    if not -size <= row < size:
        raise ValueError(f"row {row} of a rollout that has {size} responses")
    length = int(rollout.lengths[row])
    if mark is not None and not -length <= mark < length:
        raise ValueError(f"token {mark} of a response that has {length} tokens")
    expected = td_target(rollout.rewards, rollout.old_values, rollout.response_mask, gamma=gamma)
    if not torch.allclose(expected, rollout.td_target, atol=1e-4):
        raise ValueError(f"the rollout was not collected with gamma={gamma}")
    tokens = [str(tokenizer.decode([i])) for i in rollout.response_ids[row, :length].tolist()]
    lines = _lines(rollout, row, length, truth)
    framed = None if mark is None else mark % length
    alt = _describe(rollout, row, tokens, truth is not None)
    return _draw(tokens[:longest], lines, framed, alt)


def _lines(rollout: Rollout, row: int, length: int, truth: Tensor | None) -> list[Line]:
    def values(tensor: Tensor) -> list[float]:
        return tensor[row, :length].tolist()

    log_pi, log_ref = values(rollout.old_log_probs), values(rollout.ref_log_probs)
    rewards, old_values = values(rollout.rewards), values(rollout.old_values)
    targets, true_values = values(rollout.td_target), [] if truth is None else values(truth)
    kl, advantages = values(rollout.kl), values(rollout.advantages)
    scale = _largest(rewards + old_values + targets + true_values)
    god = Line(r"$V^*_t$  god's-eye value", true_values, scale)
    return [
        Line(r"$\log\,\pi(A_t\,|\,S_t)$  Actor", log_pi, 0.0),
        Line(r"$\log\,\pi_{ref}(A_t\,|\,S_t)$  Reference", log_ref, 0.0),
        Line(r"$kl_t$  their difference", kl, _largest(kl)),
        Line(r"$R_t$  reward of the token", rewards, scale),
        Line(r"$V_t$  Critic, before it", old_values, scale),
        *([] if truth is None else [god]),
        Line(r"$R_t + \gamma V_{t+1}$  target", targets, scale),
        Line(r"$\hat{A}_t$  advantage", advantages, _largest(advantages)),
    ]


def _largest(values: list[float]) -> float:
    """What the strongest shade stands for; 0 if all of them are shown as 0.00."""
    largest = max(map(abs, values), default=0.0)
    return largest if largest >= 0.005 else 0.0


def _draw(tokens: list[str], lines: list[Line], framed: int | None, alt: str) -> Picture:
    starts = range(0, max(1, len(tokens)), COLUMNS)  # an empty response is a table without columns
    blocks = [range(i, min(i + COLUMNS, len(tokens))) for i in starts]
    block_height = ROW * (len(lines) + 1)
    width = LABEL + CELL * min(COLUMNS, len(tokens)) + 0.1
    height = len(blocks) * (block_height + GAP)
    picture = Picture(width, height, alt)
    ax = picture.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)  # y grows downwards, as a table is read
    ax.set_axis_off()
    for number_of_block, block in enumerate(blocks):
        top = 0.22 + number_of_block * (block_height + GAP)
        for i, line in enumerate(lines, start=1):
            y = top + ROW * (i + 0.5)
            ax.text(LABEL - 0.1, y, line.label, ha="right", va="center", fontsize=9.5, color=INK)
        for column, t in enumerate(block):
            _column(ax, LABEL + CELL * column, top, t, tokens[t], lines, framed == t)
    return picture


def _column(
    ax: Axes, x: float, top: float, t: int, token: str, lines: list[Line], framed: bool
) -> None:
    """The word above, its numbers below; `t` is written over it, as an index to speak of."""
    ax.text(x + CELL / 2, top - 0.06, str(t), ha="center", va="center", fontsize=7.5, color=GREY)
    size = 9.5 if len(token) <= 8 else max(5.0, 9.5 * 8 / len(token))
    ax.text(
        x + CELL / 2,
        top + ROW / 2,
        token,
        ha="center",
        va="center",
        fontsize=size,
        fontweight="bold",
        color=INK,
        parse_math=False,  # a token is text, whatever signs are in it
    )
    for i, line in enumerate(lines, start=1):
        value, y = line.values[t], top + ROW * i
        strength = abs(value) / line.scale if line.scale else 0.0
        colour = BLUE if value >= 0 else VERMILION
        ax.add_patch(Rectangle((x, y), CELL, ROW, facecolor="white", edgecolor="#dddddd", lw=0.6))
        ax.add_patch(Rectangle((x, y), CELL, ROW, facecolor=colour, alpha=0.4 * strength, lw=0))
        ax.text(x + CELL / 2, y + ROW / 2, number(value), ha="center", va="center", fontsize=9)
    if framed:
        height = ROW * (len(lines) + 1)
        ax.add_patch(Rectangle((x, top), CELL, height, fill=False, edgecolor=INK, lw=2.2, zorder=5))


def _describe(rollout: Rollout, row: int, tokens: list[str], has_truth: bool) -> str:
    """Alternative text: the words, and the sums."""
    ending = "ended by itself" if bool(rollout.ended[row]) else "was cut"
    return (
        f"Table of one response of {len(tokens)} tokens, which {ending}: {' '.join(tokens)!r}. "
        f"Score {number(float(rollout.scores[row]))}, "
        f"sum of KL {number(float(rollout.kl[row, : len(tokens)].sum()))} nats, "
        f"sum of rewards {number(float(rollout.rewards[row].sum()))}. "
        "Rows: log-probs of Actor and Reference, KL, reward, value, "
        f"{'god’s-eye value, ' * has_truth}target, advantage."
    )
