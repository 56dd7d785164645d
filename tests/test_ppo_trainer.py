"""A PPO run from outside: what it yields, what it changes, what depends on the seed."""

import math

import pytest
import torch
from tiny_models import EOS, TOKENIZER, Four, four_roles, four_trainer, same_bits, weights
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.testing import assert_close
from transformers import PreTrainedTokenizerFast

from minirlhf import METRICS, PPOConfig, PPOTrainer, RewardModel, StepRecord
from minirlhf.data import batch_rows, encode_prompts

TEXTS = ["review the soup :", "the :", "review the soup and the waiter :", "review the waiter :"]
IDS = [TOKENIZER(text)["input_ids"] for text in TEXTS]
RAGGED = {"batch_size": 6, "minibatch_size": 4, "microbatch_size": 3, "ppo_epochs": 2, "seed": 33}


def ragged_trainer(**settings: object) -> PPOTrainer:
    return four_trainer(four_roles(spread=2), TEXTS, **{**RAGGED, **settings})


def four_of(trainer: PPOTrainer) -> Four:
    return Four(trainer.actor, trainer.reference, trainer.critic, trainer.reward_model)


# ----------------------------------------------------------------------------- records


def test_a_record_says_what_happened() -> None:
    trainer = ragged_trainer(iterations=3)
    assert len(trainer) == 3
    records = list(trainer)
    assert [(r.stage, r.step, r.total) for r in records] == [("ppo", n, 3) for n in (1, 2, 3)]
    for record in records:
        rollout = record.rollout
        assert isinstance(record, StepRecord) and rollout is not None
        prompt, response = (
            TOKENIZER.decode(ids[0][mask[0]], skip_special_tokens=True)
            for ids, mask in (
                (rollout.prompt_ids, rollout.prompt_mask),
                (rollout.response_ids, rollout.response_mask),
            )
        )
        assert record.sample == f"{prompt} {response}" and prompt in TEXTS
        assert record.metrics.keys() <= METRICS.keys()
        assert all(math.isfinite(value) for value in record.metrics.values())
    assert list(trainer) == []  # it is over


def test_the_metrics_of_the_rollout_are_its_plain_averages() -> None:
    record = next(iter(ragged_trainer(kl_coef=0.3, score_clip=1.0, actor_lr=2e-3)))
    r, metrics = record.rollout, record.metrics
    assert r is not None and 0 < r.ended.sum() < len(r.ended)
    counted = [r.response_mask[i] for i in range(6)]

    def mean_of_sums(x: torch.Tensor) -> float:
        return sum(float(x[i][counted[i]].sum()) for i in range(6)) / 6

    def token_mean(x: torch.Tensor) -> float:
        return float(torch.cat([x[i][counted[i]] for i in range(6)]).mean())

    wanted = {
        "score": float(r.scores.mean()),
        "kl": mean_of_sums(r.kl),
        "reward": mean_of_sums(r.rewards),
        "length": sum(map(len, (y[m] for y, m in zip(r.response_ids, counted, strict=True)))) / 6,
        "eos_rate": sum(EOS in y.tolist() for y in r.response_ids) / 6,
        "entropy": token_mean(r.entropy),
        "value_mean": token_mean(r.old_values),
        "return_mean": token_mean(r.returns),
        "kl_coef": 0.3,
        "lr": 2e-3,
        "optimiser_steps": 4.0,
    }
    for name, value in wanted.items():
        assert metrics[name] == pytest.approx(value, rel=1e-5), name
    assert metrics["seconds"] > 0 and "gold" not in metrics


@pytest.mark.parametrize("minibatch", [1, 2, 4, 6])
@pytest.mark.parametrize("microbatch", [None, 1, 3])
def test_the_first_ratio_is_1(minibatch: int, microbatch: int | None) -> None:
    """At a temperature, on ragged prompts, however the rollout is cut."""
    trainer = ragged_trainer(
        minibatch_size=minibatch, microbatch_size=microbatch, temperature=0.7, iterations=2
    )
    for record in trainer:
        assert record.metrics["ratio_error_first"] <= 1e-5
        assert record.metrics["ratio_max"] > 1.0  # later steps move
        assert record.metrics["optimiser_steps"] == 2 * math.ceil(6 / minibatch)


