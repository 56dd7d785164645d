"""Predict: a guess before the result, and a score of how well you know what you know.

    guess = Predict("00.beta0", "Without the KL term, gold will …", ["rise", "stay", "fall"])
    guess                                   # a cell of its own: answer before you go on
    ...
    guess.reveal("fall", "The proxy rises; gold falls to −3.")    # where the result is known

The result appears in the widget once there is a guess, or on "show it without a guess". Nothing
waits: where nobody answers (nbval, a script) every cell runs through, and nothing is stored.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import traitlets

from minirlhf import predictions
from minirlhf.widgets.live import LiveWidget, script, strings, style
from minirlhf.widgets.picture import GREY, INK, Picture

NONE = -1


class Predict(LiveWidget):
    """One question with two to six answers and a slider for how sure you are.

    Args:
        question_id: its name over the whole course, such as "04.k3-gradient"; a name that was
            answered before is asked again, but the first guess stays in the score.
        question: one sentence.
        options: the answers to choose from, 2 to 6 different ones.
        store: the file of guesses; None = `minirlhf.predictions.default_path()`.
        language: of the widget's own words.

    Raises:
        ValueError: too few, too many or equal options, or an empty name.
    """

    prefix = "predict"
    _esm = script("predict")
    _css = style("predict")
    question = traitlets.Unicode().tag(sync=True)
    options = traitlets.List(traitlets.Unicode()).tag(sync=True)
    guess = traitlets.Int(NONE).tag(sync=True)  # number of the option; −1 = no guess yet
    confidence = traitlets.Float(0.0, min=0.0, max=100.0).tag(sync=True)  # percent
    least = traitlets.Float(0.0).tag(sync=True)  # percent: what knowing nothing is worth
    truth = traitlets.Int(NONE).tag(sync=True)  # number of the right option; −1 = not known yet
    why = traitlets.Unicode().tag(sync=True)
    score = traitlets.Dict().tag(sync=True)  # `predictions.Calibration`; empty = not stored

    def __init__(
        self,
        question_id: str,
        question: str,
        options: Sequence[str],
        *,
        store: str | Path | None = None,
        language: str = "en",
    ) -> None:
        if not question_id:
            raise ValueError("a question needs a name, such as '04.k3-gradient'; got ''")
        if not 2 <= len(options) <= 6 or len(set(options)) < len(options):
            raise ValueError(f"wanted 2 to 6 different options, got {list(options)}")
        least = 5.0 * math.ceil(20 / len(options))
        super().__init__(
            language=language,
            question=question,
            options=list(options),
            least=least,
            confidence=max(60.0, least),
        )
        self.question_id = question_id
        self._store = None if store is None else Path(store)
        self._words = strings(language)
        self.observe(self._keep, ["guess", "truth"])

    @traitlets.validate("guess", "truth")
    def _is_an_option(self, proposal: Any) -> int:
        number = int(proposal["value"])
        if not NONE <= number < len(self.options):
            raise ValueError(f"there are {len(self.options)} options, from 0; got {number}")
        return number

    def reveal(self, truth: str | int, why: str = "") -> None:
        """Say what came out; the widget shows it when there is a guess.

        Args:
            truth: the right option, or its number from 0.
            why: a sentence or two.

        Raises:
            ValueError: that is none of the options.
        """
        if isinstance(truth, str):
            if truth not in self.options:
                raise ValueError(f"wanted one of {self.options}, got {truth!r}")
            truth = self.options.index(truth)
        self.why = why
        self.truth = truth

    def _keep(self, _: object) -> None:
        """Store the guess when both it and the truth are there."""
        if NONE in (self.guess, self.truth):
            return
        made = predictions.Prediction(
            self.question_id, len(self.options), self.guess, self.truth, self.confidence
        )
        try:
            self.score = asdict(predictions.record(made, self._store))
        except OSError:  # a read-only home: the guess still counts for today
            self.score = {}

    def picture(self) -> Picture:
        """The question, its options, and the result where it is known."""
        question = textwrap.wrap(self.question, 78)
        rows = len(question) + len(self.options)
        picture = Picture(7.4, 0.4 + 0.28 * rows, self._describe())
        axes = picture.add_axes((0.02, 0, 0.96, 1))
        axes.set_axis_off()
        axes.set_ylim(len(self.options) + 0.5, -len(question) - 0.5)
        axes.set_xlim(0, 1)
        for number, line in enumerate(question, start=-len(question)):
            axes.text(0, number + 0.4, line, color=INK, fontweight="bold", parse_math=False)
        for number, option in enumerate(self.options):
            mark = "→" if number == self.truth else "○"
            colour = INK if number == self.truth else GREY
            axes.text(0.01, number + 0.5, f"{mark} {option}", color=colour, parse_math=False)
        return picture

    def _describe(self) -> str:
        answers = " / ".join(self.options)
        words = self._words["predict.alt"].format(question=self.question, answers=answers)
        if self.truth == NONE:
            return words
        result = self._words["predict.alt_result"].format(truth=self.options[self.truth])
        return " ".join(filter(None, [words, result, self.why]))
