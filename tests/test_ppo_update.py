"""The update of PPO against the whole of it written out plainly, in float64; and when it stops."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny_models import Four, cut_to, four_roles, four_trainer, plain_update, same_bits, weights
from torch.nn import functional as F
from torch.testing import assert_close

from minirlhf import PPOTrainer, Rollout
from minirlhf.online_metrics import UpdateMetrics

# far enough and narrow enough that both clips bind, and the gradient is clipped too
BOLD = {
    "batch_size": 4, "minibatch_size": 2, "microbatch_size": 1, "ppo_epochs": 3, "seed": 33,
    "actor_lr": 0.01, "critic_lr": 0.02, "clip_range": 0.05, "value_clip_range": 0.05,
    "grad_clip": 0.5, "temperature": 0.8, "gamma": 0.9, "kl_coef": 0.2,
}  # fmt: skip
TEXTS = ["review the soup :", "the :", "review the soup and the waiter :", "review the waiter :"]


def bold_trainer(dtype: torch.dtype = torch.float64, **settings: object) -> PPOTrainer:
    return four_trainer(four_roles(dtype=dtype, spread=2), TEXTS, **{**BOLD, **settings})


def first_rollout(trainer: PPOTrainer) -> Rollout:
    rollout = trainer.collect([0, 1, 2, 3])
    assert len(set(rollout.lengths.tolist())) > 2  # ragged
    return rollout


# --------------------------------------------------------------------- all of it, plainly


VARIANTS: dict[str, dict[str, object]] = {
    "td": {},
    "gae": {"critic_target": "gae"},
    "no whitening": {"whiten_advantages": False, "grad_clip": 100.0},
    "no value clip": {"value_clip_range": None},
    "one big minibatch": {"minibatch_size": 4, "microbatch_size": None},
    "ragged microbatches": {"minibatch_size": 4, "microbatch_size": 3},
    "uneven minibatches": {"minibatch_size": 3, "microbatch_size": 2},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_update_equals_the_whole_of_it_written_out(variant: str) -> None:
    trainer = bold_trainer(**VARIANTS[variant])
    rollout = first_rollout(trainer)
    four = Four(trainer.actor, trainer.reference, trainer.critic, trainer.reward_model)
    plain = copy.deepcopy(four)
    before = weights(plain.actor, plain.critic)
    minibatches = [rows.tolist() for rows in trainer.minibatches(rollout)]
    losses = plain_update(plain, rollout, minibatches, trainer.config)
    metrics = trainer.update(rollout).averages()
    assert_close(weights(*four), weights(*plain), rtol=0, atol=1e-9)
    assert not same_bits(before, weights(plain.actor, plain.critic))
    assert_close((metrics["actor_loss"], metrics["critic_loss"]), losses, rtol=1e-9, atol=1e-12)
    assert metrics["optimiser_steps"] == len(minibatches)
    assert metrics["ratio_error_first"] < 1e-9 and metrics["clip_fraction"] > 0.1
    if trainer.config.value_clip_range is not None:
        assert metrics["value_clip_fraction"] > 0.1


@pytest.mark.parametrize("loss", ["actor", "critic"])
def test_the_gradient_is_that_of_finite_differences(loss: str) -> None:
    trainer = bold_trainer(clip_range=0.2, value_clip_range=0.2)
    rollout = first_rollout(trainer)
    role = trainer.roles[loss]

    def measure() -> float:
        seen = UpdateMetrics(trainer.config)
        for part in (torch.tensor([0, 3]), torch.tensor([1, 2])):
            batch = rollout.select(part)
            share = int(batch.response_mask.sum()) / int(rollout.response_mask.sum())
            trainer.accumulate(batch, batch.advantages, share, seen)
        seen.close_step()
        return seen.averages()[f"{loss}_loss"]

    with torch.no_grad():  # away from ratio 1 and V_old, where clips have their corners
        for parameter in role.parameters():
            parameter.mul_(1.02)
    measure()
    gradients = {name: p.grad.clone() for name, p in role.named_parameters()}
    for name, p in role.named_parameters():
        place = int(gradients[name].abs().argmax())
        numbers = []
        for side in (1e-5, -1e-5):
            p.data.view(-1)[place] += side
            numbers.append(measure())
            p.data.view(-1)[place] -= side
        slope = (numbers[0] - numbers[1]) / 2e-5
        assert slope == pytest.approx(float(gradients[name].view(-1)[place]), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_microbatches_of_any_size_give_one_gradient(dtype: torch.dtype) -> None:
    """Rows of unequal length: a mean of means would weigh short responses more."""
    gradients = []
    for size in (None, 1, 3):
        trainer = bold_trainer(dtype, microbatch_size=size, minibatch_size=4)
        rollout = first_rollout(bold_trainer(dtype))
        for optimizer in trainer.optimizers.values():  # leave the gradient to be looked at
            optimizer.step = optimizer.zero_grad = lambda **_: None  # type: ignore[assignment]
        seen = UpdateMetrics(trainer.config)
        trainer.update_minibatch(rollout, rollout.advantages, torch.arange(4), seen)
        parameters = [p for role in trainer.roles.values() for p in role.parameters()]
        gradients.append(torch.cat([p.grad.flatten() for p in parameters]))
    room = 1e-12 if dtype == torch.float64 else 1e-5
    for other in gradients[1:]:
        assert_close(other, gradients[0], rtol=0, atol=room)
    assert gradients[0].abs().max() > 1e-2


# ------------------------------------------------------------------------ where it stops


def test_target_kl_skips_the_step_and_all_that_would_follow() -> None:
    """Weights, momenta and the measured gradient norms are those of the steps taken."""
    bold = {"minibatch_size": 4, "microbatch_size": None, "actor_lr": 0.05}
    once, stopped = bold_trainer(**bold, ppo_epochs=1), bold_trainer(**bold, target_kl=1e-3)
    read, accumulate = [], stopped.accumulate
    stopped.accumulate = lambda *args: read.append(args) or accumulate(*args)  # type: ignore
    first = once.update(first_rollout(once)).averages()
    metrics = stopped.update(first_rollout(stopped)).averages()
    assert metrics["optimiser_steps"] == 1 and metrics["approx_kl"] > 5e-4
    assert len(read) == 2  # the step taken, the step skipped, and no third one
    assert same_bits(weights(once.actor, once.critic), weights(stopped.actor, stopped.critic))
    for optimizer in stopped.optimizers.values():
        assert {int(state["step"]) for state in optimizer.state.values()} == {1}
    assert all(p.grad is None for role in stopped.roles.values() for p in role.parameters())
    for name in ("actor_grad_norm", "critic_grad_norm"):
        assert metrics[name] == pytest.approx(first[name])
    patient = bold_trainer(**bold, target_kl=100.0)
    assert patient.update(first_rollout(patient)).averages()["optimiser_steps"] == 3


BROKEN: dict[str, dict[str, float]] = {
    "actor_loss is nan": {"advantages": torch.nan},
    "critic_loss is inf": {"td_target": 1e30},
    "critic_loss is nan": {"td_target": torch.nan},
    "the gradient norm of the Critic is inf": {"td_target": 1.5e19},
}


@pytest.mark.parametrize("message", BROKEN)
@pytest.mark.parametrize("microbatch", [None, 2])
def test_a_step_that_is_not_finite_is_never_taken(message: str, microbatch: int | None) -> None:
    """Not by the Actor when only the Critic is broken, either."""
    options = {"minibatch_size": 4, "whiten_advantages": False, "microbatch_size": microbatch}
    trainer = bold_trainer(torch.float32, **options)
    rollout = first_rollout(trainer)
    changes = {name: getattr(rollout, name).clone() for name in BROKEN[message]}
    for name, value in BROKEN[message].items():
        changes[name][3, 0] = value
    before = weights(trainer.actor, trainer.critic)
    with pytest.raises(ValueError, match=f"{message} at step 1; training stopped before"):
        trainer.update(replace(rollout, **changes))
    assert same_bits(before, weights(trainer.actor, trainer.critic))
    assert not any(optimizer.state for optimizer in trainer.optimizers.values())


def test_a_refused_step_leaves_nothing_to_the_next_one() -> None:
    good, bad = bold_trainer(torch.float32), bold_trainer(torch.float32)
    next(iter(good))
    collect = bad.collect
    bad.collect = lambda rows: replace(  # type: ignore[method-assign]
        collect(rows), td_target=torch.full_like(collect(rows).td_target, 1e30)
    )
    with pytest.raises(ValueError, match="critic_loss is inf at step 1"):
        next(iter(bad))
    bad.collect = collect  # type: ignore[method-assign]
    next(iter(bad))
    assert same_bits(weights(good.actor, good.critic), weights(bad.actor, bad.critic))


@pytest.mark.parametrize("minibatch", [1, 4])
@pytest.mark.parametrize("lengths", [[0, 1, 8, 3], [0, 0, 0, 0], [1, 1, 1, 1], [8, 8, 8, 8]])
def test_responses_of_any_length_go_through(lengths: list[int], minibatch: int) -> None:
    trainer = bold_trainer(torch.float32, minibatch_size=minibatch)
    rollout = cut_to(first_rollout(trainer), lengths)  # NaN wherever nothing is counted
    metrics = trainer.update(rollout).averages()
    assert torch.tensor(list(metrics.values())).isfinite().all(), metrics
    assert all(w.isfinite().all() for w in weights(trainer.actor, trainer.critic))
    assert metrics["optimiser_steps"] == 3 * 4 / minibatch


def test_an_update_reads_the_prompts_mask() -> None:
    """The same prompts behind more padding: the same update, to the last digits."""
    results = []
    for extra in (0, 2):
        trainer = bold_trainer()
        rollout = first_rollout(trainer)
        ids = F.pad(rollout.prompt_ids, (extra, 0), value=5)  # 5: a real word
        mask = F.pad(rollout.prompt_mask, (extra, 0))
        trainer.update(replace(rollout, prompt_ids=ids, prompt_mask=mask))
        results.append(weights(trainer.actor, trainer.critic))
    assert_close(results[1], results[0], rtol=0, atol=1e-9)
