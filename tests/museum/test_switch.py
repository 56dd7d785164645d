"""A bug comes when it is asked for, is everywhere, and leaves nothing behind; the labels hold."""

import sys
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_trainers import QUICK, ppo_trainer

import minirlhf
from minirlhf import METRICS, PPOConfig, PPOTrainer, kl, museum, rollout
from minirlhf.critic import Critic
from minirlhf.museum.switch import replaced

ALL = sorted(museum.BUGS)


def names() -> dict[str, object]:
    """Every name in the package, and what it stands for; the attributes of classes, too."""
    found = {}
    for module_name, module in list(sys.modules.items()):
        if module_name == "minirlhf" or module_name.startswith("minirlhf."):
            for name, value in vars(module).items():
                found[f"{module_name}:{name}"] = value
                if isinstance(value, type) and value.__module__ == module_name:
                    found |= {f"{module_name}:{name}.{k}": v for k, v in vars(value).items()}
    return found


def changed(before: dict[str, object], after: dict[str, object]) -> set[str]:
    missing = object()
    keys = before.keys() | after.keys()
    return {k for k in keys if before.get(k, missing) is not after.get(k, missing)}


# ----------------------------------------------------------------------------- coming and going


@pytest.mark.parametrize("bug", ALL)
def test_a_bug_is_there_inside_the_block_and_nowhere_after_it(bug: str) -> None:
    before = names()
    with museum.switched_on(bug) as chosen:
        assert chosen is museum.BUGS[bug]
        inside = changed(before, names())
        assert set(chosen.replaces) <= inside
        assert not any(":" in place and place.startswith("minirlhf.museum") for place in inside)
    assert not changed(before, names())
    with pytest.raises(RuntimeError, match="stop"), museum.switched_on(bug):
        raise RuntimeError("stop")
    assert not changed(before, names())


def test_a_function_is_replaced_wherever_the_package_refers_to_it() -> None:
    right = kl.per_token_kl
    with museum.switched_on("flipped_k3"):
        wrong = kl.per_token_kl
        assert wrong is rollout.per_token_kl is minirlhf.per_token_kl is not right
        assert wrong.__name__ == "per_token_kl" and wrong.__doc__ == right.__doc__
    assert kl.per_token_kl is rollout.per_token_kl is minirlhf.per_token_kl is right


def test_a_module_that_is_imported_inside_the_block_is_put_right_after_it() -> None:
    """As `minirlhf.worlds.cafe.recipe` would be, imported late."""
    late = type(sys)("minirlhf.late")
    with museum.switched_on("flipped_k3"):
        late.per_token_kl = kl.per_token_kl
        sys.modules["minirlhf.late"] = late
    del sys.modules["minirlhf.late"]
    assert late.per_token_kl is kl.per_token_kl


def test_an_inherited_method_is_inherited_again() -> None:
    class Child(Critic):
        pass

    sys.modules[__name__].Child = Child  # type: ignore[attr-defined]
    bug = replace(museum.BUGS["frozen_critic"], replaces={f"{__name__}:Child.values": str})
    with replaced(bug):
        assert "values" in vars(Child)
    assert "values" not in vars(Child) and Child.values is Critic.values


def test_there_is_one_bug_at_a_time() -> None:
    before = names()
    with museum.switched_on("flipped_k3"):
        for other in ("flipped_k3", "top_k_sampling"):
            with pytest.raises(ValueError, match=f"cannot switch on '{other}': another bug is on"):
                museum.switched_on(other).__enter__()
        refused: list[str] = []

        def elsewhere() -> None:
            try:
                museum.switched_on("top_k_sampling").__enter__()
            except ValueError as error:
                refused.append(str(error))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(refused) == 1
        assert kl.per_token_kl is not before["minirlhf.kl:per_token_kl"]  # still on
    assert not changed(before, names())
    with museum.switched_on("top_k_sampling"):
        pass


def test_a_bug_that_cannot_be_put_in_place_leaves_nothing_half_done() -> None:
    before = names()
    places = {"minirlhf.kl:per_token_kl": str, "minirlhf.kl:no_such_function": str}
    bug = replace(museum.BUGS["flipped_k3"], replaces=places)
    with pytest.raises(AttributeError, match="no_such_function"), replaced(bug):
        pass
    assert not changed(before, names())
    with museum.switched_on("flipped_k3"):  # and the next one may come
        pass


# ------------------------------------------------------------------------- trainers and runs


def run(trainer: PPOTrainer) -> list[dict[str, float]]:
    torch.manual_seed(0)  # dropout, where there is some, draws from the global generator
    return [{k: v for k, v in s.metrics.items() if k != "seconds"} for s in trainer]


def small_trainer() -> PPOTrainer:
    """With settings under which every bug changes something."""
    settings = QUICK | {"batch_size": 4, "minibatch_size": 4, "ppo_epochs": 2}
    settings |= {"max_response_tokens": 8, "kl_estimator": "k3", "critic_target": "gae"}
    return ppo_trainer(**settings)


@pytest.fixture(scope="module")
def right_run() -> list[dict[str, float]]:
    return run(small_trainer())


@pytest.mark.parametrize("bug", ALL)
def test_a_trainer_built_before_or_inside_the_block_is_affected(
    bug: str, right_run: list[dict[str, float]]
) -> None:
    """And one that is built after it runs as if there had been no museum, to the last bit."""
    early = small_trainer()
    with museum.switched_on(bug):
        first = run(early)
        assert first == run(small_trainer()) != right_run
    assert run(small_trainer()) == right_run


# ------------------------------------------------------------------------------------ labels


def test_the_museum_has_its_twelve_exhibits() -> None:
    assert len(museum.EXHIBITS) == len(museum.BUGS) == 12
    assert {bug.name for bug in museum.EXHIBITS} == set(museum.BUGS)
    assert all(museum.BUGS[bug.name] is bug for bug in museum.EXHIBITS)
    assert [museum.find(number) for number in range(1, 13)] == list(museum.EXHIBITS)
    assert [bug.name for bug in museum.EXHIBITS] != ALL  # a number gives nothing away


@pytest.mark.parametrize("which", [0, 13, -1, "no_such_bug", "", 1.0])
def test_what_is_not_in_the_museum_is_refused(which: object) -> None:
    message = (
        f"no bug {which!r} in the museum; wanted a number from 1 to 12, or one of .*flipped_k3"
    )
    for ask in (museum.find, lambda w: museum.switched_on(w).__enter__()):
        ask: Callable[[object], object]
        with pytest.raises(ValueError, match=message):
            ask(which)


@pytest.mark.parametrize("bug", museum.EXHIBITS, ids=lambda bug: bug.name)
def test_an_exhibit_says_all_it_should(bug: museum.Bug) -> None:
    assert bug.name.isidentifier() and bug.name == bug.name.lower()
    assert len(bug.title) < 45 and len(bug.story) > 200 and len(bug.symptom) > 100
    assert bug.watch and set(bug.watch) <= set(METRICS)
    assert bug.sources and len(set(bug.sources)) == len(bug.sources)
    for source in bug.sources:
        site, kind = "https://github.com/", source.split("/")[5:6]
        assert source.startswith(site) and kind in (["issues"], ["pull"])
    PPOConfig(**bug.settings)  # every setting exists, and together they are allowed
