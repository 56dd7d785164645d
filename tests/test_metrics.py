"""The table of metrics holds what trainers yield, and nothing else; its functions by hand."""

import math

import pytest
import torch
from strategies import mask_of
from tiny_models import EOS, TOKENIZER, four_roles, ragged
from tiny_trainers import PROMPTS, QUICK, TRAINERS
from torch import Tensor

from minirlhf import METRICS, PPOConfig, PPOTrainer, Rollout, collect_rollout
from minirlhf.metrics import approx_kl, explained_variance, share_beyond
from minirlhf.online_metrics import UpdateMetrics, critic_metrics, rollout_metrics


def test_every_metric_is_in_the_table_and_no_entry_is_dead() -> None:
    ppo = PPOTrainer(*four_roles(), PROMPTS, PPOConfig(**QUICK), judge=lambda *_: 1.0)
    seen = {
        trainer.stage: {name for record in trainer for name in record.metrics}
        for trainer in (ppo, *(TRAINERS[stage]() for stage in TRAINERS if stage != "ppo"))
    }
    assert set().union(*seen.values()) == METRICS.keys()
    assert seen["sft"] == {"sft_loss", "grad_norm", "lr", "seconds"}
    assert seen["reward"] == {
        "preference_loss", "accuracy", "held_out_accuracy", "grad_norm", "lr", "seconds",
    }  # fmt: skip
    assert seen["dpo"] - seen["reward"] == {
        "dpo_loss", "reward_margin", "chosen_reward", "rejected_reward",
    }  # fmt: skip
    assert seen["reinforce"] - seen["rloo"] == {"baseline"} and seen["rloo"] < seen["ppo"]


@pytest.mark.parametrize("name", METRICS)
def test_every_entry_says_what_it_is(name: str) -> None:
    metric = METRICS[name]
    assert metric.formula and metric.unit
    lowest, highest = metric.healthy
    assert lowest is None or highest is None or lowest < highest
    assert name == "lr" or name == "seconds" or metric.meaning


def test_a_healthy_range_holds_where_it_must() -> None:
    """Bounds that are mathematics: a share lies in [0, 1], a loss of guessing is log 2."""
    for name, metric in METRICS.items():
        if name.endswith(("_rate", "_fraction", "accuracy")):
            low, high = metric.healthy
            assert low is not None and high is not None and 0 <= low < high <= 1
    assert METRICS["preference_loss"].healthy[1] == pytest.approx(math.log(2), abs=0.01)
    assert METRICS["ratio_error_first"].healthy == (0.0, 1e-5)


# ------------------------------------------------------------------------- the functions

MASK = mask_of([3, 1], 4)
RETURNS = torch.tensor([[1.0, 2.0, 4.0, math.nan], [5.0, math.nan, 7.0, 9.0]])


def test_explained_variance_by_hand() -> None:
    """Returns 1, 2, 4, 5: mean 3, variance 2.5."""

    def of(values: Tensor) -> float:
        return float(explained_variance(values, RETURNS, MASK))

    assert of(RETURNS) == 1.0
    assert of(torch.full((2, 4), 8.0)) == pytest.approx(0.0, abs=1e-6)  # a constant
    assert of(RETURNS + 3.0) == pytest.approx(1.0)  # an offset is no variance
    halfway = torch.tensor([[2.0, 2.5, 3.5, 0.0], [4.0, 0.0, 0.0, 0.0]])
    assert of(halfway) == pytest.approx(0.75)
    assert of(-RETURNS) == pytest.approx(-3.0)
    assert float(explained_variance(RETURNS, torch.ones(2, 4), MASK)) == 0.0


def test_approx_kl_by_hand() -> None:
    log_ratio = torch.tensor([[math.log(2), 0.0, -math.log(2), math.nan], [0.0, 9.0, 9.0, 9.0]])
    wanted = ((1 - math.log(2)) + 0 + (-0.5 + math.log(2)) + 0) / 4
    assert float(approx_kl(log_ratio, MASK)) == pytest.approx(wanted)
    tiny = torch.full((2, 4), 1e-5, dtype=torch.float32)
    assert float(approx_kl(tiny, MASK)) == pytest.approx(5e-11, rel=0.2)  # ½·x², never negative
    assert float(approx_kl(tiny, torch.zeros_like(MASK))) == 0.0


