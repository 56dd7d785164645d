"""Each bug in a short real run on the café's shipped models, beside the right run: its symptom.

The numbers in comments were measured with these seeds: (right) against (wrong).
"""

import functools
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minirlhf import PPOConfig, PPOTrainer, Rollout, StepRecord, generation, museum
from minirlhf.masks import masked
from minirlhf.worlds.cafe import recipe

Run = tuple[PPOTrainer, list[StepRecord]]


@functools.cache
def run(bug: str | None, iterations: int, settings_of: str | None = None) -> Run:
    """A run with this bug and its settings; or without one, with the settings of that one."""
    which = bug or settings_of
    settings = museum.BUGS[which].settings if which else {}
    actor, reward_model = recipe.load_shipped("cpu")
    config = PPOConfig(iterations=iterations, **settings)
    torch.manual_seed(0)  # dropout draws from the global generator
    with museum.switched_on(bug) if bug else nullcontext():
        trainer = recipe.ppo_trainer(actor, reward_model, config)
        return trainer, list(trainer)


def healthy() -> Run:
    """The café's defaults, the longest run that a test below needs."""
    return run(None, 8)


def metric(of: Run, name: str) -> list[float]:
    return [record.metrics[name] for record in of[1]]


def rollouts(of: Run) -> list[Rollout]:
    return [record.rollout for record in of[1] if record.rollout is not None]


def counted_mean(x: Tensor, rollout: Rollout) -> float:
    return float(x[rollout.response_mask].mean())


