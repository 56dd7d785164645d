"""REINFORCE, RLOO and GRPO: one update against the whole of it written out, and a run from outside.

What all of stage 3 shares (rollout, minibatches, microbatches) is tested with PPO, too.
"""

import copy
import math
from dataclasses import replace

import pytest
import torch
from tiny_models import (
    EOS,
    TOKENIZER,
    Four,
    cut_to,
    four_roles,
    plain_head_of,
    plain_log_probs_of,
    same_bits,
    weights,
)
from tiny_trainers import CRITIC_FREE
from torch import Tensor
from torch.testing import assert_close

from minirlhf import (
    METRICS,
    GRPOConfig,
    PPOConfig,
    Prompts,
    ReinforceConfig,
    ReinforceTrainer,
    RLOOConfig,
    RLOOTrainer,
    Rollout,
    collect_rollout,
)
from minirlhf.config import OnlineConfig
from minirlhf.data import batch_rows
from minirlhf.online_metrics import UpdateMetrics
from minirlhf.online_trainer import OnlineTrainer

TEXTS = ["review the soup :", "the :", "review the soup and the waiter :", "review the waiter :"]
SMALL = {"batch_size": 6, "max_response_tokens": 8, "seed": 33, "iterations": 2}
BOLD = {
    **SMALL, "minibatch_size": 4, "microbatch_size": 3, "actor_lr": 0.01, "grad_clip": 0.5,
    "temperature": 0.8, "kl_coef": 0.2, "score_clip": 1.5, "missing_eos_penalty": 0.6,
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, object]]] = {
    "REINFORCE": ("reinforce", {"gamma": 0.9}),
    "REINFORCE, k2": ("reinforce", {"kl_estimator": "k2", "minibatch_size": None}),
    "RLOO of 2": ("rloo", {"group_size": 2, "microbatch_size": None}),
    "RLOO of 3": ("rloo", {"group_size": 3}),
    "GRPO of 2": ("grpo", {"group_size": 2, "epochs": 1, "score_clip": None}),
    "GRPO of 3": ("grpo", {"group_size": 3, "clip_range": 0.05, "epochs": 3}),
    "GRPO, no division, k1": ("grpo", {"group_size": 6, "divide_by_std": False,
                                       "kl_estimator": "k1", "minibatch_size": 6}),
}  # fmt: skip


def make(stage: str, four: Four | None = None, **settings: object) -> OnlineTrainer:
    """A trainer on roles whose Reference is not the Actor, in float64 unless `four` is given."""
    four = four or four_roles(dtype=torch.float64, spread=2)
    group = {} if stage == "reinforce" or "group_size" in settings else {"group_size": 3}
    if stage == "grpo":
        group |= {"minibatch_size": 6}
    config = CRITIC_FREE[stage].config_class(**{**SMALL, **group, **settings})
    return CRITIC_FREE[stage](four.actor, four.reference, four.reward_model, TEXTS, config)


def four_of(trainer: OnlineTrainer) -> Four:
    return Four(trainer.actor, trainer.reference, None, trainer.reward_model)  # type: ignore


# --------------------------------------------------------------------- all of it, plainly


def texts_of(rollout: Rollout) -> list[tuple[list[int], list[int]]]:
    """Prompt and response of each row as token ids, unpadded."""
    return [
        (x[p].tolist(), y[m].tolist())
        for x, p, y, m in zip(
            rollout.prompt_ids, rollout.prompt_mask, rollout.response_ids, rollout.response_mask,
            strict=True,
        )
    ]  # fmt: skip


def estimate(log_ratio: Tensor, estimator: str) -> Tensor:
    """k1, k2 or k3 of log π − log π_ref."""
    if estimator == "k3":
        return (-log_ratio).exp() - 1 + log_ratio
    return log_ratio if estimator == "k1" else log_ratio**2 / 2


