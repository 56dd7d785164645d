"""ValueStrip: the critic, its target and the god's eye, for one response, over training."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import traitlets
from torch import Tensor

from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import BLUE, GREEN, GREY, INK, ORANGE, Picture, number
from minirlhf.widgets.value_records import ValueRecord
from minirlhf.widgets.wire import drawable, nested

TRUTH, CRITIC, TARGET = "true $V_t$", "Critic's $V_t$", r"$R_t + \gamma V_{t+1}$"


class ValueStrip(LiveWidget):
    """What the critic says before each token, what it is told to say, and what is true.

    The three differ by marker as well as by colour: V_t is a circle, R_t + γV_{t+1} a triangle, the
    true V_t a diamond with bars of two standard errors. A slider goes through what was recorded.

    Args:
        tokens: the R tokens of the response, as text.
        steps: T numbers that rise; at each of them everything was recorded.
        values: (T, R) reward units, the critic's V_t.
        targets: (T, R) reward units, R_t + γ·V_{t+1}.
        truth: (T, R) reward units, the true V(S_t) of the actor at that step.
        errors: (T, R) reward units, standard errors of the truth; None = it is exact.
        step: the one that is shown first; None = the first. May be set later, too.
        step_name: what `steps` count, such as "rollouts seen"; None = steps of training.
        language: of the words on it.

    Raises:
        ValueError: shapes do not fit, the steps do not rise, or `step` is none of them.
    """

    prefix = "value_strip"
    _esm = script("plot", "value_strip")
    _css = style("plot")
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    steps = traitlets.List(traitlets.Int()).tag(sync=True)
    step = traitlets.Int().tag(sync=True)
    step_name = traitlets.Unicode().tag(sync=True)
    _numbers = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        tokens: Sequence[str],
        steps: Sequence[int],
        values: Tensor,
        targets: Tensor,
        truth: Tensor,
        errors: Tensor | None = None,
        *,
        step: int | None = None,
        step_name: str | None = None,
        language: str = "en",
    ) -> None:
        tables = {"values": values, "targets": targets, "truth": truth}
        if errors is not None:
            tables["errors"] = errors
        _check(tokens, steps, tables)
        super().__init__(
            language=language,
            tokens=list(tokens),
            steps=[int(s) for s in steps],
            step=int(steps[0]) if step is None else step,
            step_name=step_name or "",
            _numbers={name: nested(table) for name, table in tables.items()},
        )

    @classmethod
    def from_records(
        cls, tokens: Sequence[str], records: Sequence[ValueRecord], **more: Any
    ) -> "ValueStrip":
        """From what `read_values` gave at some steps of a run, all for the same response.

        Args:
            tokens: of the response, as text.
            records: in the order of their steps.
            more: `step`, `step_name` and `language`.
        """
        if not records:
            raise ValueError("no records: call read_values(…) at some steps of the run")
        names = ("values", "targets", "truth", "errors")
        values, targets, truth, errors = (
            torch.stack([getattr(r, n) for r in records]) for n in names
        )
        known = errors if bool(errors.any()) else None
        return cls(tokens, [r.step for r in records], values, targets, truth, known, **more)

    @traitlets.validate("step")
    def _known_step(self, proposal: Any) -> int:
        if self.steps and proposal["value"] not in self.steps:
            recorded = ", ".join(map(str, self.steps))
            raise ValueError(f"step must be one of {recorded}, got {proposal['value']}")
        return int(proposal["value"])

    def squared_errors(self) -> dict[str, float]:
        """Mean over the tokens of (V_t − truth)² and (target − truth)², at the step shown."""
        row = {name: self._row(name) for name in ("values", "targets", "truth")}
        return {
            name: float(((row[name] - row["truth"]) ** 2).mean()) for name in ("values", "targets")
        }

    def picture(self) -> Picture:
        """The strip of the step shown."""
        picture = Picture(max(6.0, 0.42 * len(self.tokens) + 1.5), 3.4, self._describe())
        ax = picture.subplots()
        places = range(len(self.tokens))
        bars = [2 * e for e in self._row("errors")] if "errors" in self._numbers else None
        ax.errorbar(places, self._row("truth"), yerr=bars, color=GREEN, marker="D", label=TRUTH)
        ax.plot(places, self._row("values"), color=BLUE, marker="o", ls="--", label=CRITIC)
        ax.plot(places, self._row("targets"), color=ORANGE, marker="^", ls=":", label=TARGET)
        ax.set_xticks(list(places), [drawable(t) for t in self.tokens], rotation=60)
        ax.set_title(f"{self._counted}: {self.step}", loc="left", fontsize=10.5, color=INK)
        ax.set_ylabel("reward", color=GREY)
        ax.legend(frameon=False, fontsize=9)
        picture.tight_layout()
        return picture

    @property
    def _counted(self) -> str:
        return self.step_name or "training step"

    def _row(self, name: str) -> Tensor:
        row = self._numbers[name][self.steps.index(self.step)]
        return torch.tensor([float("nan") if x is None else x for x in row], dtype=torch.float64)

    def _describe(self) -> str:
        missed = self.squared_errors()
        return (
            f"Values of a response of {len(self.tokens)} tokens at "
            f"{self._counted} {self.step}. "
            f"Mean squared distance from the true value: critic's V {number(missed['values'])}, "
            f"its target R + γV of the next token {number(missed['targets'])}."
        )


def _check(tokens: Sequence[str], steps: Sequence[int], tables: dict[str, Tensor]) -> None:
    wanted = (len(steps), len(tokens))
    if 0 in wanted:
        raise ValueError(f"got {wanted[0]} steps and {wanted[1]} tokens, wanted some of both")
    if any(a >= b for a, b in pairwise(steps)):
        raise ValueError(f"steps must rise, got {list(steps)}")
    for name, table in tables.items():
        if tuple(table.shape) != wanted:
            raise ValueError(f"{name} must be (steps, tokens) = {wanted}, got {tuple(table.shape)}")