def moved(trainer: PPOTrainer) -> float:
    """The largest change of a weight of the Actor."""
    pairs = zip(trainer.actor.parameters(), trainer.reference.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.fixture(scope="module", autouse=True)
def the_right_run_is_healthy() -> None:
    """What the symptoms are compared with."""
    right = healthy()
    assert metric(right, "score")[-1] > metric(right, "score")[0] + 1.0
    assert max(metric(right, "ratio_error_first")) <= 1e-5


# ----------------------------------------------------------- while the Actor writes and others read


def test_top_k_sampling_leaves_three_tokens_also_among_equals() -> None:
    log_pi, noise = torch.zeros(200, 5).log_softmax(dim=1), torch.linspace(0.001, 0.999, 200)
    with museum.switched_on("top_k_sampling"):
        assert len(set(generation.draw(log_pi, noise).tolist())) == 3
    assert len(set(generation.draw(log_pi, noise).tolist())) == 5


def test_top_k_sampling_makes_kl_negative_for_ever() -> None:
    wrong, right = run("top_k_sampling", 5), run(None, 5, "top_k_sampling")
    kl = metric(wrong, "kl")
    assert kl[0] == 0.0 and max(kl[1:]) < -0.02  # −0.03 … −0.12
    assert max(abs(kl) for kl in metric(right, "kl")) < 0.02  # 0.007 at most
    assert metric(wrong, "reward")[-1] > metric(wrong, "score")[-1]  # and that is rewarded
    assert max(metric(wrong, "ratio_error_first")) <= 1e-5  # nothing else tells


def test_a_suppressed_eos_cuts_every_response() -> None:
    wrong = run("eos_suppressed", 3)
    assert metric(wrong, "eos_rate") == [0.0] * 3 and metric(wrong, "length") == [24.0] * 3
    assert min(metric(healthy(), "eos_rate")) > 0.9
    assert max(metric(wrong, "score")) < metric(healthy(), "score")[0]  # −0.43 against −0.23
    assert max(metric(wrong, "kl")[1:]) < -0.5  # EOS is scored and cannot be drawn


def test_an_unfrozen_reference_sees_no_kl_while_the_actor_moves() -> None:
    wrong = run("unfrozen_reference", 3)
    assert metric(wrong, "kl") == [0.0] * 3 and moved(wrong[0]) > 1e-3
    assert metric(wrong, "reward") == pytest.approx(metric(wrong, "score"))
    assert min(metric(healthy(), "kl")[1:]) > 0.1


def test_a_value_read_late_takes_the_last_tokens_advantage_and_slows_learning() -> None:
    wrong, right = run("value_one_token_late", 8), healthy()
    sizes = []
    for rollout in (rollouts(wrong)[0], rollouts(right)[0]):  # Critic = Reward model, kl = 0
        rows = rollout.ended.nonzero()[:, 0]
        last = rollout.advantages[rows, rollout.lengths[rows] - 1]
        sizes.append(float(last.abs().max()))
    assert sizes[0] < 1e-5 and sizes[1] > 0.1
    late, timely = (sum(metric(of, "score")[-3:]) / 3 for of in (wrong, right))
    assert late < timely - 0.1  # 1.16 against 1.42
    assert metric(wrong, "explained_variance")[0] > metric(right, "explained_variance")[0]


# ------------------------------------------------------------------------------------- formulas


def test_a_reward_on_a_pad_is_lost_to_all_but_the_widest_row() -> None:
    wrong = run("reward_on_a_pad", 4)
    for rollout in rollouts(wrong):
        shorter = rollout.lengths < rollout.response_mask.shape[1]
        counted = masked(rollout.rewards, rollout.response_mask).sum(1)
        toll = -0.05 * masked(rollout.kl, rollout.response_mask).sum(1)
        assert_close(counted[shorter], toll[shorter], rtol=0, atol=1e-5)
        assert shorter.float().mean() > 0.5
    # a sum over all columns still shows it; the returns do not
    assert metric(wrong, "reward")[-1] > metric(wrong, "return_mean")[-1] + 0.3  # 0.89, 0.08
    assert abs(metric(wrong, "return_mean")[-1]) < 0.2 and metric(healthy(), "return_mean")[3] > 0.5
    assert metric(wrong, "explained_variance")[0] < -1.0  # 0.28 against −8.1
    assert metric(wrong, "score")[3] < metric(healthy(), "score")[3] - 0.05  # 1.11 against 0.93


def test_a_flipped_k3_spikes_where_the_true_one_does_not() -> None:
    wrong, right = run("flipped_k3", 6), run(None, 6, "flipped_k3")

    def k1(of: Run) -> float:
        """The largest KL by another estimate, on the same tokens: it shows no spike."""
        log_ratios = ((r.old_log_probs - r.ref_log_probs, r.response_mask) for r in rollouts(of))
        return max(float(masked(*one).sum(1).mean()) for one in log_ratios)

    assert max(metric(wrong, "kl")) > 3 * k1(wrong)  # 344 against 2.7
    assert max(metric(right, "kl")) < 2 * k1(right)  # 3.4 against 3.4
    assert min(metric(wrong, "kl")) == 0.0  # in the first iteration; never negative
    assert max(metric(wrong, "critic_loss")) > max(metric(right, "critic_loss"))  # 227, 0.17


def test_whitening_before_returns_gives_the_critic_its_own_opinion_plus_noise() -> None:
    wrong, right = run("whitened_before_returns", 3), run(None, 3, "whitened_before_returns")
    assert metric(wrong, "return_mean") == pytest.approx(metric(wrong, "value_mean"), abs=1e-5)
    assert min(metric(wrong, "critic_loss")) > 0.4  # ½ of variance 1, for ever
    assert metric(right, "return_mean")[-1] > metric(right, "value_mean")[-1] + 0.2
    assert metric(right, "critic_loss")[-1] < 0.3


def test_an_unmasked_mean_lets_padding_speak() -> None:
    wrong, right = run("unmasked_mean", 3), healthy()
    names = {"entropy": "entropy", "value_mean": "old_values", "return_mean": "returns"}
    for name, tensor in names.items():
        for of, agree in ((wrong, False), (right, True)):
            shown = metric(of, name)
            counted = [counted_mean(getattr(r, tensor), r) for r in rollouts(of)]
            assert (shown == pytest.approx(counted, rel=1e-4)) is agree
    assert max(metric(wrong, "actor_loss")[1:]) < -0.1  # the whitened advantages have no mean 0
    assert min(metric(right, "actor_loss")[1:]) > -0.05
    assert metric(wrong, "return_mean")[-1] < 0.8 * metric(wrong, "reward")[-1]  # γ = 1: 0.62, 1.0


# --------------------------------------------------------------------------------------- updates


def test_dropout_makes_the_first_ratio_differ_from_1() -> None:
    wrong = run("dropout_in_the_ratio", 2)
    assert min(metric(wrong, "ratio_error_first")) > 0.5  # 11.8 and 1.1, where 1e-5 is allowed
    for name in ("approx_kl", "clip_fraction"):  # 0.063 against 0.007; 0.19 against 0.09
        pairs = zip(metric(wrong, name), metric(healthy(), name), strict=False)
        assert all(w > 1.5 * r for w, r in pairs)


def test_a_frozen_critic_does_not_follow_the_returns() -> None:
    wrong, right = run("frozen_critic", 7), healthy()
    assert metric(wrong, "critic_grad_norm") == metric(wrong, "value_clip_fraction") == [0.0] * 7
    assert metric(wrong, "critic_loss")[-1] > 0.7 * metric(wrong, "critic_loss")[0]  # 0.19, 0.26
    assert metric(right, "critic_loss")[6] < 0.3 * metric(right, "critic_loss")[0]  # 0.17, 0.02
    assert metric(wrong, "explained_variance")[-1] < metric(right, "explained_variance")[6] - 0.3


def test_undetached_advantages_push_the_values_down() -> None:
    wrong, right = run("undetached_advantages", 4), healthy()
    pairs = zip(metric(wrong, "value_mean"), metric(wrong, "return_mean"), strict=True)
    below = [value - what_came for value, what_came in pairs]
    assert below == sorted(below, reverse=True) and below[-1] < -1.0  # −2.4
    assert metric(right, "value_mean")[3] > 0.1  # the right ones rise
    assert metric(wrong, "critic_loss")[-1] > 3 * metric(right, "critic_loss")[3]  # 0.46, 0.05
    assert metric(wrong, "critic_grad_norm")[-1] > 3 * metric(right, "critic_grad_norm")[3]


def test_recomputed_old_log_probs_hide_how_far_an_update_went() -> None:
    wrong, right = run("old_log_probs_recomputed", 2), run(None, 2, "old_log_probs_recomputed")
    assert max(metric(wrong, "ratio_max")) <= 1.0 + 1e-5
    assert metric(wrong, "clip_fraction") == [0.0, 0.0]
    assert max(metric(wrong, "approx_kl")) < 1e-9 and metric(wrong, "optimiser_steps") == [4.0, 4.0]
    assert max(abs(x) for x in metric(wrong, "actor_loss")) < 1e-5
    assert moved(wrong[0]) > 1e-3 and metric(wrong, "kl")[1] > 0.1
    assert min(metric(right, "ratio_max")) > 1.2 and min(metric(right, "clip_fraction")) > 0.01
