"""PrefixTree: every prefix of a small world, with the probabilities and true values at each."""

from collections.abc import Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.config import OnlineConfig, PPOConfig
from minirlhf.reference import Reference
from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import BLUE, GREY, INK, ORANGE, Picture, number
from minirlhf.widgets.wire import drawable, packed
from minirlhf.worlds.exact.models import policy_table
from minirlhf.worlds.exact.tree import WORLD, Tree
from minirlhf.worlds.exact.truth import Truth, check_tables, exact_truth, final_scores
from minirlhf.worlds.exact.words import EOS, WORDS

CODES = 256  # as many different scores go into one byte each


class PrefixTree(LiveWidget):
    """Walk through all prefixes of a tree; nothing on it is estimated.

    For each token that may follow: π(a|s), π_ref(a|s), kl(s, a), the probability of the prefix, V
    after it, Q(s, a), A(s, a), and the score of an answer. A temperature slider moves all of them.

    Args:
        log_pi: (S, V) nats, the actor at every state; `policy_table(actor)`.
        ref_log_pi: (S, V) nats, the reference.
        scores: (S, V) reward units, without penalty; `gold_table()` or `score_table(...)`.
        tokens: V texts, EOS last; None = the exact world's.
        config: β, γ, estimator, penalty and clip. Its temperature is not used: the tables have it.
        tree: which answers there are.
        path: token ids of the prefix (or answer) that is shown first; may be set later, too.
        temperature: T of policy and reference, > 0; may be set later, too.
        language: of the words on it.

    Raises:
        ValueError: shapes do not fit, a path that the tree has not, or T is out of [0.2, 3].
    """

    prefix = "prefix_tree"
    _esm = script("exact_truth", "prefix_tree")
    _css = style("prefix_tree")
    path = traitlets.List(traitlets.Int()).tag(sync=True)
    temperature = traitlets.Float(1.0, min=0.2, max=3.0).tag(sync=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _tree = traitlets.Dict().tag(sync=True)
    _settings = traitlets.Dict().tag(sync=True)
    _answers = traitlets.Int().tag(sync=True)
    _log_pi = traitlets.Bytes().tag(sync=True)
    _ref_log_pi = traitlets.Bytes().tag(sync=True)
    _scores = traitlets.Bytes().tag(sync=True)
    _levels = traitlets.List(traitlets.Float()).tag(sync=True)

    def __init__(
        self,
        log_pi: Tensor,
        ref_log_pi: Tensor,
        scores: Tensor,
        tokens: Sequence[str] | None = None,
        config: OnlineConfig | None = None,
        tree: Tree = WORLD,
        *,
        path: Sequence[int] = (),
        temperature: float = 1.0,
        language: str = "en",
    ) -> None:
        config = config or PPOConfig()
        check_tables(tree, log_pi=log_pi, ref_log_pi=ref_log_pi, scores=scores)
        tokens = (*WORDS, EOS) if tokens is None else tokens
        if len(tokens) != tree.n_tokens:
            raise ValueError(f"wanted {tree.n_tokens} tokens, EOS last, got {len(tokens)}")
        final = final_scores(
            scores.detach().cpu(),
            tree,
            missing_eos_penalty=config.missing_eos_penalty,
            score_clip=config.score_clip,
        )
        self._world, self._config = tree, config
        # what the browser gets is float32, and the Python side computes from the same numbers
        self._tables = tuple(x.detach().cpu().float() for x in (log_pi, ref_log_pi, final))
        codes, levels = _coded(self._tables[2])
        super().__init__(
            language=language,
            path=[int(token) for token in path],
            temperature=temperature,
            tokens=list(tokens),
            _tree={"words": tree.words, "steps": tree.steps},
            _settings={
                "beta": config.kl_coef,
                "gamma": config.gamma,
                "estimator": config.kl_estimator,
            },
            _answers=int(tree.is_last.sum()),
            _log_pi=packed(log_pi),
            _ref_log_pi=packed(ref_log_pi),
            _scores=codes,
            _levels=levels,
        )

    @classmethod
    def of(
        cls, actor: Actor, reference: Actor | Reference, scores: Tensor, **more: Any
    ) -> "PrefixTree":
        """Of two models of the exact world; `more` as in the constructor."""
        with torch.no_grad():
            return cls(policy_table(actor), policy_table(reference), scores, **more)

    @traitlets.validate("path")
    def _known_path(self, proposal: Any) -> list[int]:
        path, tree = list(proposal["value"]), self._world
        good = all(0 <= token <= tree.eos for token in path) and tree.eos not in path[:-1]
        if not good or len(path) > tree.steps:
            raise ValueError(
                f"a path has at most {tree.steps} token ids 0 … {tree.eos}, of which only the "
                f"last may be EOS ({tree.eos}); got {path}"
            )
        return path

    @property
    def truth(self) -> Truth:
        """What the widget shows: the exact truth at its temperature, in float64."""
        log_pi, ref_log_pi, final = (table.double() for table in self._tables)
        return exact_truth(
            (log_pi / self.temperature).log_softmax(dim=1),
            (ref_log_pi / self.temperature).log_softmax(dim=1),
            final,
            self._world,
            kl_coef=self._config.kl_coef,
            gamma=self._config.gamma,
            kl_estimator=self._config.kl_estimator,
        )

    def state(self) -> int:
        """The state of the path; of an answer, the state before its last token."""
        path, tree = self.path, self._world
        if path and (path[-1] == tree.eos or len(path) == tree.steps):
            path = path[:-1]
        state = 0
        for token in path:
            state = state * tree.words + 1 + token
        return state

    def picture(self) -> Picture:
        """The tokens that may follow the path, with their probabilities and advantages."""
        truth, state = self.truth, self.state()
        pi, ref = truth.log_pi[state].exp(), truth.ref_log_pi[state].exp()
        picture = Picture(7.0, 0.9 + 0.27 * len(pi), self._describe(truth, state))
        ax = picture.subplots()
        order = pi.argsort().tolist()
        ax.barh(range(len(order)), pi[order].tolist(), color=BLUE, height=0.6, label="π(a|s)")
        ax.plot(
            ref[order].tolist(), range(len(order)), "|", color=ORANGE, ms=12, mew=2.5, label="π_ref"
        )
        ax.set_yticks(range(len(order)), [drawable(self.tokens[a]) for a in order])
        for y, a in enumerate(order):
            told = f"Q {number(float(truth.q_values[state, a]))}   "
            told += f"A {number(float(truth.advantages[state, a]))}"
            ax.annotate(told, (1.02, y), xycoords=("axes fraction", "data"), va="center", size=8.5)
        ax.set_title(self._written(state), loc="left", fontsize=10.5, color=INK)
        ax.set_xlabel("probability of the next token", color=GREY, fontsize=9)
        ax.legend(frameon=False, fontsize=9, loc="lower right")
        picture.tight_layout()
        return picture

    def _written(self, state: int) -> str:
        words = " ".join(drawable(self.tokens[a]) for a in self._world.words_of(state))
        return f"after “{words}”" if words else "at the start"

    def _describe(self, truth: Truth, state: int) -> str:
        best = truth.log_pi[state].argsort(descending=True)[:3].tolist()
        likely = ", ".join(
            f"{drawable(self.tokens[a])} {number(float(truth.log_pi[state, a].exp()))}"
            for a in best
        )
        return (
            f"A tree of {self._answers:,} answers, {self._written(state)}: reached with "
            f"probability {float(truth.reach[state]):.4f}, V {number(float(truth.values[state]))}. "
            f"Likeliest next tokens: {likely}."
        )


def _coded(scores: Tensor) -> tuple[bytes, list[float]]:
    """One byte for each score and the list that it numbers; floats and no list if too many."""
    levels, codes = scores.unique(return_inverse=True)
    if len(levels) > CODES:
        return packed(scores), []
    return bytes(codes.flatten().to(torch.uint8).numpy().tobytes()), levels.double().tolist()
