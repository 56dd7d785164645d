"""The engine behind `check`: comparing, judging, remembering, and the cells of an exercise."""

import json
import multiprocessing

import nbformat
import pytest
import torch

from minirlhf.exercises import EXERCISES, Case, Exercise, Wrong, cells, check, progress
from minirlhf.exercises.compare import brief, difference
from minirlhf.exercises.examine import examine, is_empty


def make(solution, cases=(), **more):
    """An exercise that is not entered into the course."""
    facts = ("00", "title", 1, 1, 1, "task", ["hint"])
    one = Exercise("made_up", *facts, solution, **more)
    del EXERCISES["made_up"]
    if cases:
        one.cases(lambda draw: iter(cases))
    return one


DOUBLE = make(lambda x: 2 * x, [Case("one", torch.tensor([1.0])), Case("two", torch.ones(2, 2))])


@pytest.mark.parametrize(
    "got, want",
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-6])),
        (torch.tensor([1, 2]), torch.tensor([1.0, 2.0])),
        (0.5, torch.tensor(0.5)),
        (torch.tensor(0.5), 0.5),
        ([1.0, "a"], (1.0, "a")),
        (["a", "b"], {"b", "a"}),
        (True, True),
    ],
)
def test_the_same(got, want):
    assert difference(got, want, 1e-4) is None


@pytest.mark.parametrize(
    "got, want, words",
    [
        (torch.ones(2), torch.ones(3), "shape (3,), got (2,)"),
        (torch.ones(2), torch.zeros(2), "wanted [0, 0]"),
        (torch.tensor([float("nan")]), torch.ones(1), "NaN"),
        (torch.ones(2), torch.ones(2, dtype=torch.bool), "True and False"),
        (None, torch.ones(2), "nothing (None)"),
        (1.0, 2.0, "got 1, wanted 2"),
        (True, 1.0, "wanted a number, got a bool"),
        ("b", "a", "got 'b'"),
        (1, True, "got 1"),
        ([1.0], [1.0, 2.0], "2 values, got 1"),
        ([1.0, 3.0], [1.0, 2.0], "value 1"),
        (5, (1, 2), "a int"),
        ({"a"}, {"a", "b"}, "{'a', 'b'}"),
    ],
)
def test_not_the_same(got, want, words):
    assert words in difference(got, want, 1e-4)


def test_long_values_are_cut_and_negative_zero_is_zero():
    assert brief(torch.arange(20)) == "[0, 1, 2, 3, 4, 5, 6, 7, …]"
    assert brief(torch.tensor([-0.00001])) == "[-1e-05]" and brief(-0.0) == "0"


def test_empty_functions_are_known():
    def stub(x, *, y=1):
        """Words."""
        ...

    def bare(x): ...
    def constant(x):
        return 3

    def work(x):
        x + 1

    assert is_empty(stub) and is_empty(bare)
    assert not is_empty(constant) and not is_empty(work) and not is_empty(torch.add)


@pytest.mark.parametrize("answer", [None, ..., lambda x: None])
def test_unanswered(answer):
    assert examine(DOUBLE, answer).state == "unanswered"


@pytest.mark.parametrize(
    "answer, words",
    [
        (3, "wanted the function made_up"),
        (lambda x: x.sort() and None, "`return` missing"),
        (lambda x: x.add_(x), "changes its inputs"),
        (lambda x: x / torch.zeros(3, 3, 3)[9], "IndexError"),
    ],
)
def test_wrong(answer, words):
    verdict = examine(DOUBLE, answer)
    assert verdict.state == "wrong" and words in verdict.message


