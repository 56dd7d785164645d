"""PPO's clip: the surrogate *and* its gradient over the ratio, with real tokens as dots.

    ClipExplorer()                               one point of your own
    rollout = trainer.collect(trainer.batch())
    ClipExplorer.from_trainer(trainer, rollout)  a minibatch, optimiser step after step

Dots are filled where the token has a gradient, and hollow where the clip has stopped paying.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from minirlhf.batch import Rollout
from minirlhf.masks import check_same_shape, masked_whiten
from minirlhf.ppo_trainer import PPOTrainer
from minirlhf.widgets.clip_points import actor_walk, surrogate_and_gradient
from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import BLUE, GREEN, GREY, INK, VERMILION, Picture, number

MOST = 2000  # tokens
FURTHEST = 2.0  # ratio at the right edge


class ClipExplorer(LiveWidget):
    """The clipped surrogate min(Âρ, Â·clip(ρ)) and its gradient, for Â > 0 and for Â < 0.

    Args:
        minibatch: rows of a rollout (`rollout.select(rows)`), at most 2000 counted tokens; None =
            only the point that the sliders move.
        log_probs: (B, R) nats under the actor now, or several: before the first optimiser step and
            after each; None = the old ones, so that every ratio is 1.
        advantages: (B, R) as the loss gets them; None = the minibatch's, whitened.
        clip_range: ε in (0, 1].
        tokenizer: shows tokens as words instead of ids.
        language: of the words shown.

    Raises:
        ValueError: shapes differ, ε is out of range, there are too many tokens, a counted number is
            not finite, or log-probs or advantages came without a minibatch.
    """

    prefix = "clip_explorer"
    _esm = script("plot", "clip_plot", "clip_explorer")
    _css = style("plot", "clip_explorer")
    clip_range = traitlets.Float(0.2, min=1e-3, max=1.0).tag(sync=True)  # ε
    ratio = traitlets.Float(1.3, min=1e-3).tag(sync=True)  # ρ of your own point
    advantage = traitlets.Float(1.0).tag(sync=True)  # Â of your own point
    step = traitlets.Int(0, min=0).tag(sync=True)  # optimiser steps taken
    token = traitlets.Int(0, min=0).tag(sync=True)  # the token looked at
    points = traitlets.Dict().tag(sync=True)  # old, now (a list for each step), advantages, tokens

    def __init__(
        self,
        minibatch: Rollout | None = None,
        log_probs: Tensor | Sequence[Tensor] | None = None,
        *,
        advantages: Tensor | None = None,
        clip_range: float = 0.2,
        tokenizer: Any = None,
        language: str = "en",
    ) -> None:
        if not 0.0 < clip_range <= 1.0:
            raise ValueError(f"clip_range must lie in (0, 1], got {clip_range}")
        points: dict[str, Any] = {}
        if minibatch is not None:
            points = _points(minibatch, log_probs, advantages, tokenizer)
        elif log_probs is not None or advantages is not None:
            raise ValueError("log_probs and advantages belong to a minibatch, got none")
        super().__init__(language=language, clip_range=clip_range, points=points)

    @classmethod
    def from_trainer(
        cls,
        trainer: PPOTrainer,
        rollout: Rollout,
        *,
        rows: Sequence[int] | None = None,
        steps: int = 8,
        language: str = "en",
    ) -> "ClipExplorer":
        """Watch a *copy* of the trainer's Actor take optimiser steps on one minibatch.

        Args:
            trainer: PPO; its weights and optimisers stay as they are.
            rollout: `trainer.collect(trainer.batch())`, on which every ratio starts at 1. (On a
                record's rollout the trainer has already learned, so there they start elsewhere.)
            rows: of the rollout; None = the first `minibatch_size`.
            steps: optimiser steps on the same minibatch.
            language: of the words shown.
        """
        size = trainer.config.minibatch_size
        chosen = torch.tensor(list(range(size) if rows is None else rows))
        chosen = chosen[chosen < len(rollout.scores)].to(rollout.scores.device)
        minibatch, advantages = rollout.select(chosen), trainer.advantages(rollout)[chosen]
        return cls(
            minibatch,
            actor_walk(trainer, minibatch, advantages, steps=steps),
            advantages=advantages,
            clip_range=trainer.config.clip_range,
            tokenizer=trainer.actor.tokenizer,
            language=language,
        )

    def ratios(self) -> list[float]:
        """ρ of each token at the current step."""
        if not self.points:
            return []
        now = self.points["now"][min(self.step, len(self.points["now"]) - 1)]
        log_ratio = torch.tensor(now, dtype=torch.float64) - torch.tensor(
            self.points["old"], dtype=torch.float64
        )
        return [float(x) for x in log_ratio.exp()]

    def picture(self) -> Picture:
        """Surrogate above, gradient below; Â > 0 on the left, Â < 0 on the right."""
        picture = Picture(9.2, 5.6, self._describe())
        axes = picture.subplots(2, 2, sharex=True)
        for column, sign in enumerate((1.0, -1.0)):
            self._draw(axes[0][column], axes[1][column], sign)
        picture.tight_layout()
        return picture

    def _draw(self, above: Any, below: Any, sign: float) -> None:
        eps, words = self.clip_range, self._strings
        grid = [0.002 + FURTHEST * i / 400 for i in range(401)]
        edges = [1e-9, 1 - eps, 1 + eps, FURTHEST]
        grid = sorted(grid + [max(e + d, 1e-9) for e in edges for d in (-1e-9, 1e-9)])
        curves = surrogate_and_gradient(grid, [sign] * len(grid), clip_range=eps)
        for ax, ys, key in zip((above, below), curves, ("surrogate", "gradient"), strict=True):
            ax.axvspan(1 - eps, 1 + eps, color="#eeeeee")
            ax.axvline(1.0, color=GREY, linewidth=0.8)
            ax.plot(grid, [sign * x for x in grid], color=GREY, linestyle=":", linewidth=1)
            after = [*ys[1:], ys[-1]]  # no line across the jump of the gradient
            line = [y if abs(z - y) < 0.1 else math.nan for y, z in zip(ys, after, strict=True)]
            ax.plot(grid, line, color=BLUE if sign > 0 else VERMILION, linewidth=2)
            ax.set_ylabel(words[f"clip_explorer.{key}"], fontsize=9)
        above.set_title(words["clip_explorer.good" if sign > 0 else "clip_explorer.bad"])
        below.set_xlabel(words["clip_explorer.ratio"])
        self._dots(above, below, sign)

    def _dots(self, above: Any, below: Any, sign: float) -> None:
        """Tokens filled where they have a gradient, hollow where not; divided by the size of Â."""
        dots = list(zip(self.ratios(), self.points.get("advantages", []), strict=True))
        dots = [(rho, a) for rho, a in dots if a * sign > 0]
        if self.advantage * sign > 0:
            own = surrogate_and_gradient([self.ratio], [sign], clip_range=self.clip_range)
            for ax, (height,) in zip((above, below), own, strict=True):
                ax.plot(min(self.ratio, FURTHEST), height, "D", markersize=8, color=GREEN, zorder=5)
        if not dots:
            return
        ratio, weight = zip(*dots, strict=True)
        both = surrogate_and_gradient(ratio, weight, clip_range=self.clip_range)
        for ax, ys in zip((above, below), both, strict=True):
            heights = [y / abs(a) for y, a in zip(ys, weight, strict=True)]
            faces = [INK if slope else "white" for slope in both[1]]
            places = [min(rho, FURTHEST) for rho in ratio]
            ax.scatter(places, heights, s=16, c=faces, edgecolors=INK, zorder=4)

    def _describe(self) -> str:
        words = self._strings
        text = (
            f"{words['clip_explorer.title']}. ε = {number(self.clip_range)}; "
            f"your ρ = {number(self.ratio)}, your Â = {number(self.advantage)}."
        )
        ratios = self.ratios()
        if ratios:
            weights = self.points["advantages"]
            _, slopes = surrogate_and_gradient(ratios, weights, clip_range=self.clip_range)
            still = sum(slope != 0 for slope in slopes)
            counted = {"still": still, "n": len(slopes), "step": self.step}
            text += " " + words["clip_explorer.alt"].format(**counted)
        return text


def _points(
    minibatch: Rollout,
    log_probs: Tensor | Sequence[Tensor] | None,
    advantages: Tensor | None,
    tokenizer: Any,
) -> dict[str, Any]:
    """The counted tokens as plain lists."""
    mask, old = minibatch.response_mask, minibatch.old_log_probs
    steps = [old] if log_probs is None else log_probs
    steps = [steps] if isinstance(steps, Tensor) else list(steps)
    if not steps:
        raise ValueError("log_probs has no step, wanted at least one (B, R)")
    if advantages is None:
        advantages = masked_whiten(minibatch.advantages, mask)
    for now in steps:
        check_same_shape(mask, log_probs=now, advantages=advantages)
    if not 0 < int(mask.sum()) <= MOST:
        raise ValueError(
            f"wanted 1 to {MOST} counted tokens, got {int(mask.sum())}; "
            "take fewer rows with rollout.select(rows)"
        )
    counted = torch.stack(
        [x.detach().double().cpu()[mask.cpu()] for x in (*steps, old, advantages)]
    )
    if not bool(torch.isfinite(counted).all()):
        raise ValueError("a counted log-prob or advantage is not a finite number")
    ids = minibatch.response_ids[mask].tolist()
    words = [str(i) if tokenizer is None else str(tokenizer.decode([i])) for i in ids]
    *now_lists, old_list, weights = counted.tolist()
    return {"now": now_lists, "old": old_list, "advantages": weights, "tokens": words}
