"""Sampled policy gradients against the exact one: unbiased, and as noisy as the sum says."""

from dataclasses import replace

import pytest
import torch
from exact_tables import (
    CONFIG,
    SMALL,
    cosine,
    largest,
    policy_tables,
    random_log_pi,
    random_scores,
    truth_for,
)

from minirlhf.worlds.exact import Truth, exact_truth, gold_table
from minirlhf.worlds.exact.gradient_quality import (
    BASELINES,
    Baseline,
    expected_gradient,
    gradient_quality,
    shifted,
)


def small_truth() -> Truth:
    tables = random_log_pi(SMALL, 0), random_log_pi(SMALL, 1), random_scores(SMALL, 2)
    return exact_truth(*tables, SMALL, kl_coef=0.2)


@pytest.mark.parametrize("baseline", BASELINES)
def test_no_baseline_biases(baseline: Baseline) -> None:
    """All 177,156 answers, weighted by their probability, give ∇J to the last digits."""
    truth = truth_for(CONFIG)
    assert largest(expected_gradient(truth, baseline) - truth.logit_gradient()) < 1e-13
    got = gradient_quality(truth, baseline, batch_sizes=(16,), repeats=32)
    assert float(got.error_of_mean[0]) < 3 * float(got.chance_error_of_mean[0])


@pytest.mark.parametrize("baseline", BASELINES)
def test_sampled_errors_are_as_large_as_the_sum_over_all_answers_says(baseline: Baseline) -> None:
    got = gradient_quality(small_truth(), baseline, batch_sizes=(1, 8, 64), repeats=500)
    measured = got.relative_error.square().mean(dim=1).sqrt()
    torch.testing.assert_close(measured, got.expected_error, rtol=0.08, atol=0)
    ratio = got.expected_error[0] / got.expected_error[1]
    assert float(ratio) == pytest.approx(8**0.5)  # 1/√n


def test_error_and_cosine_are_those_of_the_gradient_written_out() -> None:
    truth = small_truth()
    got = gradient_quality(truth, "value", batch_sizes=(1,), repeats=40)
    exact, pi = truth.logit_gradient(), truth.log_pi.exp()
    ids, mask = SMALL.answers()
    states = SMALL.states_of(ids, mask)
    by_hand = []
    for n in range(len(ids)):
        g = torch.zeros_like(exact)
        for t in range(int(mask[n].sum())):
            s, a = states[n, t], ids[n, t]
            left = sum(truth.rewards[states[n, k], ids[n, k]] for k in range(t, mask[n].sum()))
            g[s] += (left - truth.values[s]) * (torch.eye(SMALL.n_tokens)[a] - pi[s])
        by_hand.append((float((g - exact).norm() / exact.norm()), cosine(g, exact)))
    for error, angle in zip(got.relative_error[0].tolist(), got.cosine[0].tolist(), strict=True):
        assert any(
            abs(error - e) < 1e-9 and abs(angle - c) < 1e-9 for e, c in by_hand
        )  # it is one of the 15 answers


def test_a_constant_in_all_scores_is_noise_without_a_baseline_and_nothing_with_one() -> None:
    """No gradient changes: a reward model's scores are only known up to a constant."""

    def errors(shift: float) -> list[float]:
        tables = policy_tables()
        truth = exact_truth(*tables, gold_table() + shift, kl_coef=0.1)
        other = shifted(exact_truth(*tables, gold_table(), kl_coef=0.1), shift)
        for name in ("rewards", "values", "q_values", "advantages", "score", "objective"):
            torch.testing.assert_close(getattr(other, name), getattr(truth, name))
        quality = (gradient_quality(truth, b, batch_sizes=(1,), repeats=2) for b in BASELINES)
        return [float(q.expected_error[0]) for q in quality]

    none, mean, value = errors(0.0)
    assert value < mean and value < none
    none_then, *others = errors(3.0)
    assert others == pytest.approx([mean, value]) and none_then > 2 * none


def test_the_same_seed_gives_the_same_answers_and_prefixes_of_batches() -> None:
    truth = small_truth()
    one = gradient_quality(truth, "none", batch_sizes=(1, 4), repeats=6, seed=3)
    two = gradient_quality(truth, "none", batch_sizes=(1, 4), repeats=6, seed=3)
    other = gradient_quality(truth, "none", batch_sizes=(1, 4), repeats=6, seed=4)
    assert torch.equal(one.relative_error, two.relative_error)
    assert not torch.equal(one.relative_error, other.relative_error)


def test_what_makes_no_sense_is_refused() -> None:
    truth = small_truth()
    with pytest.raises(ValueError, match="baseline must be one of"):
        gradient_quality(truth, "median")  # type: ignore[arg-type]
    for sizes, repeats in (((), 4), ((0, 1), 4), ((4, 2), 4), ((1,), 1)):
        with pytest.raises(ValueError, match="rise"):
            gradient_quality(truth, "none", batch_sizes=sizes, repeats=repeats)
    with pytest.raises(ValueError, match="γ = 1"):
        gradient_quality(truth_for(replace(CONFIG, gamma=0.9)), "none", repeats=2)
    level = torch.full_like(truth.log_pi, 1 / 3).log()
    flat = exact_truth(level, level, torch.zeros_like(level), SMALL, kl_coef=0.2)
    with pytest.raises(ValueError, match="gradient is 0"):
        gradient_quality(flat, "none")
