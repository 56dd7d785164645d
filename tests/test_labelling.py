"""Questions, answers, undo, agreement, and a file that is complete after every answer."""

import json

import pytest

from minirlhf import atomic
from minirlhf.data import PREFERENCE_COLUMNS
from minirlhf.data_rows import read_rows
from minirlhf.labelling import Agreement, Labels, Question, make_questions, simulate

PAIRS = [(f"prompt {i}", f"left {i}", f"a longer right {i}") for i in range(30)]


def short(prompt, response):
    return -len(response)


def test_every_pair_is_asked_and_some_come_back_swapped_in_the_second_half():
    questions = make_questions(PAIRS, repeats=6, seed=3)
    first = [q for q in questions if q.repeats is None]
    again = [(i, q) for i, q in enumerate(questions) if q.repeats is not None]
    assert [(q.prompt, q.left, q.right) for q in first] == PAIRS and len(again) == 6
    for i, question in again:
        earlier = questions[question.repeats]
        assert (question.prompt, question.left) == (earlier.prompt, earlier.right)
        assert question.right == earlier.left and i > 15 and i - question.repeats >= 2
    assert questions == make_questions(PAIRS, repeats=6, seed=3)
    assert questions != make_questions(PAIRS, repeats=6, seed=4)


@pytest.mark.parametrize("repeats", range(16))
def test_asks_as_many_twice_as_wanted(repeats):
    questions = make_questions(PAIRS, repeats=repeats)
    assert len(questions) == 30 + repeats
    assert len({q.repeats for q in questions if q.repeats is not None}) == repeats


@pytest.mark.parametrize(
    ("pairs", "repeats", "message"),
    [
        ([], 0, "at most half"),
        (PAIRS, 16, "16 of 30 pairs twice"),
        ([("p", "a", "a")], 0, "nobody can choose"),
    ],
)
def test_refuses_questions_that_cannot_be_asked(pairs, repeats, message):
    with pytest.raises(ValueError, match=message):
        make_questions(pairs, repeats=repeats)


def test_chooses_and_takes_back():
    labels = Labels(make_questions(PAIRS[:2]))
    labels.undo()
    labels.choose("left")
    labels.choose("right")
    assert labels.complete and labels.rows() == [
        {"prompt": "prompt 0", "chosen": "left 0", "rejected": "a longer right 0"},
        {"prompt": "prompt 1", "chosen": "a longer right 1", "rejected": "left 1"},
    ]
    with pytest.raises(ValueError, match="all 2 questions are answered"):
        labels.choose("left")
    labels.undo()
    with pytest.raises(ValueError, match="'left' or 'right', not 'up'"):
        labels.choose("up")
    assert labels.choices == ["left"]


def test_counts_agreement_with_the_earlier_self():
    questions = make_questions(PAIRS, repeats=4)
    labels = Labels(questions)
    labels.take(simulate(questions, short))
    assert labels.agreement_with_self() == Agreement(4, 4)
    labels.take(["left"] * len(questions))  # whatever stands on the left: never the same twice
    assert labels.agreement_with_self() == Agreement(0, 4)
    assert labels.agreement_with_self().share == 0.0
    assert Labels(questions).agreement_with_self().share is None
    assert len(labels.rows(repeats=False)) == 30


def test_counts_agreement_with_a_taste_where_it_has_one():
    labels = Labels(make_questions([*PAIRS[:3], ("p", "same", "size")]))
    labels.take(["left", "left", "right", "left"])
    assert labels.agreement_with(short) == Agreement(2, 3)


def test_a_simulated_labeller_has_a_taste_and_tosses_a_coin_for_ties():
    questions = make_questions(PAIRS)
    assert simulate(questions, short) == ["left"] * 30
    assert simulate(questions, lambda p, r: -short(p, r)) == ["right"] * 30
    coins = simulate(questions, lambda p, r: 0.0)
    assert 5 < coins.count("left") < 25 and coins == simulate(questions, lambda p, r: 0.0)
    assert coins != simulate(questions, lambda p, r: 0.0, seed=1)


def test_the_file_is_complete_after_every_answer_and_can_be_resumed(tmp_path):
    path, questions = tmp_path / "labels.jsonl", make_questions(PAIRS, repeats=3)
    labels = Labels(questions, path)
    for number, side in enumerate(simulate(questions, short), start=1):
        labels.choose(side)
        assert read_rows(path, PREFERENCE_COLUMNS) == labels.rows() and len(labels.rows()) == number
    labels.undo()
    again = Labels(questions, path)
    assert again.choices == labels.choices and not again.complete
    assert all(set(json.loads(line)) == set(PREFERENCE_COLUMNS) for line in path.open())
    while again.choices:
        again.undo()
    assert path.read_text() == "" and Labels(questions, path).choices == []
    assert [p.name for p in tmp_path.iterdir()] == ["labels.jsonl"]


def test_hostile_text_survives_the_file(tmp_path):
    texts = "line\nbreak \u2028 <script> \u202e \U0001f35c", 'quote " and \\'
    question = Question("p\u2029", *texts)
    Labels([question], tmp_path / "l.jsonl").choose("right")
    again = Labels([question], tmp_path / "l.jsonl")
    assert again.rows() == [{"prompt": "p\u2029", "chosen": texts[1], "rejected": texts[0]}]


def test_a_full_disk_loses_neither_file_nor_answers(tmp_path, monkeypatch):
    path = tmp_path / "labels.jsonl"
    labels = Labels(make_questions(PAIRS), path)
    labels.choose("left")
    before = path.read_bytes()

    def full(_path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "sync_file", full)
    with pytest.raises(OSError):
        labels.choose("left")
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["labels.jsonl"]
    assert labels.choices == ["left"]


def test_refuses_the_answers_to_other_questions(tmp_path):
    path = tmp_path / "labels.jsonl"
    Labels(make_questions(PAIRS), path).choose("left")
    with pytest.raises(ValueError, match="line 1 answers another question"):
        Labels(make_questions(PAIRS[5:]), path)
