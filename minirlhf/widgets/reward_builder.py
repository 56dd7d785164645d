"""The reward builder: how one score and two models' log-probs become a reward for each token."""

from dataclasses import replace
from typing import Any

import torch
import traitlets

from minirlhf.batch import Rollout
from minirlhf.config import OnlineConfig
from minirlhf.kl import KL_ESTIMATORS
from minirlhf.widgets.live import script, style
from minirlhf.widgets.one_response import ResponseWidget
from minirlhf.widgets.picture import Picture, number
from minirlhf.widgets.token_rows import Settings, recompute
from minirlhf.widgets.token_table import LONGEST_PICTURE, token_figure

STEPS = ("log-probs", "KL", "toll", "score", "reward")


class RewardBuilder(ResponseWidget):
    """R_t of one response in five steps: log-probs, kl_t, its toll, the score, the sum.

    Args:
        rollout: from `collect_rollout`, or a step record; log-probs and score are taken from it.
        tokenizer: turns ids into words.
        config: what the rollout was collected with: β, the KL estimator, the clip of the score and
            the missing-EOS penalty to start with; None = `PPOConfig()`.
        row: which response.
        language: of the words around the numbers.
        **traits: any of the attributes below, to start with.

    Attributes:
        step: 0 to 4, how far the sum has been put together.
        kl_coef: β, reward units per nat.
        kl_estimator: "k1", "k2" or "k3".
        score: the Reward model's, before the penalty, reward units.
        score_clip: largest absolute score that counts; None = no limit.
        missing_eos_penalty: taken off the score of a response that was cut.
        ended: whether the response counts as ended by itself.

    Raises:
        ValueError: there is no such row.
    """

    prefix = "reward_builder"
    _esm = script("formulas", "token_microscope_parts", "token_strip", "reward_builder")
    _css = style("token_microscope", "token_strip")

    step = traitlets.Int(0, min=0, max=len(STEPS) - 1).tag(sync=True)
    kl_coef = traitlets.Float(0.05, min=0.0, max=1e6).tag(sync=True)
    kl_estimator = traitlets.Enum(KL_ESTIMATORS, "k1").tag(sync=True)
    score = traitlets.Float(0.0).tag(sync=True)
    score_clip = traitlets.Float(5.0, min=1e-6, allow_none=True).tag(sync=True)
    missing_eos_penalty = traitlets.Float(1.0, min=0.0).tag(sync=True)
    ended = traitlets.Bool(True).tag(sync=True)

    def _settings(self, config: OnlineConfig) -> dict[str, Any]:
        ended = bool(self._one.ended[0])
        penalty = 0.0 if ended else config.missing_eos_penalty  # already taken off in the rollout
        return {
            "kl_coef": config.kl_coef,
            "kl_estimator": config.kl_estimator,
            "score": float(self._one.scores[0].double()) + penalty,
            "score_clip": config.score_clip,
            "missing_eos_penalty": config.missing_eos_penalty,
            "ended": ended,
        }

    def rewards(self) -> list[float]:
        """R_t of each counted token with the settings of now, reward units."""
        now = self._now()
        return [float(x) for x in now.rewards[0, : int(now.lengths[0])]]

    def picture(self) -> Picture:
        """All five steps at once, as a table; rows that come after R_t are those of λ = 1."""
        picture = token_figure(self._now(), 0, self._tokenizer, longest=LONGEST_PICTURE)
        picture.alt = (
            f"Reward builder at step {self.step + 1} of {len(STEPS)}, {STEPS[self.step]}, with "
            f"β {number(self.kl_coef)}, score {number(self.score)}. {picture.alt}"
        )
        return picture

    def _now(self) -> Rollout:
        paid = self.score - (0.0 if self.ended else self.missing_eos_penalty)
        one = replace(
            self._one,
            scores=torch.tensor([paid], dtype=torch.float64),
            ended=torch.tensor([self.ended]),
        )
        settings = Settings(self.kl_coef, 1.0, 1.0, self.kl_estimator, self.score_clip)
        return recompute(one, settings)