def test_right_on_the_first_case_only_is_wrong_and_shows_the_case_that_fails():
    verdict = examine(DOUBLE, lambda x: x + 1)  # 2·1 = 1 + 1
    assert verdict.state == "right"  # and all ones: the cases must tell them apart
    cases = [Case("one", torch.tensor([1.0])), Case("three", torch.tensor([3.0]))]
    verdict = examine(make(lambda x: 2 * x, cases), lambda x: x + 1)
    assert verdict.state == "wrong" and "case “three”: made_up([3])" in verdict.message
    assert "got    [4]" in verdict.message and "wanted [6]" in verdict.message


def test_a_misconception_is_named_only_if_it_explains_every_case():
    cases = [Case("one", torch.tensor([1.0])), Case("three", torch.tensor([3.0]))]
    one = make(lambda x: 2 * x, cases)
    one.wrongs.append(Wrong(lambda x: x * x, "You squared it."))
    assert "You squared it." in examine(one, lambda x: x**2).message
    assert "You squared it." not in examine(one, lambda x: x + 8).message


def test_a_misconception_is_named_although_an_edge_was_forgotten_as_well():
    cases = [Case("three", torch.tensor([3.0])), Case("five", torch.tensor([5.0]))]
    one = make(lambda x: 2 * x, [*cases, Case("empty", torch.ones(0))])
    one.wrongs.append(Wrong(lambda x: x * x, "You squared it."))
    assert "You squared it." in examine(one, lambda x: x * x / (len(x) > 0)).message  # raises
    nan = make(lambda x: x.nansum() * 2, [*cases, Case("NaN", torch.tensor([float("nan")]))])
    nan.wrongs.append(Wrong(lambda x: x.nansum(), "You forgot the 2."))
    assert "You forgot the 2." in examine(nan, lambda x: x.sum()).message
    assert "You forgot the 2." in examine(nan, lambda x: float(x.sum())).message
    # an error or a NaN at the first failing case is what has to be explained, not left out
    assert "You forgot" not in examine(nan, lambda x: x.sum() * 2).message
    assert "You squared it." not in examine(one, lambda x: x[9]).message


def test_a_nan_from_padding_does_not_hide_the_misconception():
    nan = float("nan")
    cases = [Case("one", torch.tensor([3.0])), Case("hole", torch.tensor([3.0, nan]))]
    one = make(lambda x: 2 * x.nan_to_num(), cases)
    one.wrongs.append(Wrong(lambda x: x.nan_to_num() ** 2, "You squared it."))
    assert "You squared it." in examine(one, lambda x: x**2).message
    assert "You squared it." not in examine(one, lambda x: 2 * x).message  # only the NaN is wrong
    assert "You squared it." not in examine(one, lambda x: x + 8).message


def test_gradients_count():
    one = make(lambda x, y: x * y, [Case("c", torch.ones(2), torch.ones(2))], gradient_of=("x",))
    assert examine(one, lambda x, y: y * x).state == "right"
    assert examine(one, lambda x, y: x.detach() * y).state == "wrong"
    verdict = examine(one, lambda x, y: x * x * y)  # same value, twice the slope
    assert verdict.state == "wrong" and "the gradient of its sum by x: got" in verdict.message


def test_a_solution_may_be_to_refuse():
    def refuse(x):
        raise ValueError("no")

    one = make(refuse, [Case("bad", 1)])
    assert examine(one, refuse).state == "right"
    assert examine(one, lambda x: x).state == "wrong"


def test_values_and_judges():
    three = make(3.0, form="a number", wrongs=[Wrong(2.0, "One too few.")])
    assert examine(three, 3).state == "right" and examine(three, ...).state == "unanswered"
    assert examine(three, 2).message == "One too few."
    assert examine(three, 7).message == "7 is not right. Wanted: a number"
    judged = make(lambda: 1, judge=lambda f: None if f() == 1 else "Not one.")
    assert examine(judged, lambda: 1).state == "right"
    assert examine(judged, lambda: 2).message == "Not one."
    assert "ZeroDivisionError" in examine(judged, lambda: 1 / 0).message