def test_gold_is_asked_for_with_the_right_prompt_response_and_end() -> None:
    asked = []

    def judge(prompt: str, response: str, ended: bool) -> float:
        asked.append((prompt, response, ended))
        return float(len(response))

    trainer = PPOTrainer(*four_roles(), TEXTS, PPOConfig(**RAGGED, iterations=1), judge=judge)
    record = next(iter(trainer))
    r = record.rollout
    assert r is not None and r.ended.any() and not r.ended.all()
    for i, (prompt, response, ended) in enumerate(asked):
        assert prompt == TOKENIZER.decode(r.prompt_ids[i][r.prompt_mask[i]])
        ids = r.response_ids[i][r.response_mask[i]]
        assert response == TOKENIZER.decode(ids, skip_special_tokens=True)
        assert ended is bool(r.ended[i]) is (EOS in ids)
    assert len(asked) == 6
    assert record.metrics["gold"] == pytest.approx(sum(len(a[1]) for a in asked) / 6)


# ---------------------------------------------------------------------- what it changes


def test_only_actor_and_critic_are_trained_and_the_others_get_no_gradient() -> None:
    four = four_roles(spread=2)
    four.reference.requires_grad_(True)  # the trainer freezes what it was given
    trainer = four_trainer(four, TEXTS, **RAGGED)
    before = [weights(role) for role in four]
    list(trainer)
    moved = [not same_bits(b, weights(role)) for b, role in zip(before, four, strict=True)]
    assert moved == [True, False, True, False]
    for role in (trainer.reference, trainer.reward_model):
        assert all(p.grad is None and not p.requires_grad for p in role.parameters())
    every = {id(p) for role in (four.actor, four.critic) for p in role.parameters()}
    held = [p for o in trainer.optimizers.values() for g in o.param_groups for p in g["params"]]
    assert {id(p) for p in held} == every and len(held) == len(every)
    assert trainer.roles == {"actor": four.actor, "critic": four.critic}
    assert [role.summary().split()[4] for role in four_of(trainer)] == [
        "trained", "frozen", "trained", "frozen",
    ]  # fmt: skip


def test_the_learning_rates_go_to_their_roles() -> None:
    trainer = ragged_trainer(actor_lr=0.25, critic_lr=0.125)
    rates = {name: o.param_groups[0]["lr"] for name, o in trainer.optimizers.items()}
    assert rates == {"actor": 0.25, "critic": 0.125}


# ---------------------------------------------------------------------- what comes when


def run(**settings: object) -> tuple[list[dict[str, float]], list[torch.Tensor]]:
    trainer = ragged_trainer(**settings)
    metrics = [{k: v for k, v in r.metrics.items() if k != "seconds"} for r in trainer]
    return metrics, weights(trainer.actor, trainer.critic)


def test_the_seed_decides_everything() -> None:
    torch.manual_seed(1)
    first = run()
    torch.manual_seed(2)  # the global generator is not used
    again, other = run(), run(seed=34)
    assert first[0] == again[0] and same_bits(first[1], again[1])
    assert first[0] != other[0] and not same_bits(first[1], other[1])


