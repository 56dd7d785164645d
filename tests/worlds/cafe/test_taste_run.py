"""Thirty labels of a taste that is not gold: agreement, opposite labels, what fools."""

import statistics

import pytest
import torch

from minirlhf.background import BackgroundRun
from minirlhf.labelling import Labels, simulate
from minirlhf.text_scores import scores_of
from minirlhf.worlds.cafe import recipe
from minirlhf.worlds.cafe.taste_run import PPO, REWARD, SPLITS, TasteRun
from minirlhf.worlds.cafe.your_taste import (
    Answer,
    ask,
    find_fooling,
    likes_gold,
    likes_short,
)

SEEDS = range(5)
OTHER = {"left": "right", "right": "left"}


def likes_adverbs(_prompt, response):
    return float(sum(word in ("very", "quite", "so") for word in response.split()))


@pytest.fixture(scope="module")
def actor():
    return recipe.load_shipped("cpu")[0]


@pytest.fixture(scope="module")
def fresh(actor):
    """300 pairs that no reward model here has seen."""
    return ask(actor, labels=300, repeats=0, seed=999)


def reward_model(actor, questions, choices, seed):
    labels = Labels(questions)
    labels.take(choices)
    run = TasteRun(labels, actor, seed=seed)
    trainer = run.reward_trainer(labels.rows(), seed, held_out=1e-3)
    for _ in trainer:
        pass
    return trainer.reward_model


def differences(model, questions):
    prompts = [q.prompt for q in questions]
    left, right = (scores_of(model, prompts, [getattr(q, s) for q in questions]) for s in OTHER)
    return torch.tensor(left) - torch.tensor(right)


def agreement(model, taste, questions):
    wanted = torch.tensor([taste(q.prompt, q.left) - taste(q.prompt, q.right) for q in questions])
    counted = wanted != 0
    return float((differences(model, questions)[counted] * wanted[counted] > 0).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize("taste", [likes_short, likes_adverbs])
def test_thirty_labels_of_a_taste_unlike_gold_are_learnt_and_opposite_ones_too(actor, fresh, taste):
    shares, correlations = [], []
    for seed in SEEDS:
        questions = ask(actor, labels=30, repeats=0, seed=seed)
        choices = simulate(questions, taste, seed=seed)
        model = reward_model(actor, questions, choices, seed)
        opposite = reward_model(actor, questions, [OTHER[side] for side in choices], seed)
        shares.append(agreement(model, taste, fresh))
        assert agreement(opposite, taste, fresh) < 0.48
        both = torch.stack([differences(model, fresh), differences(opposite, fresh)])
        correlations.append(float(torch.corrcoef(both)[0, 1]))
    assert min(shares) > 0.55 and statistics.fmean(shares) > 0.65, shares
    # not −1: both began with the same head, and what it began with is not unlearnt
    assert max(correlations) < -0.25, correlations


def test_neither_taste_is_gold(fresh):
    for taste in (likes_short, likes_adverbs):
        labels = Labels(fresh)
        labels.take(simulate(fresh, taste))
        assert 0.35 < labels.agreement_with(likes_gold).share < 0.65


@pytest.mark.slow
def test_from_the_last_label_to_the_trained_model(actor):
    questions = ask(actor)
    labels = Labels(questions)
    labels.take(simulate(questions, likes_short))
    before = {k: v.clone() for k, v in actor.model.state_dict().items()}
    run = TasteRun(labels, actor, judge=likes_short)
    records = BackgroundRun(run).wait()
    assert [r.step for r in records] == list(range(1, run.total + 1))
    assert run.total == (SPLITS + 1) * REWARD.steps + PPO.iterations
    assert all(torch.equal(before[k], v) for k, v in actor.model.state_dict().items())
    result = run.result
    assert result.held_out.of == SPLITS * 6
    assert result.scores[1] > result.scores[0] + 0.5
    assert result.judged[1] > result.judged[0] + 0.5  # words; the taste was learnt, too
    new, old = result.fooled
    assert new.prompt == old.prompt and new.score > old.score and new.judged < old.judged


def test_the_fooling_answer_is_the_worst_disagreement_among_ended_ones():
    before = [Answer("p", "good", 0.0, 2.0, True), Answer("q", "fine", 0.5, 1.0, True)]
    after = [
        Answer("p", "liked by both", 1.0, 3.0, True),
        Answer("p", "bad", 1.0, -1.0, True),
        Answer("p", "worse, but cut", 3.0, -3.0, False),
        Answer("q", "better by the judge only", 0.0, 3.0, True),
    ]
    new, old = find_fooling(before, after)
    assert (new.text, old.text) == ("bad", "good")
    assert find_fooling(before, after[:1]) is None and find_fooling(before, []) is None


def test_asks_ended_and_different_answers_and_the_same_ones_again(actor):
    questions = ask(actor, labels=12, repeats=2, seed=5)
    assert questions == ask(actor, labels=12, repeats=2, seed=5)
    assert questions != ask(actor, labels=12, repeats=2, seed=6)
    assert len(questions) == 14 and all(q.left != q.right for q in questions)
    assert len({q.prompt for q in questions}) > 5


def test_refuses_too_few_labels(actor):
    labels = Labels(ask(actor, labels=12, repeats=0))
    labels.take(["left"] * 9)
    with pytest.raises(ValueError, match="9 labels are too few; wanted 10 or more"):
        TasteRun(labels, actor)
