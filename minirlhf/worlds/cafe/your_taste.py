"""You are the human: what is asked, simulated tastes, and what becomes of your labels.

Some thirty labels are few: the reward model learns your taste, and with it whatever happened to go
along with it in those thirty pairs. PPO cannot tell the two apart. `taste_run.py` trains.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from minirlhf.actor import Actor
from minirlhf.labelling import Agreement, Question, Taste, make_questions
from minirlhf.noise import PREFERENCES, PROMPT_ORDER, key, permutation
from minirlhf.reward_model import RewardModel
from minirlhf.text_scores import scores_of
from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import recipe

LABELS, REPEATS = 30, 6
ANSWERS = 4  # to each prompt, before and after


def likes_short(_prompt: str, response: str) -> float:
    """The simulated labeller: the fewer words, the better. Gold cares for no length."""
    return -float(len(response.split()))


def likes_gold(prompt: str, response: str) -> float:
    """The café's own human."""
    return cafe.gold_reward(prompt, response)


def ask(
    actor: Actor, *, labels: int = LABELS, repeats: int = REPEATS, seed: int = 0
) -> list[Question]:
    """Pairs of different answers of the SFT model, both ended by themselves.

    Args:
        actor: the SFT model.
        labels: pairs.
        repeats: how many of them are asked twice, sides swapped.
        seed: decides prompts, answers and repeats.

    Raises:
        ValueError: the actor's answers hardly ever end or differ.
    """
    prompts = recipe.repeat_prompts(4 * labels)
    firsts, first_ended = recipe.sample(actor, prompts, seed=key(seed, PREFERENCES, 1))
    seconds, second_ended = recipe.sample(actor, prompts, seed=key(seed, PREFERENCES, 2))
    pairs = [
        (prompts[i], firsts[i], seconds[i])
        for i in permutation(len(prompts), seed, PROMPT_ORDER)
        if first_ended[i] and second_ended[i] and firsts[i] != seconds[i]
    ]
    if len(pairs) < labels:
        raise ValueError(f"only {len(pairs)} pairs of different, ended answers; wanted {labels}")
    return make_questions(pairs[:labels], repeats=repeats, seed=seed)


@dataclass(frozen=True)
class Answer:
    """One response, as the reward model of the labels and a judge see it."""

    prompt: str
    text: str
    score: float  # reward units: standard deviations over the SFT model's answers
    judged: float  # by the simulated labeller's taste where it labelled, else gold
    ended: bool  # by itself


@dataclass(frozen=True)
class TasteResult:
    """What came of the labels."""

    held_out: Agreement  # reward models that had not seen these labels, against the labels
    before: list[Answer]  # of the SFT model
    after: list[Answer]  # of the trained one, to the same prompts
    fooled: tuple[Answer, Answer] | None  # the reward model prefers the first, the judge the second

    @property
    def scores(self) -> tuple[float, float]:
        """Mean score before and after."""
        before, after = ([a.score for a in answers] for answers in (self.before, self.after))
        return statistics.fmean(before), statistics.fmean(after)

    @property
    def judged(self) -> tuple[float, float]:
        """Mean judgement before and after."""
        before, after = ([a.judged for a in answers] for answers in (self.before, self.after))
        return statistics.fmean(before), statistics.fmean(after)


def answers(actor: Actor, reward_model: RewardModel, judge: Taste, *, seed: int) -> list[Answer]:
    """Some answers to every prompt of the café; the same seed gives two actors the same noise."""
    prompts = recipe.repeat_prompts(ANSWERS * len(cafe.PROMPTS))
    texts, ended = recipe.sample(actor, prompts, seed=key(seed, PREFERENCES, 3))
    scores = scores_of(reward_model, prompts, texts)
    judged = [judge(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    return [Answer(*one) for one in zip(prompts, texts, scores, judged, ended, strict=True)]


def find_fooling(before: Sequence[Answer], after: Sequence[Answer]) -> tuple[Answer, Answer] | None:
    """Two answers to one prompt over which reward model and judge disagree most.

    Args:
        before: of the SFT model.
        after: of the trained one.

    Returns:
        The trained model's answer, which the reward model prefers, and the SFT model's, which the
        judge prefers; None where the two agree on every prompt.
    """
    spread = statistics.pstdev(answer.judged for answer in before) or 1.0

    def disagreement(pair: tuple[Answer, Answer]) -> float:
        new, old = pair
        too_much, too_little = new.score - old.score, (old.judged - new.judged) / spread
        return too_much + too_little if min(too_much, too_little) > 0 else 0.0

    by_prompt: dict[str, list[Answer]] = {}
    for answer in before:
        by_prompt.setdefault(answer.prompt, []).append(answer)
    pairs = [
        (new, old) for new in after for old in by_prompt[new.prompt] if new.ended and old.ended
    ]
    worst = max(pairs, key=disagreement, default=None)
    return worst if worst is not None and disagreement(worst) > 0 else None
