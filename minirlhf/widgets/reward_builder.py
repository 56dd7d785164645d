"""The reward builder: how one score and two models' log-probs become a reward for each token."""

from dataclasses import replace
from typing import Any

import torch
import traitlets
from transformers import PreTrainedTokenizerBase

from minirlhf.batch import Rollout
from minirlhf.config import OnlineConfig, PPOConfig
from minirlhf.kl import KL_ESTIMATORS
from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import Picture, number
from minirlhf.widgets.token_rows import Extras, Settings, one_response, recompute, response_data
from minirlhf.widgets.token_table import LONGEST_PICTURE, token_figure

STEPS = ("log-probs", "KL", "toll", "score", "reward")


class RewardBuilder(LiveWidget):
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
    _response: Any = traitlets.Dict().tag(sync=True)
    _start: Any = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        rollout: Rollout,
        tokenizer: PreTrainedTokenizerBase,
        *,
        config: OnlineConfig | None = None,
        row: int = 0,
        language: str = "en",
        **traits: Any,
    ) -> None:
        self._one, self._tokenizer = one_response(rollout, row), tokenizer
        used = config or PPOConfig()
        ended = bool(self._one.ended[0])
        penalty = 0.0 if ended else used.missing_eos_penalty  # already taken off in the rollout
        start = {
            "kl_coef": used.kl_coef,
            "kl_estimator": used.kl_estimator,
            "score": float(self._one.scores[0].double()) + penalty,
            "score_clip": used.score_clip,
            "missing_eos_penalty": used.missing_eos_penalty,
            "ended": ended,
        }
        nothing = Extras(truth=None, log_probs=None, reference_top=None)
        response = response_data(self._one, 0, tokenizer, nothing)
        super().__init__(
            language=language, **{**start, "_start": start, "_response": response, **traits}
        )

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