def plain_advantages(
    trainer: OnlineTrainer, rollout: Rollout, baseline: float
) -> list[list[float]]:
    """The advantage of every token, from the models and the texts alone."""
    config, rewards, scores = trainer.config, [], []
    for prompt, response in texts_of(rollout):
        old, ref = (
            plain_log_probs_of(role, prompt, response, config.temperature)
            for role in (trainer.actor, trainer.reference)
        )
        score = float(plain_head_of(trainer.reward_model, prompt, response)[-1])
        score -= config.missing_eos_penalty * (response[-1] != EOS)
        limit = config.score_clip or math.inf
        scores.append(max(-limit, min(limit, score)))
        row = (-config.kl_coef * estimate(old - ref, config.kl_estimator)).tolist()
        rewards.append([*row[:-1], row[-1] + scores[-1]])
    if isinstance(config, ReinforceConfig):
        return [
            [sum(config.gamma ** (s - t) * row[s] for s in range(t, len(row))) - baseline
             for t in range(len(row))]
            for row in rewards
        ]  # fmt: skip
    size = config.group_size  # type: ignore[attr-defined]
    numbers = [sum(row) for row in rewards] if isinstance(config, RLOOConfig) else scores
    leads = []
    for i, number in enumerate(numbers):
        group = numbers[i // size * size : (i // size + 1) * size]
        mean = sum(group) / size
        if isinstance(config, RLOOConfig):
            leads.append(number - (sum(group) - number) / (size - 1))
        else:
            spread = (sum((one - mean) ** 2 for one in group) / size) ** 0.5 + 1e-6
            leads.append((number - mean) / (spread if config.divide_by_std else 1.0))  # type: ignore
    return [[lead] * len(row) for lead, row in zip(leads, rewards, strict=True)]


def plain_update(
    trainer: OnlineTrainer, rollout: Rollout, minibatches: list[list[int]], baseline: float
) -> float:
    """Every step of one update, a row at a time; gives the loss, averaged over the steps."""
    config, actor = trainer.config, trainer.actor
    advantages, texts = plain_advantages(trainer, rollout, baseline), texts_of(rollout)
    old = [plain_log_probs_of(actor, *text, config.temperature) for text in texts]
    ref = [plain_log_probs_of(trainer.reference, *text, config.temperature) for text in texts]
    optimizer = torch.optim.AdamW(
        actor.parameters(), lr=config.actor_lr, betas=(0.9, 0.95), weight_decay=0.0, foreach=False
    )
    total = 0.0
    for rows in minibatches:
        cost, n = torch.tensor(0.0), sum(len(texts[row][1]) for row in rows)
        for row in rows:
            prompt, response = texts[row]
            log_pi = actor.model(torch.tensor([prompt + response])).logits[0] / config.temperature
            log_pi = log_pi.log_softmax(-1)[len(prompt) - 1 : -1]
            log_probs = log_pi[range(len(response)), response]
            a = torch.tensor(advantages[row], dtype=torch.float64)
            ratio = (log_probs - old[row]).exp()
            gain = a * ratio
            if isinstance(config, GRPOConfig):
                held = ratio.clamp(1 - config.clip_range, 1 + config.clip_range)
                gain = torch.minimum(gain, a * held)
                gain = gain - config.kl_coef * estimate(log_probs - ref[row], config.kl_estimator)
            cost = cost - gain.sum() / n
        optimizer.zero_grad()
        cost.backward()
        norm = sum(p.grad.square().sum() for p in actor.parameters()).sqrt()
        for p in actor.parameters():
            p.grad.mul_(min(1.0, config.grad_clip / (float(norm) + 1e-6)))
        optimizer.step()
        total += cost.item() / len(minibatches)
    return total


@pytest.mark.parametrize("case", CASES)
def test_an_update_equals_the_whole_of_it_written_out(case: str) -> None:
    stage, settings = CASES[case]
    trainer = make(stage, **{**BOLD, **settings})
    if isinstance(trainer, ReinforceTrainer):
        trainer.baseline = -0.4
    rollout = trainer.collect(trainer.batch())
    assert len(set(rollout.lengths.tolist())) > 2 and 0 < rollout.ended.sum() < 6
    plain = copy.deepcopy(trainer)
    before = weights(plain.actor)
    minibatches = [rows.tolist() for rows in trainer.minibatches(rollout)]
    config = trainer.config
    steps = getattr(config, "epochs", 1) * math.ceil(6 / (config.minibatch_size or 6))
    assert len(minibatches) == steps and set().union(*minibatches) == set(range(6))
    loss = plain_update(plain, rollout, minibatches, -0.4)
    metrics = trainer.update(rollout).averages()
    assert_close(weights(trainer.actor), weights(plain.actor), rtol=0, atol=1e-9)
    assert not same_bits(before, weights(plain.actor))
    assert metrics["actor_loss"] == pytest.approx(loss, rel=1e-6, abs=1e-9)
    assert metrics["optimiser_steps"] == len(minibatches)
    assert metrics.get("clip_fraction", 1.0) > 0.1 or len(minibatches) <= 2


# ------------------------------------------------------------------------------ rollouts


def test_a_rollout_without_a_critic_is_the_same_but_for_values_and_what_follows() -> None:
    four = four_roles(dtype=torch.float64, spread=2)
    trainer = make("reinforce", four, gamma=0.9)
    rollout = trainer.collect([0, 1, 2, 3])
    assert not rollout.old_values.any()
    for row, n in enumerate(rollout.lengths.tolist()):
        rewards = rollout.rewards[row].tolist()
        to_come = [sum(0.9 ** (s - t) * rewards[s] for s in range(t, n)) for t in range(n)]
        assert rollout.returns[row, :n].tolist() == pytest.approx(to_come)
        assert rollout.advantages[row].tolist() == rollout.returns[row].tolist()
    config = PPOConfig(max_response_tokens=8, seed=33, gamma=0.9, lam=0.3)
    x = Prompts(rollout.prompt_ids, rollout.prompt_mask)
    with_critic = collect_rollout(*four, x, config)
    without = collect_rollout(four.actor, four.reference, None, four.reward_model, x, config)
    for name in ("response_ids", "old_log_probs", "ref_log_probs", "scores", "kl", "rewards"):
        assert torch.equal(getattr(with_critic, name), getattr(without, name)), name
    assert torch.equal(without.returns, rollout.returns)  # λ is 1, whatever PPO's settings say
    assert not torch.allclose(with_critic.returns, without.returns)


@pytest.mark.parametrize("stage", ["rloo", "grpo"])
def test_a_group_is_one_prompt_answered_several_times(stage: str) -> None:
    trainer = make(stage, batch_size=6, group_size=3, iterations=4)
    asked: list[int] = []
    for step in range(4):
        trainer.step = step
        rows = trainer.batch()
        prompts = batch_rows(4, 2, seed=33, batch=step)
        assert rows == [prompts[0]] * 3 + [prompts[1]] * 3
        asked += prompts
        rollout = trainer.collect(rows)
        answers = [tuple(y) for _, y in texts_of(rollout)]
        assert len(set(answers)) == 6  # other noise for each answer
        assert [x for x, _ in texts_of(rollout)] == [
            TOKENIZER(TEXTS[row])["input_ids"] for row in rows
        ]
    assert sorted(asked[:4]) == sorted(asked[4:]) == [0, 1, 2, 3]


# ------------------------------------------------------------------------- from outside


@pytest.mark.parametrize("stage", CRITIC_FREE)
def test_a_record_says_what_happened_and_nothing_of_a_critic(stage: str) -> None:
    trainer = make(stage, iterations=3)
    trainer.judge = lambda prompt, response, ended: float(len(response))
    records = list(trainer)
    assert [(r.stage, r.step, r.total) for r in records] == [(stage, n, 3) for n in (1, 2, 3)]
    of_a_critic = {"critic_loss", "value_mean", "return_mean", "explained_variance",
                   "value_clip_fraction", "critic_grad_norm"}  # fmt: skip
    for record in records:
        r, metrics = record.rollout, record.metrics
        assert r is not None and metrics.keys() <= METRICS.keys()
        assert not metrics.keys() & of_a_critic
        assert all(math.isfinite(value) for value in metrics.values())
        assert metrics["reward"] == pytest.approx(float(r.rewards.sum(1).mean()))
        assert metrics["ratio_error_first"] <= 1e-9 and metrics["gold"] > 0
        assert ("baseline" in metrics) == (stage == "reinforce")
        assert ("clip_fraction" in metrics) == (stage == "grpo")
        assert record.sample.split(":")[0] + ":" in TEXTS


@pytest.mark.parametrize("stage", CRITIC_FREE)
def test_only_the_actor_is_trained(stage: str) -> None:
    four = four_roles(spread=2)
    four.reference.requires_grad_(True)  # the trainer freezes what it was given
    trainer = make(stage, four)
    before = [weights(role) for role in four]
    list(trainer)
    moved = [not same_bits(b, weights(role)) for b, role in zip(before, four, strict=True)]
    assert moved == [True, False, False, False]
    assert not any(p.requires_grad for p in four.reference.parameters())
    assert trainer.roles == {"actor": four.actor} and trainer.critic is None
    assert trainer.optimizers.keys() == {"actor"}


@pytest.mark.parametrize("stage", ["reinforce", "rloo"])
def test_on_policy_by_default_so_that_every_ratio_is_1(stage: str) -> None:
    for record in make(stage, four_roles(spread=2), iterations=3, actor_lr=0.01):
        metrics = record.metrics
        assert metrics["optimiser_steps"] == 1.0
        assert metrics["ratio_max"] == pytest.approx(1.0, abs=1e-5) == metrics["ratio_mean"]
        assert metrics["approx_kl"] < 1e-9


@pytest.mark.parametrize("stage", CRITIC_FREE)
def test_the_seed_decides_everything(stage: str) -> None:
    def run(seed: int) -> tuple[list[dict[str, float]], list[Tensor]]:
        trainer = make(stage, four_roles(spread=2), seed=seed)
        metrics = [{k: v for k, v in r.metrics.items() if k != "seconds"} for r in trainer]
        return metrics, weights(trainer.actor)

    first, again, other = run(33), run(33), run(34)
    assert first[0] == again[0] != other[0] and same_bits(first[1], again[1])


def test_the_baseline_comes_from_earlier_batches_only() -> None:
    trainer = make("reinforce", iterations=5, baseline_decay=0.5)
    means: list[float] = []
    wanted = 0.0
    for n, record in enumerate(trainer):
        r = record.rollout
        assert r is not None
        assert record.metrics["baseline"] == pytest.approx(wanted)
        advantages = r.returns - wanted
        assert record.metrics["actor_loss"] == pytest.approx(
            -float(advantages[r.response_mask].mean())
        )
        means.append(float(r.returns[r.response_mask].mean()))
        wanted = sum(means) / 2 if n == 1 else means[0] if n == 0 else (wanted + means[-1]) / 2
    assert len(set(means)) == 5


@pytest.mark.parametrize("stage", CRITIC_FREE)
@pytest.mark.parametrize("lengths", [[0, 1, 8, 3, 0, 2], [0] * 6, [1] * 6])
def test_responses_of_any_length_go_through(stage: str, lengths: list[int]) -> None:
    trainer = make(stage, four_roles(spread=2), minibatch_size=2)
    rollout = cut_to(trainer.collect(trainer.batch()), lengths)  # NaN wherever nothing is counted
    metrics = trainer.update(rollout).averages()
    assert torch.tensor(list(metrics.values())).isfinite().all(), metrics
    assert all(w.isfinite().all() for w in weights(trainer.actor))


@pytest.mark.parametrize("stage", CRITIC_FREE)
def test_a_step_that_is_not_finite_is_never_taken(stage: str) -> None:
    trainer = make(stage, four_roles(spread=2))
    rollout = trainer.collect(trainer.batch())
    broken = {"returns": rollout.returns.clone(), "rewards": rollout.rewards.clone(),
              "scores": rollout.scores.clone()}  # fmt: skip
    for x in broken.values():
        x[0] = torch.nan
    before = weights(trainer.actor)
    with pytest.raises(ValueError, match="actor_loss is nan at step 1; training stopped before"):
        trainer.update(replace(rollout, **broken))
    assert same_bits(before, weights(trainer.actor)) and not trainer.optimizers["actor"].state


@pytest.mark.parametrize("stage", CRITIC_FREE)
def test_microbatches_of_any_size_give_one_gradient(stage: str) -> None:
    gradients = []
    for size in (None, 1, 4):
        trainer = make(stage, microbatch_size=size, kl_coef=0.3)
        rollout = trainer.collect(trainer.batch())
        for optimizer in trainer.optimizers.values():  # leave the gradient to be looked at
            optimizer.step = optimizer.zero_grad = lambda **_: None  # type: ignore[assignment]
        seen = UpdateMetrics(trainer.config)
        trainer.update_minibatch(rollout, trainer.advantages(rollout), torch.arange(6), seen)
        gradients.append(torch.cat([p.grad.flatten() for p in trainer.actor.parameters()]))
    for other in gradients[1:]:
        assert_close(other, gradients[0], rtol=0, atol=1e-12)
    assert gradients[0].abs().max() > 1e-2


@pytest.mark.parametrize("stage", CRITIC_FREE)
def test_it_learns_what_is_rewarded(stage: str) -> None:
    """A reward model without an opinion, and a penalty for not ending: the Actor learns to end."""
    settings = {"batch_size": 32, "max_response_tokens": 4, "iterations": 20, "actor_lr": 5e-3}
    group = {} if stage == "reinforce" else {"group_size": 8}
    trainer = make(stage, four_roles(spread=0), **settings, **group, kl_coef=0.0)
    rates = [record.metrics["eos_rate"] for record in trainer]
    assert rates[0] < 0.5 and sum(rates[-3:]) / 3 > 0.9


def test_grpo_is_held_by_the_kl_in_its_loss_alone() -> None:
    """Without β it does not see the Reference; RLOO's β is in the reward."""
    grpo = make("grpo", kl_coef=0.7)
    rollout = grpo.collect(grpo.batch())
    other = replace(rollout, rewards=rollout.rewards + 1.0, returns=rollout.returns - 3.0)
    assert torch.equal(grpo.advantages(rollout), grpo.advantages(other))
    near = replace(rollout, ref_log_probs=rollout.old_log_probs)
    far = grpo.loss(rollout, rollout.old_log_probs, grpo.advantages(rollout))
    at_home = grpo.loss(near, rollout.old_log_probs, grpo.advantages(rollout))
    k3 = estimate(rollout.old_log_probs - rollout.ref_log_probs, "k3")[rollout.response_mask]
    assert float(far - at_home) == pytest.approx(0.7 * float(k3.mean()))


# -------------------------------------------------------------------------- what is refused


def test_what_cannot_be_trained_is_refused() -> None:
    four = four_roles()
    three = (four.actor, four.reference, four.reward_model)
    with pytest.raises(ValueError, match="RLOOTrainer wants a RLOOConfig, got PPOConfig"):
        RLOOTrainer(*three, TEXTS, PPOConfig())
    with pytest.raises(ValueError, match="no prompts to answer"):
        RLOOTrainer(*three, [])
    with pytest.raises(ValueError, match="prompt 2 has 50 tokens; with a response of 24"):
        RLOOTrainer(*three, ["the :", "the " * 50])


@pytest.mark.parametrize("stage", CRITIC_FREE)
def test_without_a_config_the_defaults_hold(stage: str) -> None:
    four = four_roles()
    trainer = CRITIC_FREE[stage](four.actor, four.reference, four.reward_model, TEXTS)
    assert trainer.config == CRITIC_FREE[stage].config_class()
    assert isinstance(trainer.config, OnlineConfig)
