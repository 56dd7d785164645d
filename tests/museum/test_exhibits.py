"""The recorded dashboards: each shows what notebook 09 says of its bug, and no other one does."""

import json
from collections.abc import Callable, Sequence

import pytest
from record_exhibits import FILE, Curves, run

from minirlhf import museum
from minirlhf.exercises.n09_diagnoses import ALIKE, WOULD_SHOW

Exhibit = dict[str, Curves]
EXHIBITS = json.loads(FILE.read_text(encoding="utf-8"))["exhibits"]


def all_zero(values: Sequence[float]) -> bool:
    return all(value == 0.0 for value in values)


def value_late(healthy: Curves, broken: Curves) -> bool:
    slower = sum(broken["score"][-4:]) < sum(healthy["score"][-4:]) - 0.8
    return slower and broken["explained_variance"][0] > healthy["explained_variance"][0] + 0.03


def sinks(broken: Curves) -> bool:
    pairs = zip(broken["return_mean"], broken["value_mean"], strict=True)
    below = [came - value for came, value in pairs]
    return below[0] < 0.5 < below[1] < below[3] < below[6] and below[-1] > 4.0


# by bug: is what `WOULD_SHOW` says of it true of these curves (healthy, broken)?
SHOWS: dict[str, Callable[[Curves, Curves], bool]] = {
    "unmasked_mean": lambda h, b: max(b["actor_loss"][1:]) < -0.1,
    "dropout_in_the_ratio": lambda h, b: min(b["ratio_error_first"]) > 0.9,
    "frozen_critic": lambda h, b: all_zero(b["critic_grad_norm"] + b["value_clip_fraction"]),
    "eos_suppressed": lambda h, b: all_zero(b["eos_rate"]) and max(b["kl"][1:]) < -0.5,
    "whitened_before_returns": lambda h, b: (
        b["return_mean"] == pytest.approx(b["value_mean"], abs=1e-4)
        and all(abs(x - 0.5) < 0.05 for x in b["critic_loss"])
    ),
    "unfrozen_reference": lambda h, b: (
        all_zero(b["kl"]) and b["reward"] == pytest.approx(b["score"], abs=1e-4)
    ),
    "flipped_k3": lambda h, b: min(b["kl"]) >= 0.0 and max(b["kl"]) > 50.0,
    "value_one_token_late": value_late,
    "old_log_probs_recomputed": lambda h, b: (
        max(b["ratio_max"]) < 1.0001 and all_zero(b["clip_fraction"])
    ),
    "reward_on_a_pad": lambda h, b: (
        max(map(abs, b["return_mean"])) < 0.2 and b["score"][-1] > b["score"][0] + 1.0
    ),
    "undetached_advantages": lambda h, b: sinks(b),
    "top_k_sampling": lambda h, b: all(-0.25 < kl < -0.02 for kl in b["kl"][1:]),
}


def test_every_bug_has_its_exhibit_and_its_words() -> None:
    assert [one["exhibit"] for one in EXHIBITS] == list(range(1, 13))
    assert set(SHOWS) == set(WOULD_SHOW) == set(museum.BUGS)
    for bug, exhibit in zip(museum.EXHIBITS, EXHIBITS, strict=True):
        assert exhibit["settings"] == dict(bug.settings)
        assert all(exhibit["config"][name] == value for name, value in bug.settings.items())
        assert set(bug.watch) <= set(exhibit["broken"])


@pytest.mark.parametrize("bug", SHOWS)
def test_what_is_said_of_a_bug_is_true_of_its_exhibit_and_of_no_other(bug: str) -> None:
    shown = {one["exhibit"] for one in EXHIBITS if SHOWS[bug](one["healthy"], one["broken"])}
    assert shown == {museum.EXHIBITS.index(museum.BUGS[bug]) + 1}


@pytest.mark.parametrize("bug", SHOWS)
def test_no_healthy_run_looks_like_it(bug: str) -> None:
    assert not any(SHOWS[bug](one["healthy"], one["healthy"]) for one in EXHIBITS)


def test_what_is_said_of_pairs_that_look_alike() -> None:
    broken = {b.name: e["broken"] for b, e in zip(museum.EXHIBITS, EXHIBITS, strict=True)}
    healthy = {b.name: e["healthy"] for b, e in zip(museum.EXHIBITS, EXHIBITS, strict=True)}
    assert all(pair[0] in broken and pair[1] in broken for pair in ALIKE)
    assert max(healthy["top_k_sampling"]["eos_rate"]) < 0.1
    assert min(healthy["eos_suppressed"]["eos_rate"]) > 0.9
    assert max(broken["unfrozen_reference"]["clip_fraction"]) > 0.01
    assert min(broken["unfrozen_reference"]["ratio_max"]) > 1.1
    assert min(broken["old_log_probs_recomputed"]["kl"][1:]) > 0.1
    late = broken["value_one_token_late"]
    assert late["critic_loss"][-1] < 0.3 * late["critic_loss"][0]
    assert min(late["critic_grad_norm"]) > 0.1


def test_a_suppressed_eos_would_not_explain_exhibit_12() -> None:
    kl = run(dict(museum.BUGS["top_k_sampling"].settings), "eos_suppressed", iterations=3)["kl"]
    assert max(map(abs, kl)) < 0.02


@pytest.mark.parametrize("number", [5, 9])
def test_an_exhibit_can_be_made_again(number: int) -> None:
    recorded = EXHIBITS[number - 1]["broken"]
    again = run(EXHIBITS[number - 1]["settings"], museum.find(number).name, iterations=2)
    for name in ("score", "kl", "length", "value_mean", "critic_loss", "ratio_max"):
        assert again[name] == pytest.approx(recorded[name][:2], rel=0.02, abs=1e-3), name