def test_blanks_and_capitals_make_no_text_wrong():
    order = make("bac", form="three letters", wrongs=[Wrong("abc", "Not the alphabet.")])
    assert examine(order, "B a C").state == "right"
    assert examine(order, "A B C").message == "Not the alphabet."
    assert examine(order, "b-a-c").state == "wrong"


@pytest.mark.parametrize("facts", [{"difficulty": 0}, {"importance": 6}, {"minutes": 0}])
def test_impossible_facts_are_refused(facts):
    good = {"difficulty": 1, "importance": 1, "minutes": 1}
    with pytest.raises(ValueError, match="1 to 5"):
        Exercise("never", "00", "t", **(good | facts), task="t", hints=[], solution=1)
    with pytest.raises(ValueError, match="already"):
        Exercise("td_target", "00", "t", **good, task="t", hints=[], solution=1)


# ------------------------------------------------------------------------------- progress


@pytest.fixture
def kept(tmp_path, monkeypatch):
    path = tmp_path / "home" / "progress.json"
    monkeypatch.setenv("MINIRLHF_PROGRESS", str(path))
    return path


def test_progress_counts_tries_up_to_the_first_right_answer(kept, capsys):
    check.td_target(...)
    assert not kept.exists()
    check.td_target(lambda *a, gamma: a[0])
    check.td_target(EXERCISES["td_target"].solution)
    check.td_target(lambda *a, gamma: a[0])  # solved stays solved
    attempts = progress.load()["td_target"]
    assert attempts.tries == 2 and attempts.solved and len(attempts.day) == 10
    signs = [line[0] for line in capsys.readouterr().out.splitlines() if "td_target:" in line[:12]]
    assert signs == ["○", "✗", "✓", "✗"]


def test_a_damaged_file_is_kept_beside_the_new_one(kept):
    kept.parent.mkdir()
    kept.write_text("{not json")
    progress.record("td_target", "right")
    assert progress.load()["td_target"].solved
    assert kept.with_name("progress.json.damaged").read_text() == "{not json"


def test_a_home_that_cannot_be_written_disturbs_nobody(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINIRLHF_PROGRESS", str(tmp_path / "file" / "progress.json"))
    progress.record("td_target", "right")
    assert progress.load() == {}


def note(path, name):
    progress.record(name, "right", path)


def test_two_notebooks_may_write_at_once(kept):
    spawn = multiprocessing.get_context("fork")
    jobs = [spawn.Process(target=note, args=(kept, f"e{n}")) for n in range(8)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(json.loads(kept.read_text())) == 8


def test_an_unknown_check_says_where_to_look():
    with pytest.raises(AttributeError, match="minirlhf progress"):
        check.no_such_exercise(1)
    assert "td_target" in dir(check) and "Critic" in check.td_target.__doc__


# ---------------------------------------------------------------------------------- cells


def test_cells_are_found_and_written_anew():
    exercise = EXERCISES["td_target"]
    notebook = nbformat.v4.new_notebook(cells=cells.cells_of(exercise))
    nbformat.validate(notebook)
    for cell in notebook.cells:
        cell.source = "changed"
    other = nbformat.v4.new_code_cell("kept", id="something-else")
    notebook.cells.append(other)
    assert cells.refresh(notebook) == ["td_target"]
    sources = [cell.source for cell in notebook.cells]
    assert sources == [
        cells.task_text(exercise),
        cells.stub_text(exercise),
        cells.help_text(exercise),
        "kept",
    ]
    cells.refresh(notebook, solved=True)
    assert "return" in notebook.cells[1].source and "@exercise" not in notebook.cells[1].source


def test_a_question_is_an_assignment():
    three = make(3.0, form="a number, in nats")
    assert cells.stub(three) == "made_up = ...  # a number, in nats"
    assert cells.solution(three) == "made_up = 3.0"
    names = make({"b", "a", "c"}, form="names")
    assert cells.solution(names) == "made_up = {'a', 'b', 'c'}"