def test_a_minibatch_is_a_share_of_a_fresh_shuffle_every_epoch() -> None:
    trainer = ragged_trainer(batch_size=7, minibatch_size=3, ppo_epochs=8)
    rollout = trainer.collect([0] * 7)
    parts = [rows.tolist() for rows in trainer.minibatches(rollout)]
    assert [len(part) for part in parts] == [3, 3, 1] * 8
    walk = [row for part in parts for row in part]
    epochs = [walk[i : i + 7] for i in range(0, 56, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 8
    again = [rows.tolist() for rows in trainer.minibatches(rollout)]
    trainer.step = 1
    later = [rows.tolist() for rows in trainer.minibatches(rollout)]
    other = ragged_trainer(batch_size=7, minibatch_size=3, ppo_epochs=8, seed=34)
    assert parts == again != later
    assert parts != [rows.tolist() for rows in other.minibatches(rollout)]


def test_every_prompt_is_answered_once_before_any_is_answered_twice() -> None:
    trainer = ragged_trainer(batch_size=2, minibatch_size=2, microbatch_size=None, iterations=4)
    asked = []
    for step, record in enumerate(trainer):
        rows = batch_rows(4, 2, seed=33, batch=step)
        wanted = encode_prompts(TOKENIZER, [TEXTS[i] for i in rows])
        r = record.rollout
        assert r is not None
        got = [ids[mask].tolist() for ids, mask in zip(r.prompt_ids, r.prompt_mask, strict=True)]
        assert got == wanted
        asked += rows
    assert sorted(asked[:4]) == sorted(asked[4:]) == [0, 1, 2, 3]


def test_prompts_may_be_token_ids_and_are_shown_as_text() -> None:
    """Chats come as ids; texts and ids of the same words give the same run."""
    given = [ragged_trainer(), four_trainer(four_roles(spread=2), IDS, **RAGGED)]
    texts, ids = (next(iter(trainer)) for trainer in given)
    assert given[0].prompts == given[1].prompts == TEXTS
    assert texts.sample == ids.sample and texts.rollout is not None and ids.rollout is not None
    first, second = (
        [x for x in vars(rollout).values() if isinstance(x, torch.Tensor)]
        for rollout in (texts.rollout, ids.rollout)
    )
    assert len(first) > 8 and same_bits(first, second)


def test_each_iteration_samples_anew() -> None:
    trainer = four_trainer(four_roles(), ["the :"], actor_lr=1e-12)
    one, two = (record.rollout for record in trainer)
    assert one is not None and two is not None
    assert one.response_ids.tolist() != two.response_ids.tolist()


@pytest.mark.parametrize(("target", "direction"), [(1e-3, 1), (1e6, -1)])
def test_an_adapting_kl_coef_moves_after_the_step_that_was_measured(
    target: float, direction: int
) -> None:
    trainer = ragged_trainer(
        kl_target=target, kl_horizon=60, kl_coef=0.1, iterations=3, kl_estimator="k3"
    )
    used = []
    for record in trainer:
        r = record.rollout
        assert r is not None and record.metrics["kl"] > 1e-3
        used.append(record.metrics["kl_coef"])
        kl = torch.where(r.response_mask, r.kl, 0.0).sum(1)
        wanted = r.scores.clamp(-5, 5) - used[-1] * kl  # this β was in this rollout's rewards
        assert_close(r.rewards.sum(1), wanted, rtol=0, atol=1e-4)
    factor = 1 + direction * 0.2 * 6 / 60
    assert used == pytest.approx([0.1, 0.1 * factor, 0.1 * factor**2])
    fixed = [record.metrics["kl_coef"] for record in ragged_trainer(kl_coef=0.1)]
    assert set(fixed) == {0.1}


def test_it_learns_what_is_rewarded() -> None:
    """A reward model without an opinion, and a penalty for not ending: the Actor learns to end."""
    four = four_roles(spread=0)
    settings = {"batch_size": 32, "minibatch_size": 32, "max_response_tokens": 4, "iterations": 20}
    trainer = four_trainer(four, TEXTS, **settings, actor_lr=5e-3, kl_coef=0.0, ppo_epochs=2)
    rates = [record.metrics["eos_rate"] for record in trainer]
    assert rates[0] < 0.5 and sum(rates[-3:]) / 3 > 0.9


# --------------------------------------------------------------------- what is refused


def test_what_cannot_be_trained_is_refused() -> None:
    four = four_roles()
    with pytest.raises(ValueError, match="no prompts to answer"):
        PPOTrainer(*four, [], PPOConfig())
    with pytest.raises(ValueError, match="prompt 2 has 50 tokens; with a response of 24"):
        PPOTrainer(*four, ["the :", "the " * 50], PPOConfig())
    PPOTrainer(*four, ["the :", "the " * 40], PPOConfig())  # 40 + 24 = 64 fits
    other = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"<eos>": 1, "<pad>": 0})), eos_token="<eos>",
        pad_token="<pad>",
    )  # fmt: skip
    stranger = RewardModel(four.reward_model.model, other)
    with pytest.raises(ValueError, match="Actor and RewardModel have different vocabularies"):
        PPOTrainer(*four[:3], stranger, TEXTS, PPOConfig())
