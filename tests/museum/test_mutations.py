"""The mutation check: with any museum bug switched on, an ordinary test of the library turns red.

Ordinary means: written for the right code, outside tests/museum. The tests named here are the ones
that catch a bug most directly; most bugs break a dozen others as well.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minirlhf import museum

ROOT = Path(__file__).parent.parent.parent
MUTATE = Path(__file__).parent / "mutate.py"

CATCHERS = {
    "dropout_in_the_ratio": "test_ppo_trainer.py::test_the_first_ratio_is_1",
    "eos_suppressed": "test_generation.py::test_the_first_eos_is_counted_and_ends_the_row",
    "flipped_k3": "test_kl.py::test_k1_and_k3_are_unbiased_for_kl_of_the_actor_from_the_reference",
    "frozen_critic": "test_ppo_trainer.py::"
    "test_only_actor_and_critic_are_trained_and_the_others_get_no_gradient",
    "old_log_probs_recomputed": "test_ppo_update.py::"
    "test_an_update_equals_the_whole_of_it_written_out",
    "reward_on_a_pad": "test_rewards.py::test_the_score_sits_on_the_last_counted_token_of_each_row",
    "top_k_sampling": "test_draw.py::test_a_token_is_drawn_with_its_probability",
    "undetached_advantages": "test_ppo_update.py::"
    "test_an_update_equals_the_whole_of_it_written_out",
    "unfrozen_reference": "test_rollout.py::test_the_three_readers_read_what_the_actor_wrote",
    "unmasked_mean": "test_metrics.py::test_uncounted_tokens_are_in_no_metric",
    "value_one_token_late": "test_roles.py::test_a_value_knows_nothing_of_its_own_token",
    "whitened_before_returns": "test_advantages.py::test_advantages_are_raw_not_whitened",
}


@pytest.fixture(scope="module")
def results() -> dict[str, dict]:
    """What happened to the chosen test with each bug, and to all of them without one ("")."""
    tests = {bug: [f"tests/{test}"] for bug, test in CATCHERS.items()}
    tests[""] = sorted({test for chosen in tests.values() for test in chosen})
    command = [sys.executable, str(MUTATE), json.dumps(tests), "-x"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["bug"]: line for line in lines}


def test_every_bug_has_its_catcher(results: dict[str, dict]) -> None:
    assert set(CATCHERS) == set(museum.BUGS)
    assert set(results) == set(CATCHERS) | {""}


def test_without_a_bug_all_are_green(results: dict[str, dict]) -> None:
    """Run last, in the process in which every bug was on before."""
    right = results[""]
    assert (right["exit"], right["failed"]) == (0, {}) and right["passed"] >= len(
        set(CATCHERS.values())
    )


@pytest.mark.parametrize("bug", CATCHERS)
def test_a_bug_turns_an_ordinary_test_red(results: dict[str, dict], bug: str) -> None:
    wrong = results[bug]
    assert wrong["exit"] == 1, wrong  # tests failed; not 2 … 5: interrupted, broken, none found
    ((test, message),) = wrong["failed"].items()  # -x: one is enough
    assert test.startswith(f"tests/{CATCHERS[bug]}")
    assert message.startswith(("assert ", "AssertionError")), message  # it ran, and was wrong
