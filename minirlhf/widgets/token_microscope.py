"""The token microscope: every number that PPO computes about one response, and what it is made of.

    TokenMicroscope(rollout, tokenizer, config=config, truth=monte_carlo_values(...))

Log-probs, values and scores are those of the rollout; all other rows are computed from them in the
browser, so the sliders for β, γ, λ and ε move every number that depends on them at once.
"""

from typing import Any

import traitlets
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from minirlhf.batch import Rollout
from minirlhf.config import OnlineConfig, PPOConfig
from minirlhf.kl import KL_ESTIMATORS
from minirlhf.monte_carlo import MonteCarloValues
from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import Picture, number
from minirlhf.widgets.token_rows import (
    Extras,
    Settings,
    check_extras,
    copied,
    detached,
    difference,
    recompute,
    response_data,
)
from minirlhf.widgets.token_table import LONGEST_PICTURE, token_figure

ROWS = (
    "log_prob", "old_log_prob", "ref_log_prob", "kl", "reward", "value", "truth", "td_target",
    "delta", "advantage", "return", "ratio", "clip",
)  # fmt: skip
TOLERANCE = 1e-3  # of a rollout's own numbers, reward units; float32 keeps well within it


class TokenMicroscope(LiveWidget):
    """One response, or two, as a live table: tokens as columns, quantities as rows.

    Args:
        rollout: from `collect_rollout`, or a PPO step record. Collected with `alternatives=K`, it
            also shows what the Actor might have written instead.
        tokenizer: turns ids into words.
        config: what the rollout was collected with: initial β, γ, λ, ε, the KL estimator, the
            clip of the score and the missing-EOS penalty. None = `PPOConfig()`; the widget says so
            where the rollout's own numbers differ from what these settings give.
        truth: god's-eye V_t, from `monte_carlo_values`, or (B, R) in reward units.
        row: which response.
        other: a second response to put beside it; None = none.
        log_probs: (B, R) nats, of the Actor now; None = it has not moved since the rollout, so
            that every ratio is 1.
        reference_top: the Reference's likeliest tokens at each step: (B, R, K) int ids and
            (B, R, K) nats; None = not shown.
        language: of the words around the numbers.
        **traits: any of the attributes below, to start with.

    Attributes:
        kl_coef: β, reward units per nat; the slider.
        gamma: γ in [0, 1]; the slider.
        lam: λ in [0, 1]; the slider.
        clip_range: ε; the slider.
        kl_estimator: "k1", "k2" or "k3".
        hidden: names of rows that are not shown; all names are in `ROWS`.
        order: the names of all rows from top to bottom.
        selected: the cell whose formula is open: {"response": 0, "row": "kl", "token": 3}, where
            1 is the second response; None = no cell. The row may also be "score".
        digits: decimals in the table.

    Raises:
        ValueError: there is no such row, or a tensor has not the rollout's shape.
        traitlets.TraitError: a value that a trait cannot have.
    """

    prefix = "microscope"
    _esm = script(
        "formulas",
        "token_microscope_parts",
        "token_microscope_table",
        "token_microscope_controls",
        "token_microscope",
    )
    _css = style("token_microscope")

    kl_coef = traitlets.Float(0.05, min=0.0, max=1e6).tag(sync=True)
    gamma = traitlets.Float(1.0, min=0.0, max=1.0).tag(sync=True)
    lam = traitlets.Float(0.95, min=0.0, max=1.0).tag(sync=True)
    clip_range = traitlets.Float(0.2, min=1e-6, max=1e6).tag(sync=True)
    kl_estimator = traitlets.Enum(KL_ESTIMATORS, "k1").tag(sync=True)
    row = traitlets.Int(0).tag(sync=True)
    other = traitlets.Int(None, allow_none=True).tag(sync=True)
    hidden = traitlets.List(traitlets.Enum(ROWS)).tag(sync=True)
    order = traitlets.List(traitlets.Enum(ROWS), list(ROWS)).tag(sync=True)
    selected: Any = traitlets.Dict(None, allow_none=True).tag(sync=True)
    digits = traitlets.Int(2, min=1, max=8).tag(sync=True)
    _responses: Any = traitlets.List().tag(sync=True)
    _fixed = traitlets.Dict().tag(sync=True)  # batch size, clip, penalty and initial settings

    def __init__(
        self,
        rollout: Rollout,
        tokenizer: PreTrainedTokenizerBase,
        *,
        config: OnlineConfig | None = None,
        truth: MonteCarloValues | Tensor | None = None,
        row: int = 0,
        other: int | None = None,
        log_probs: Tensor | None = None,
        reference_top: tuple[Tensor, Tensor] | None = None,
        language: str = "en",
        **traits: Any,
    ) -> None:
        extras = Extras(truth, log_probs, reference_top)
        check_extras(rollout, extras)
        self._rollout, self._tokenizer = detached(rollout), tokenizer
        self._extras = copied(extras)
        used = config or PPOConfig()
        start = Settings(
            used.kl_coef,
            used.gamma,
            getattr(used, "lam", 1.0),  # an algorithm without a Critic has Â_t = the return
            used.kl_estimator,
            used.score_clip,
        )
        self._start = start
        first, second = self._place(row), None if other is None else self._place(other)
        settings = {
            "kl_coef": start.kl_coef,
            "gamma": start.gamma,
            "lam": start.lam,
            "kl_estimator": start.kl_estimator,
            "clip_range": getattr(used, "clip_range", 0.2),
        }
        fixed = {
            **settings,
            "size": int(rollout.response_ids.shape[0]),
            "score_clip": used.score_clip,
            "penalty": None if config is None else used.missing_eos_penalty,
            "n": truth.n if isinstance(truth, MonteCarloValues) else None,
        }
        super().__init__(
            language=language,
            **{**settings, "row": first, "other": second, "_fixed": fixed, **traits},
        )
        self._send_responses()

    def settings(self) -> Settings:
        """The settings that the sliders stand at; ε is apart, in `clip_range`."""
        return Settings(
            self.kl_coef, self.gamma, self.lam, self.kl_estimator, self._start.score_clip
        )

    def picture(self) -> Picture:
        """The first response with the settings of now, as a table without sliders."""
        now = recompute(self._rollout, self.settings())
        length = int(now.lengths[self.row])
        chosen = self.selected or {}
        mark = chosen.get("token") if chosen.get("response", 0) == 0 else None
        if mark is not None and mark >= min(length, LONGEST_PICTURE):
            mark = None
        truth = self._extras.truth
        picture = token_figure(
            now,
            self.row,
            self._tokenizer,
            gamma=self.gamma,
            mark=mark,
            longest=LONGEST_PICTURE,
            truth=truth.values if isinstance(truth, MonteCarloValues) else truth,
        )
        picture.alt = (
            f"Token microscope, response {self.row}, with β {number(self.kl_coef)}, "
            f"γ {number(self.gamma)}, λ {number(self.lam)}, ε {number(self.clip_range)}. "
            f"{picture.alt}"
        )
        return picture

    @traitlets.observe("row", "other")
    def _choose(self, change: Any) -> None:
        """Send the responses that were chosen; the open cell belonged to the old ones."""
        if self._responses:
            self.selected = None
            self._send_responses()

    def _send_responses(self) -> None:
        rows = [self.row, *([] if self.other is None else [self.other])]
        self._responses = [
            {
                **response_data(self._rollout, r, self._tokenizer, self._extras),
                "differs": (d := difference(self._rollout, r, self._start)) > TOLERANCE and d,
            }
            for r in rows
        ]

    def _place(self, row: int) -> int:
        size = self._rollout.response_ids.shape[0]
        if not -size <= row < size:
            raise ValueError(f"row {row} of a rollout that has {size} responses")
        return row % size

    @traitlets.validate("row", "other")
    def _valid_row(self, proposal: Any) -> int | None:
        if proposal["value"] is None:
            return None
        try:
            return self._place(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None

    @traitlets.validate("order")
    def _valid_order(self, proposal: Any) -> list[str]:
        order: list[str] = proposal["value"]
        if sorted(order) != sorted(ROWS):
            raise traitlets.TraitError(
                f"order must name each of {', '.join(ROWS)} once, got {order}"
            )
        return order

    @traitlets.validate("selected")
    def _valid_cell(self, proposal: Any) -> dict[str, Any] | None:
        cell: dict[str, Any] | None = proposal["value"]
        if not cell:
            return None
        rows = [self.row, *([] if self.other is None else [self.other])]
        response, name, token = cell.get("response", 0), cell.get("row"), cell.get("token")
        if response not in range(len(rows)) or name not in (*ROWS, "score"):
            raise traitlets.TraitError(f"there is no cell {cell}")
        if token not in range(int(self._rollout.lengths[rows[response]])):
            raise traitlets.TraitError(f"there is no token {token!r} in response {rows[response]}")
        return {"response": response, "row": name, "token": token}
