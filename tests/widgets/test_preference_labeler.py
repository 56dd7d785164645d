"""The labeler without a browser: answers, file, training, and what it does when nobody answers."""

import threading
from dataclasses import replace

import pytest

from minirlhf import PPOConfig
from minirlhf.background import _running
from minirlhf.data import PREFERENCE_COLUMNS
from minirlhf.data_rows import read_rows
from minirlhf.labelling import Labels
from minirlhf.widgets.preference_labeler import PreferenceLabeler
from minirlhf.worlds.cafe import recipe, taste_run
from minirlhf.worlds.cafe.your_taste import likes_gold, likes_short

QUICK = PPOConfig(iterations=2, batch_size=8, minibatch_size=8, ppo_epochs=1, max_response_tokens=8)


@pytest.fixture(scope="module")
def actor():
    return recipe.load_shipped("cpu")[0]


@pytest.fixture
def make(actor, monkeypatch):
    reward = replace(taste_run.REWARD, steps=2, batch_size=4, standardise_samples=8)
    monkeypatch.setattr(taste_run, "REWARD", reward)
    monkeypatch.setattr(taste_run, "SPLITS", 1)

    def labeler(**settings):
        return PreferenceLabeler(actor, **{"labels": 10, "repeats": 2, "ppo": QUICK, **settings})

    yield labeler
    assert not _running and "minirlhf" not in {t.name for t in threading.enumerate()}


def test_answers_reach_the_file_at_once_from_python_and_from_the_trait(make, tmp_path):
    path = tmp_path / "labels.jsonl"
    labeler = make(path=path)
    labeler.choose("left")
    labeler.choices = [*labeler.choices, "right"]  # as the browser does
    assert read_rows(path, PREFERENCE_COLUMNS) == labeler.rows() and len(labeler.rows()) == 2
    labeler.undo()
    assert make(path=path).choices == ["left"]
    with pytest.raises(ValueError, match="'left' or 'right', not 'up'"):
        labeler.choices = ["up"]
    assert labeler.choices == ["left"] == labeler.labels.choices


def test_sends_the_gold_that_agreement_is_counted_with(make):
    labeler = make()
    for question, sent in zip(labeler.labels.questions, labeler.questions, strict=True):
        assert sent["left_gold"] == likes_gold(question.prompt, question.left)
        assert sent["repeats"] == question.repeats and sent["right"] == question.right


def test_nobody_answers_so_a_simulated_labeller_does_and_it_says_so(make, tmp_path):
    labeler = make(path=tmp_path / "labels.jsonl")
    result = labeler.wait()
    assert labeler.state == "done" and labeler.simulated_answers == 12
    assert "12 of the 12 labels come from a simulated labeller, not from you" in repr(labeler)
    assert labeler.choices == [] and not (tmp_path / "labels.jsonl").exists()
    assert result.before[0].judged == likes_short("", result.before[0].text)  # its taste is known
    assert labeler.wait() is result  # trained once


def test_your_answers_count_and_gold_is_the_judge(make):
    labeler = make()
    labeler.choose("left")
    labeler.choose("left")
    result = labeler.wait()
    assert labeler.simulated_answers == 10
    one = result.before[0]
    assert one.judged == likes_gold(one.prompt, one.text)
    labeler.answer_with(likes_gold)
    assert labeler.wait() is not result and labeler.simulated_answers == 0
    assert "not from you" not in repr(labeler) and "12 of 12 pairs labelled by you" in repr(labeler)


def test_sends_what_it_found(make):
    labeler = make()
    labeler._handle_custom_msg({"do": "train"}, [])
    result = labeler.wait()
    assert (labeler.step, labeler.total) == (6, 6) and labeler.doing == "ppo"
    assert [a["text"] for a in labeler.result["after"]] == [a.text for a in result.after[:5]]
    assert labeler.result["of"] == result.held_out.of == 2
    if result.fooled is not None:
        assert labeler.result["fooled"][0]["text"] == result.fooled[0].text
    assert labeler.picture().alt == repr(labeler)


def test_an_error_shows_and_is_raised(make, monkeypatch):
    labeler = make()
    monkeypatch.setattr(taste_run.recipe, "ppo_trainer", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        labeler.wait()
    assert labeler.state == "failed" and labeler.error.startswith("ZeroDivisionError")
    few = make(labels=4, repeats=0)
    few._handle_custom_msg({"do": "train"}, [])
    assert "too few" in few.error
    few.close()


def test_closing_ends_the_thread(make):
    labeler = make(ppo=replace(QUICK, iterations=1000))
    labeler.train()
    labeler.train()  # once is enough
    labeler.close()
    assert labeler.state == "labelling"
    labeler.close()


def test_the_labels_are_what_the_core_makes_of_the_same_answers(make):
    labeler = make()
    labeler.answer_with(likes_short)
    labels = Labels(labeler.labels.questions)
    labels.take(labeler.choices)
    assert labels.rows() == labeler.rows() and labels.agreement_with_self().of == 2
