"""k1, k2 and k3 against the exact KL: their values, and the gradients they really give."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import traitlets

from minirlhf.widgets.kl_numbers import kl_numbers
from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import BLUE, GREY, INK, ORANGE, SKY, VERMILION, Picture, number

MOST = 6  # tokens
NAMES = ("k1", "k2", "k3")
ROWS = ("kl", "reverse_kl", *(f"{way}_{k}" for way in ("reward", "loss") for k in NAMES))
SMALLEST = 1e-4  # probability


class KLExplorer(LiveWidget):
    """Two policies over a few tokens: KL estimates and their gradients, all exact.

    Args:
        actor: π of each token, probabilities > 0 that add up to 1; 2 to 6 tokens.
        reference: π_ref of each token.
        tokens: what the tokens are called; None = w0, w1, …
        by: what the sliders move, "probabilities" or "logits".
        language: of the words shown.

    Raises:
        ValueError: not 2 to 6 tokens, lists of different lengths, a probability below 0.0001, or
            probabilities that do not add up to 1.
    """

    prefix = "kl_explorer"
    _esm = script("kl_numbers", "kl_explorer")
    _css = style("kl_explorer")
    actor = traitlets.List(traitlets.Float()).tag(sync=True)  # logits of π
    reference = traitlets.List(traitlets.Float()).tag(sync=True)  # logits of π_ref
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    by = traitlets.Enum(("probabilities", "logits"), "probabilities").tag(sync=True)
    moves = traitlets.Enum(("actor", "reference"), "actor").tag(sync=True)  # which policy

    def __init__(
        self,
        actor: Sequence[float] = (0.30, 0.30, 0.25, 0.15),
        reference: Sequence[float] = (0.70, 0.20, 0.07, 0.03),
        *,
        tokens: Sequence[str] | None = None,
        by: Literal["probabilities", "logits"] = "probabilities",
        language: str = "en",
    ) -> None:
        names = [f"w{i}" for i in range(len(actor))] if tokens is None else list(tokens)
        if not len(actor) == len(reference) == len(names) or not 2 <= len(actor) <= MOST:
            raise ValueError(
                f"wanted 2 to {MOST} tokens, the same for both, got {len(actor)} probabilities of "
                f"the actor, {len(reference)} of the reference and {len(names)} names"
            )
        super().__init__(
            language=language,
            actor=_logits("actor", actor),
            reference=_logits("reference", reference),
            tokens=names,
            by=by,
        )

    @traitlets.validate("actor", "reference")
    def _same_tokens(self, proposal: Any) -> list[float]:
        """Logits from Python: finite, one for each token."""
        logits: list[float] = proposal["value"]
        if len(logits) != len(self.tokens) or not all(map(math.isfinite, logits)):
            raise ValueError(
                f"{proposal['trait'].name} wants {len(self.tokens)} finite logits, got {logits}"
            )
        return logits

    def numbers(self) -> dict[str, list[float]]:
        """Everything shown, by the library; see `kl_numbers`."""
        return kl_numbers(list(self.actor), list(self.reference))

    def picture(self) -> Picture:
        """The policies and expectations; below, the gradients as a table."""
        found, words = self.numbers(), self._strings
        k1, k2, k3, kl, reverse = (number(x) for x in found["expected"])
        alt = words["kl_explorer.alt"].format(k1=k1, k2=k2, k3=k3, kl=kl, reverse=reverse)
        picture = Picture(9.2, 6.2, f"{words['kl_explorer.title']}. {alt}")
        grid = picture.add_gridspec(2, 2, height_ratios=(1, 1.1))
        self._policies(picture.add_subplot(grid[0, 0]), found)
        self._expectations(picture.add_subplot(grid[0, 1]), found)
        self._gradients(picture.add_subplot(grid[1, :]), found)
        picture.tight_layout()
        return picture

    def _policies(self, ax: Any, found: dict[str, list[float]]) -> None:
        places = range(len(self.tokens))
        words = self._strings
        ax.bar([x - 0.2 for x in places], found["actor"], 0.38, color=BLUE,
               label=words["kl_explorer.actor"])  # fmt: skip
        ax.bar([x + 0.2 for x in places], found["reference"], 0.38, color="white", edgecolor=SKY,
               hatch="///", label=words["kl_explorer.reference"])  # fmt: skip
        ax.set_xticks(list(places), [t.replace("$", r"\$") for t in self.tokens])
        ax.legend(frameon=False)

    def _expectations(self, ax: Any, found: dict[str, list[float]]) -> None:
        words = self._strings
        ax.barh([f"E[{name}]" for name in NAMES], found["expected"][:3], color=ORANGE)
        for x, key, dash, colour in (
            (found["expected"][3], "kl", "-", INK),
            (found["expected"][4], "reverse_kl", "--", VERMILION),
        ):
            label = f"{words[f'kl_explorer.{key}']} = {number(x)}"
            ax.axvline(x, color=colour, linestyle=dash, label=label)
        ax.set_ylim(2.6, -1.7)  # with room for the legend
        ax.set_xlabel(words["kl_explorer.nats"])
        ax.legend(frameon=False, fontsize=9)

    def _gradients(self, ax: Any, found: dict[str, list[float]]) -> None:
        words = self._strings
        ax.set_axis_off()
        ax.set_title(words["kl_explorer.gradients"], fontsize=10, color=GREY)
        labels = [words[f"kl_explorer.row.{row}"] for row in ROWS]
        cells = [
            [label, *map(number, found[row]), self.equal_to(row, found)]
            for row, label in zip(ROWS, labels, strict=True)
        ]
        names = [t.replace("$", r"\$") for t in self.tokens]
        table = ax.table(
            cellText=cells,
            colLabels=["", *names, words["kl_explorer.equals"]],
            colWidths=[0.3, *([0.42 / len(names)] * len(names)), 0.28],
            cellLoc="center",
            bbox=(0, 0, 1, 1),
        )
        table.auto_set_font_size(False)
        table.set_fontsize(9)

    def equal_to(self, row: str, found: dict[str, list[float]]) -> str:
        """Which exact gradient a row of gradients equals, in words; "" for the exact ones."""
        if row in ("kl", "reverse_kl"):
            return ""
        pairs = list(zip(found["kl"], found["reverse_kl"], strict=True))
        candidates = {
            "zero": [0.0] * len(pairs),
            "kl": found["kl"],
            "reverse_kl": found["reverse_kl"],
            "difference": [a - b for a, b in pairs],
        }
        for name, wanted in candidates.items():
            if all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
                   for a, b in zip(found[row], wanted, strict=True)):  # fmt: skip
                return str(self._strings[f"kl_explorer.equal.{name}"])
        return str(self._strings["kl_explorer.equal.none"])


def _logits(name: str, probabilities: Sequence[float]) -> list[float]:
    if min(probabilities) < SMALLEST or abs(sum(probabilities) - 1.0) > 1e-6:
        raise ValueError(
            f"{name} must be probabilities of at least {SMALLEST} that add up to 1, "
            f"got {list(probabilities)}"
        )
    return [math.log(p) for p in probabilities]