def test_share_beyond_by_hand() -> None:
    x = torch.tensor([[0.3, -0.3, 0.1, 9.0], [-0.2, 9.0, 9.0, 9.0]])
    assert float(share_beyond(x, 0.2, MASK)) == 0.5  # at the limit is not beyond it
    assert float(share_beyond(x, 0.05, MASK)) == 1.0


# ----------------------------------------------------------------- averages of an update


def hand_made(lengths: list[int]) -> Rollout:
    """Old log-probs 0, old values 2."""
    rollout = collect_rollout(
        *four_roles(), ragged()[0], PPOConfig(max_response_tokens=4, batch_size=2, minibatch_size=2)
    ).select(torch.arange(len(lengths)))
    rollout.old_log_probs.zero_()
    rollout.old_values.fill_(2.0)
    rollout.response_mask.copy_(mask_of(lengths, rollout.response_mask.shape[1]))
    return rollout


def test_the_metrics_of_an_update_weigh_tokens_within_a_step_and_steps_alike() -> None:
    """Step 1: ratios 1, 1, 1 and 2; step 2: one ratio of ½."""
    seen = UpdateMetrics(PPOConfig(clip_range=0.3, value_clip_range=0.5))
    three, one, other = hand_made([3]), hand_made([1]), hand_made([1])
    zeros = torch.zeros_like(three.old_values)
    seen.add_batch(three, zeros, zeros + 3.0, 0.75)
    seen.add_batch(one, zeros + math.log(2), zeros + 2.0, 0.25)
    assert not seen.close_step()
    seen.add("actor_grad_norm", 3.0)
    seen.add_batch(other, zeros - math.log(2), zeros + 1.9, 1.0)
    assert not seen.close_step()
    seen.add("actor_grad_norm", 5.0)
    wanted = {
        "ratio_mean": (1.25 + 0.5) / 2,
        "ratio_max": 2.0,
        "ratio_error_first": 1.0,
        "clip_fraction": (0.25 + 1.0) / 2,
        "value_clip_fraction": (0.75 + 0.0) / 2,
        "approx_kl": ((1 - math.log(2)) / 4 + (-0.5 + math.log(2))) / 2,
        "actor_grad_norm": 4.0,
        "optimiser_steps": 2.0,
    }
    assert seen.averages() == pytest.approx(wanted, rel=1e-6)


def test_target_kl_is_compared_with_each_step_by_itself() -> None:
    seen = UpdateMetrics(PPOConfig(target_kl=0.25, value_clip_range=None))
    batch = hand_made([2])
    zeros = torch.zeros_like(batch.old_values)
    for _ in range(3):  # 0.193 each: below, though not in sum
        seen.add_batch(batch, zeros - math.log(2), zeros, 0.5)
        seen.add_batch(batch, zeros - math.log(2), zeros, 0.5)
        assert not seen.close_step()
    seen.add_batch(batch, zeros + math.log(2), zeros, 1.0)  # 0.307
    assert seen.close_step()
    metrics = seen.averages()
    assert metrics["optimiser_steps"] == 3 and metrics["ratio_error_first"] == 0.5
    assert "value_clip_fraction" not in metrics


def test_uncounted_tokens_are_in_no_metric() -> None:
    rollout = hand_made([2, 1, 0])
    spoilt = torch.where(rollout.response_mask, 0.0, math.nan)
    seen = UpdateMetrics(PPOConfig())
    seen.add_batch(rollout, spoilt, spoilt, 1.0)
    seen.close_step()
    numbers = seen.averages()
    assert numbers["ratio_max"] == numbers["ratio_mean"] == 1.0
    assert all(math.isfinite(value) for value in numbers.values())
    for name in ("kl", "entropy", "old_values"):
        getattr(rollout, name)[~rollout.response_mask] = math.nan
    averages = rollout_metrics(rollout) | critic_metrics(rollout)
    assert averages["length"] == 1.0
    assert all(math.isfinite(averages[name]) for name in ("kl", "entropy", "value_mean"))
    assert 0 < averages["entropy"] < math.log(len(TOKENIZER)) and EOS < len(TOKENIZER)
