"""You are the human: choose between two answers some thirty times, and see what RLHF makes of it.

    labeler = PreferenceLabeler(path="my_labels.jsonl")
    labeler                     # choose with the mouse, or with the arrow keys
    result = labeler.wait()     # trains on your labels; answers for you where you have not

Training runs in a thread of its own, so the notebook goes on answering meanwhile.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import traitlets

from minirlhf.actor import Actor
from minirlhf.background import BackgroundRun
from minirlhf.config import PPOConfig
from minirlhf.data import Row
from minirlhf.labelling import Labels, Question, Side, Taste, simulate
from minirlhf.widgets.busy_kernel import hear_while_busy
from minirlhf.widgets.labeler_parts import plain_question, plain_result
from minirlhf.widgets.live import LiveWidget, script, strings, style
from minirlhf.widgets.monitor_parts import one_line
from minirlhf.widgets.picture import GREY, INK, Picture, number
from minirlhf.worlds.cafe import recipe
from minirlhf.worlds.cafe.taste_run import PPO, TasteRun
from minirlhf.worlds.cafe.your_taste import TasteResult, ask, likes_gold, likes_short


class PreferenceLabeler(LiveWidget):
    """Label pairs, train on the labels, and see the model before and after.

    Args:
        actor: the SFT model that writes the answers; None = the shipped one. It stays as it is.
        labels: pairs to choose between.
        repeats: how many come twice, sides swapped.
        path: a JSONL file of `prompt`, `chosen`, `rejected`, written after every choice; its
            answers are taken over if it exists.
        simulated: the taste of the labeller that answers where nobody does.
        questions: other pairs, instead of `labels` and `repeats`.
        ppo: settings of stage 3.
        seed: of pairs and training.
        language: of the words.

    Raises:
        ValueError: the file holds answers to other questions.

    Attributes:
        choices: "left" or "right" for each answered question; may be written.
        state: "labelling", "training", "done" or "failed".
        simulated_answers: how many of the labels that were trained on were not yours.
        verdict: "left" or "right", your choice between the last two answers; "" before.
    """

    prefix = "preference_labeler"
    _esm = script("needs_python", "text_line", "preference_labeler_result", "preference_labeler")
    _css = style("preference_labeler")

    # prompt, left, right, repeats, and the gold reward of either
    questions: traitlets.List[Any] = traitlets.List().tag(sync=True)
    choices: traitlets.List[Any] = traitlets.List().tag(sync=True)
    state = traitlets.Unicode("labelling").tag(sync=True)
    doing = traitlets.Unicode("").tag(sync=True)  # "check", "reward" or "ppo"
    step = traitlets.Int(0).tag(sync=True)
    total = traitlets.Int(0).tag(sync=True)
    simulated_answers = traitlets.Int(0).tag(sync=True)
    result: "traitlets.Dict[str, Any]" = traitlets.Dict().tag(sync=True)
    verdict = traitlets.Unicode("").tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        actor: Actor | None = None,
        *,
        labels: int = 30,
        repeats: int = 6,
        path: str | Path | None = None,
        simulated: Taste = likes_short,
        questions: Sequence[Question] | None = None,
        ppo: PPOConfig = PPO,
        seed: int = 0,
        language: str = "en",
    ) -> None:
        self.actor = recipe.load_shipped()[0] if actor is None else actor
        questions = questions or ask(self.actor, labels=labels, repeats=repeats, seed=seed)
        self.labels, self.simulated = Labels(questions, path), simulated
        self.ppo, self.seed, self.taste_result = ppo, seed, None
        self._words = strings(language)
        self._run: BackgroundRun | None = None
        self._trained_on: list[Side] = []
        self._lock = threading.RLock()
        super().__init__(
            language=language,
            questions=[plain_question(question) for question in questions],
            choices=list(self.labels.choices),
        )
        self.on_msg(self._heard)
        hear_while_busy(self)

    taste_result: TasteResult | None

    def choose(self, side: Side) -> None:
        """Answer the next question.

        Raises:
            ValueError: no such side, or all are answered.
        """
        self.choices = [*self.choices, side]

    def undo(self) -> None:
        """Take back the last answer, if there is one."""
        self.choices = self.choices[:-1]

    def answer_with(self, taste: Taste) -> None:
        """Let somebody with this taste answer all that is left; it counts as your answers."""
        self.choices = [*self.choices, *self._simulate(taste)]

    def rows(self) -> list[Row]:
        """Your labels: `prompt`, `chosen`, `rejected`."""
        return self.labels.rows()

    def train(self) -> None:
        """Begin to train in the background; where you have not answered, the simulated one does.

        Its answers are not written to your file, and `simulated_answers` counts them.
        """
        with self._lock:
            if self._run is not None and self._run.alive:
                return
            missing = self._simulate(self.simulated)
            self._trained_on = list(self.labels.choices)
            labels = Labels(self.labels.questions)
            labels.take([*self.labels.choices, *missing])
            # the taste of somebody who answered everything is known; a person's is not
            judge = self.simulated if len(missing) == len(labels.questions) else likes_gold
            steps = TasteRun(labels, self.actor, judge=judge, ppo=self.ppo, seed=self.seed)
            self._run = BackgroundRun(steps, on_change=self._look)
            self.taste_result, self.result, self.error, self.verdict = None, {}, "", ""
            self.simulated_answers, self.total = len(missing), steps.total
            self._run.start()

    def wait(self, timeout: float | None = None) -> TasteResult:
        """Train, unless that was done on these answers, and wait; needs no browser.

        Args:
            timeout: seconds; None waits for ever.

        Raises:
            TimeoutError: training goes on and can be waited for again.
            Exception: whatever training raised.
        """
        idle = self._run is None or not self._run.alive
        if idle and (self.taste_result is None or self._trained_on != self.labels.choices):
            self.train()
        if self._run is not None:
            self._run.wait(timeout)
        if self.taste_result is None:
            raise ValueError("training was stopped before its end; call train() to begin again")
        return self.taste_result

    def close(self) -> None:
        """Stop training and remove the widget."""
        run = getattr(self, "_run", None)
        if run is not None:
            run.stop()
        super().close()

    def summary(self) -> str:
        """In words: who labelled, how consistently, and what came of it."""
        text = self._words
        parts = [
            text["preference_labeler.summary"].format(
                done=len(self.choices), total=len(self.questions)
            )
        ]
        if self.simulated_answers:
            parts.append(
                text["preference_labeler.simulated"].format(
                    simulated=self.simulated_answers, total=len(self.questions)
                )
            )
        if self.result:
            parts.append(text["preference_labeler.held_out"].format(**self.result))
            parts.append(
                text["preference_labeler.moved"].format(
                    before=number(self.result["scores"][0]), after=number(self.result["scores"][1])
                )
            )
        return " ".join(parts)

    def picture(self) -> Picture:
        """The labels and what came of them as a static picture."""
        lines = [self.summary()]
        for before, after in zip(*self._shown(), strict=True):
            lines += ["", before["prompt"], f"    {before['text']}", f"    → {after['text']}"]
        picture = Picture(9.0, 0.5 + 0.2 * len(lines), self.summary())
        for i, line in enumerate(lines):
            y, colour = 1 - (i + 1) / (len(lines) + 1), GREY if line.startswith("  ") else INK
            picture.text(0.01, y, line, fontsize=8.5, va="center", color=colour, wrap=True)
        return picture

    def _shown(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return self.result.get("before", []), self.result.get("after", [])

    def _simulate(self, taste: Taste) -> list[Side]:
        answers = simulate(self.labels.questions, taste, seed=self.seed)
        return answers[len(self.labels.choices) :]

    def _heard(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """The button was pressed."""
        if isinstance(content, dict) and content.get("do") == "train":
            try:
                self.train()
            except ValueError as error:
                self.error = one_line(error)

    def set_state(self, sync_data: Any) -> None:
        """Take traits from the browser, one thread at a time."""
        with self._lock:
            super().set_state(sync_data)

    @traitlets.validate("choices")
    def _take(self, proposal: Any) -> Any:
        """Write answers down before the trait takes them; refuse what cannot be an answer."""
        self.labels.take(proposal["value"])
        return proposal["value"]

    def _look(self) -> None:
        """Show how training stands; called from its thread."""
        run = self._run
        if run is None or not isinstance(run.steps, TasteRun):
            return
        states = {"done": "done", "failed": "failed", "stopped": "labelling"}
        with self._lock, self.hold_sync():
            if run.steps.result is not None and self.taste_result is None:
                self.taste_result = run.steps.result
                self.result = plain_result(run.steps.result)
            self.step, self.doing = run.steps.step, run.steps.doing
            self.error = one_line(run.error)
            self.state = states.get(run.state, "training")
