"""Stages 1 and 2: what is counted, what is learned, what is held out, how scores are scaled.

What DPO shares with them is tested with them.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import torch
from tiny_models import EOS, TOKENIZER, plain_head_of, plain_log_probs_of, same_bits, weights
from tiny_trainers import (
    PAIRS,
    PROMPTS,
    SFT_ROWS,
    dpo_trainer,
    reward_trainer,
    sft_trainer,
    tiny_actor,
)
from torch.nn import functional as F
from torch.testing import assert_close

from minirlhf import RewardModel, RewardModelConfig, RewardModelTrainer, SFTConfig, SFTTrainer
from minirlhf.data import batch_rows
from minirlhf.trainer import Trainer, warmup_cosine


def ids(text: str) -> list[int]:
    return TOKENIZER(text)["input_ids"]


# --------------------------------------------------------------------------------- SFT


def test_the_first_sft_loss_is_the_mean_over_completion_tokens_and_eos() -> None:
    """Not over prompts, not over padding, and per token, not per row."""
    trainer = sft_trainer(batch_size=3)
    rows = batch_rows(3, 3, seed=0, batch=0)
    costs = [
        -plain_log_probs_of(trainer.actor, ids(row["prompt"]), [*ids(row["completion"]), EOS])
        for row in (SFT_ROWS[i] for i in rows)
    ]
    assert len({len(cost) for cost in costs}) > 1
    record = next(iter(trainer))
    assert record.metrics["sft_loss"] == pytest.approx(float(torch.cat(costs).mean()), rel=1e-5)


def test_a_long_prompt_and_a_long_response_of_two_rows_fit_together() -> None:
    """Padded to one width they exceed the context; no row does, so none is refused."""
    soup, pasta = ["the soup"] * 27, ["the pasta"] * 27  # 54 words, of a context of 64
    rows = [
        {"prompt": " ".join(soup), "completion": "the soup was warm ."},
        {"prompt": "review the pasta :", "completion": " ".join(pasta)},
    ]
    trainer = SFTTrainer(tiny_actor(), rows, SFTConfig(steps=2, batch_size=2))
    costs = [
        -plain_log_probs_of(trainer.actor, ids(row["prompt"]), [*ids(row["completion"]), EOS])
        for row in rows
    ]
    record = next(iter(trainer))
    assert record.metrics["sft_loss"] == pytest.approx(float(torch.cat(costs).mean()), rel=1e-5)
    pairs = [
        {"prompt": row["prompt"], "chosen": row["completion"], "rejected": "warm ."} for row in rows
    ]
    model = RewardModel.from_actor(tiny_actor())
    reward = RewardModelTrainer(model, pairs, RewardModelConfig(steps=1, batch_size=2))
    with torch.no_grad():
        together = torch.stack(reward.pair_scores([0, 1]))
        alone = torch.stack([torch.cat(reward.pair_scores([i])) for i in (0, 1)], dim=1)
    assert_close(together, alone, rtol=1e-5, atol=1e-5)
    rows[0]["completion"] += " the soup" * 3
    with pytest.raises(ValueError, match=r"prompt 1 has 54 tokens; with a response of 12 it does"):
        SFTTrainer(tiny_actor(), rows)


def test_sft_learns_the_rows_and_to_end() -> None:
    actor = tiny_actor(width=32)
    config = SFTConfig(steps=60, batch_size=3, lr=2e-2)
    records = list(SFTTrainer(actor, SFT_ROWS, config))
    losses = [record.metrics["sft_loss"] for record in records]
    assert losses[0] > 2.0 and sum(losses[-3:]) / 3 < 0.5 * losses[0] < 5
    last = plain_log_probs_of(
        actor, ids("review the waiter :"), [*ids("the waiter was rude ."), EOS]
    )
    assert last[-1].exp() > 0.8  # EOS was among what is learned
    assert {name for record in records for name in record.metrics} == {
        "sft_loss", "grad_norm", "lr", "seconds",
    }  # fmt: skip


def test_each_step_takes_the_next_rows() -> None:
    """With a learning rate of next to nothing, the losses are those of the batches."""
    trainer = sft_trainer(batch_size=2, lr=1e-12, steps=3)
    fresh = trainer.actor
    for step, record in enumerate(trainer):
        costs = [
            -plain_log_probs_of(fresh, ids(row["prompt"]), [*ids(row["completion"]), EOS])
            for row in (SFT_ROWS[i] for i in batch_rows(3, 2, seed=0, batch=step))
        ]
        assert record.metrics["sft_loss"] == pytest.approx(float(torch.cat(costs).mean()), rel=1e-4)


def test_what_sft_refuses() -> None:
    with pytest.raises(ValueError, match="no rows to train on"):
        SFTTrainer(tiny_actor(), [], SFTConfig())
    long = [{"prompt": "the :", "completion": "the " * 70}]
    with pytest.raises(ValueError, match="prompt 1 has 2 tokens; with a response of 71"):
        SFTTrainer(tiny_actor(), long, SFTConfig())


# ---------------------------------------------------------------------------- schedules


def test_the_learning_rate_warms_up_and_falls_to_next_to_0() -> None:
    rates = [warmup_cosine(step, 100, 2.0) for step in range(100)]
    assert rates[:6] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0])
    assert all(a > b for a, b in pairwise(rates[5:]))
    halfway = 5 + 95 // 2
    assert rates[halfway] == pytest.approx(1.0, abs=0.05) and 0 < rates[-1] < 2e-3
    assert rates[halfway] == pytest.approx(1 + math.cos(math.pi * 47 / 95))
    assert [warmup_cosine(0, n, 2.0) for n in (1, 2, 20)] == [2.0] * 3


@pytest.mark.parametrize("make", [sft_trainer, reward_trainer, dpo_trainer])
def test_steps_follow_the_schedule_and_clip(make: Callable[..., Trainer]) -> None:
    trainer = make(steps=4, lr=0.01, grad_clip=1e-3)
    (role,) = trainer.roles.values()
    before = weights(role)
    for step, record in enumerate(trainer):
        assert record.metrics["lr"] == warmup_cosine(step, 4, 0.01)
        (optimizer,) = trainer.optimizers.values()
        assert optimizer.param_groups[0]["lr"] == record.metrics["lr"]
        if step == 0:
            first = [x - y for x, y in zip(before, weights(role), strict=True)]
            assert max(float(x.abs().max()) for x in first) == pytest.approx(0.01, rel=0.01)
            # AdamW's first moment is a tenth of the clipped gradient
            momenta = [optimizer.state[p]["exp_avg"] for p in role.parameters()]
            norm = torch.cat([m.flatten() for m in momenta]).norm() / 0.1
            assert (
                float(norm) == pytest.approx(1e-3, rel=1e-3) and record.metrics["grad_norm"] > 0.1
            )
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.95)
    assert optimizer.param_groups[0]["weight_decay"] == 0.0


@pytest.mark.parametrize("make", [sft_trainer, reward_trainer, dpo_trainer])
def test_the_seed_decides_stage_1_and_2(make: Callable[..., Trainer]) -> None:
    def run(seed: int) -> tuple[list[float], list[torch.Tensor]]:
        trainer = make(steps=3, seed=seed)
        metrics = [v for r in trainer for k, v in r.metrics.items() if k != "seconds"]
        return metrics, weights(*trainer.roles.values())

    first, again, other = run(0), run(0), run(1)
    assert first[0] == again[0] != other[0] and same_bits(first[1], again[1])
    assert not same_bits(first[1], other[1])


@pytest.mark.parametrize("make", [sft_trainer, reward_trainer, dpo_trainer])
@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_broken_step_is_not_taken(make: Callable[..., Trainer], broken: str) -> None:
    trainer = make(steps=4)
    steps = iter(trainer)
    next(steps)
    (role,) = trainer.roles.values()
    if broken == "loss":
        with torch.no_grad():
            next(role.parameters()).fill_(torch.nan)
        message = "_loss is nan at step 2; training stopped before this step"
    else:
        next(role.parameters()).register_hook(lambda g: torch.full_like(g, torch.inf))
        message = "the gradient norm of the (Actor|RewardModel) is (inf|nan) at step 2"
    before = [torch.nan_to_num(w) for w in weights(role)]
    with pytest.raises(ValueError, match=message):
        next(steps)
    assert same_bits(before, [torch.nan_to_num(w) for w in weights(role)]) and trainer.step == 1


# ------------------------------------------------------------------------ reward model


def test_the_first_preference_loss_is_bradley_terry_on_whole_responses() -> None:
    trainer = reward_trainer(batch_size=4, held_out=0.2)
    trainer.reward_model.model.config.score_shift = 0.0
    rows = [trainer._train[i] for i in batch_rows(len(trainer._train), 4, seed=0, batch=0)]
    scores = {
        side: torch.stack([
            plain_head_of(trainer.reward_model, ids(PAIRS[i]["prompt"]),
                          [*ids(PAIRS[i][side]), EOS])[-1]
            for i in rows
        ])
        for side in ("chosen", "rejected")
    }  # fmt: skip
    margins = scores["chosen"] - scores["rejected"]
    record = next(iter(trainer))
    assert record.metrics["preference_loss"] == pytest.approx(float(-F.logsigmoid(margins).mean()))
    assert record.metrics["accuracy"] == float((margins > 0).float().mean())
    assert margins.abs().min() > 1e-3


def spy_on_pairs(trainer: RewardModelTrainer) -> list[int]:
    """The numbers of the pairs that are scored from now on."""
    used: list[int] = []
    pair_scores = trainer.pair_scores

    def spy(numbers: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        used.extend(numbers)
        return pair_scores(numbers)

    trainer.pair_scores = spy  # type: ignore[method-assign]
    return used


def test_pairs_are_held_out_and_never_trained_on() -> None:
    rows = [{**PAIRS[0], "prompt": "the " * (n + 1)} for n in range(20)]
    actor = tiny_actor()
    for share, wanted in ((0.1, 2), (0.25, 5), (1e-9, 1)):
        config = RewardModelConfig(steps=9, batch_size=4, held_out=share)
        trainer = RewardModelTrainer(RewardModel.from_actor(actor), rows, config)
        used = spy_on_pairs(trainer)
        for record in trainer:
            assert ("held_out_accuracy" in record.metrics) == (record.step == 9)
        trained, held_out = used[: 9 * 4], used[9 * 4 :]
        assert len(held_out) == wanted and not set(trained) & set(held_out)
        assert set(trained) | set(held_out) == set(range(20))


def test_it_learns_a_simple_preference_and_says_so_on_unseen_pairs() -> None:
    """Warm is better than cold, whatever is warm."""
    rows = [
        {"prompt": prompt, "chosen": f"the {dish} was warm .", "rejected": f"the {dish} was cold ."}
        for prompt in PROMPTS
        for dish in ("soup", "pasta", "bread", "tea", "cake")
    ]
    config = RewardModelConfig(steps=40, batch_size=12, lr=1e-2, held_out=0.2)
    trainer = RewardModelTrainer(RewardModel.from_actor(tiny_actor()), rows, config)
    records = list(trainer)
    assert records[-1].metrics["preference_loss"] < 0.1 < records[0].metrics["preference_loss"]
    assert records[-1].metrics["held_out_accuracy"] == records[-1].metrics["accuracy"] == 1.0
    assert trainer.reward_model.score_shift == 0.0  # no SFT model, no standardising
    swapped = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    other = RewardModelTrainer(RewardModel.from_actor(tiny_actor()), swapped, config)
    list(other)
    for taught in (trainer, other):
        chosen, rejected = taught.pair_scores([0, 1, 2])
        assert (chosen > rejected).all()


def test_held_out_accuracy_counts_right_pairs_however_they_are_batched() -> None:
    wanted = None
    for batch_size in (1, 2, 3, 100):
        trainer = reward_trainer(batch_size=batch_size, held_out=0.6)
        scores = trainer.pair_scores(trainer._held_out)
        right = int((scores[0] > scores[1]).sum())
        assert 0 < right < 5 == len(trainer._held_out)
        assert trainer.held_out_accuracy() == right / 5 == (wanted or right / 5)
        wanted = right / 5


def test_scores_end_standardised_over_samples_of_the_sft_model() -> None:
    trainer = reward_trainer(standardise_samples=37, batch_size=8, lr=1e-2)
    assert trainer.sft_actor is not None
    before = trainer.sft_scores(trainer.sft_actor)
    assert before.shape == (37,) and before.unique().numel() > 30  # other noise in each batch
    sft = weights(trainer.sft_actor)
    list(trainer)
    scores = trainer.sft_scores(trainer.sft_actor)  # the same samples, since the seed decides
    assert_close(scores.mean(), torch.tensor(0.0), rtol=0, atol=1e-5)
    assert_close(scores.std(correction=0), torch.tensor(1.0), rtol=0, atol=1e-5)
    assert not torch.allclose(before, scores, atol=0.1)
    assert trainer.reward_model.score_shift != 0.0 and same_bits(sft, weights(trainer.sft_actor))


def test_what_stage_2_refuses() -> None:
    actor = tiny_actor()
    with pytest.raises(ValueError, match="got 1 pairs, wanted at least 2"):
        RewardModelTrainer(RewardModel.from_actor(actor), PAIRS[:1])
    long = [*PAIRS, {**PAIRS[0], "rejected": "the " * 64}]
    with pytest.raises(ValueError, match="prompt 10 has 4 tokens; with a response of 65"):
        RewardModelTrainer(RewardModel.from_actor(actor), long)
    # pairs that fit, but no room for the samples that fix the scale
    wide = [{**row, "prompt": "the " * 50} for row in PAIRS]
    config = RewardModelConfig(steps=1, batch_size=2, max_response_tokens=24)
    RewardModelTrainer(RewardModel.from_actor(actor), wide, config)
    with pytest.raises(ValueError, match="prompt 1 has 50 tokens; with a response of 24"):
        RewardModelTrainer(RewardModel.from_actor(actor), wide, config, sft_actor=actor)
