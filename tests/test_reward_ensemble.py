"""Reward models read as one: hand numbers, frozen, standardised, in PPO, a Critic's start."""

import math
from pathlib import Path

import pytest
import torch
from tiny_models import PAD, ragged, shaped_actor
from tiny_trainers import PROMPTS, QUICK, tiny_actor
from torch import Tensor
from torch.testing import assert_close

from minirlhf import Critic, PPOConfig, PPOTrainer, Prompts, Reference, RewardEnsemble, RewardModel
from minirlhf.evaluation import evaluate
from minirlhf.log_probs import before_each_response_token
from minirlhf.worlds import exact

X, Y, MASK = ragged()


class Says(RewardModel):
    """A reward model of known scores."""

    def __init__(self, numbers: list[float]) -> None:
        base = RewardModel.from_actor(tiny_actor())
        super().__init__(base.model, base.tokenizer)
        self.numbers = torch.tensor(numbers)

    def scores(self, prompts: Prompts, response_ids: Tensor, response_mask: Tensor) -> Tensor:
        return self.numbers


def models(k: int = 3, shape: str = "gpt2") -> list[RewardModel]:
    return [RewardModel.from_actor(shaped_actor(shape, seed=i), seed=i) for i in range(k)]


def bits(role: torch.nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in role.parameters()]


def test_hand_numbers() -> None:
    members = [Says([1.0, -2.0, 0.0, 3.0]), Says([4.0, 0.0, 0.0, -3.0]), Says([1.0, 5.0, 0.0, 9.0])]
    mean, least = RewardEnsemble(members, "mean"), RewardEnsemble(members, "min")
    assert_close(mean.scores(X, Y, MASK), torch.tensor([2.0, 1.0, 0.0, 3.0]))
    assert_close(least.scores(X, Y, MASK), torch.tensor([1.0, -2.0, 0.0, -3.0]))
    assert_close(mean.member_scores(X, Y, MASK)[1], members[1].numbers)
    assert RewardEnsemble(members).reduce == "mean"


@pytest.mark.parametrize("shape", ["gpt2", "llama", "qwen2"])
@pytest.mark.parametrize("reduce", ["mean", "min"])
def test_one_member_is_that_member(shape: str, reduce: str) -> None:
    (one,) = models(1, shape)
    one.model.config.score_shift = 0.25
    ensemble = RewardEnsemble([one], reduce)  # type: ignore[arg-type]
    assert torch.equal(ensemble.scores(X, Y, MASK), one.scores(X, Y, MASK))
    assert ensemble.filler == PAD and ensemble.score_shift == 0.25


def test_members_are_frozen_copies() -> None:
    members = models()
    before = [bits(member) for member in members]
    ensemble = RewardEnsemble(members, "min")
    assert not ensemble.trainable and "frozen" in ensemble.summary()
    assert all(member.trainable for member in members)
    assert len(list(ensemble.parameters())) == sum(len(b) for b in before)  # each counted once
    assert not ensemble.train().training
    ensemble.standardise(ensemble.scores(X, Y, MASK))
    for member, old in zip(members, before, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(bits(member), old, strict=True))


@pytest.mark.parametrize("reduce", ["mean", "min"])
def test_standardising_keeps_the_order_and_gives_mean_0_and_std_1(reduce: str) -> None:
    members = models()
    members[1].model.config.score_shift = 3.0
    ensemble = RewardEnsemble(members, reduce)  # type: ignore[arg-type]
    raw = ensemble.scores(X, Y, MASK)
    ensemble.standardise(raw)
    wanted = (raw - raw.mean()) / raw.std(correction=0)
    assert_close(ensemble.scores(X, Y, MASK), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("reduce", ["mean", "min"])
def test_ppo_trains_on_it_and_leaves_it_as_it_was(reduce: str) -> None:
    actor = tiny_actor()
    members = [RewardModel.from_actor(tiny_actor(), seed=i) for i in range(3)]
    ensemble = RewardEnsemble(members, reduce)  # type: ignore[arg-type]
    before, acted = bits(ensemble), bits(actor)
    reference, critic = Reference.from_actor(actor), Critic.from_reward_model(ensemble)
    config = PPOConfig(**{**QUICK, "iterations": 1, "missing_eos_penalty": 0.0})
    trainer = PPOTrainer(actor, reference, critic, ensemble, PROMPTS, config)
    (step,) = trainer
    rollout = step.rollout
    prompts = Prompts(rollout.prompt_ids, rollout.prompt_mask)
    each = torch.stack(
        [m.scores(prompts, rollout.response_ids, rollout.response_mask) for m in members]
    )
    wanted = each.mean(dim=0) if reduce == "mean" else each.amin(dim=0)
    assert_close(rollout.scores, wanted.detach())
    assert all(torch.equal(a, b) for a, b in zip(bits(ensemble), before, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(bits(actor), acted, strict=True))
    seen = evaluate(actor, reference, ensemble, PROMPTS, max_response_tokens=4)
    assert math.isfinite(seen.score)


def test_a_critic_begins_as_the_first_member() -> None:
    members = models()
    ensemble = RewardEnsemble(members, "min")
    ensemble.standardise(ensemble.scores(X, Y, MASK))
    critic = Critic.from_reward_model(ensemble)
    assert critic.trainable and not ensemble.trainable
    ids = torch.cat([X.prompt_ids, Y[:, :-1]], dim=1)
    first = ensemble.members[0]
    hidden = first.hidden_states(ids, X.prompt_mask)
    wanted = first.read_head(before_each_response_token(hidden, Y.shape[1]))
    assert_close(critic.values(X, Y), wanted)


def test_each_member_is_saved_by_itself(tmp_path: Path) -> None:
    ensemble = RewardEnsemble(models(2), "min")
    ensemble.standardise(ensemble.scores(X, Y, MASK))
    ensemble.save(tmp_path)
    again = [RewardModel.from_pretrained(tmp_path / f"member_{i}", device="cpu") for i in (1, 2)]
    assert_close(RewardEnsemble(again, "min").scores(X, Y, MASK), ensemble.scores(X, Y, MASK))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        RewardEnsemble([])
    with pytest.raises(ValueError, match="reduce must be one of mean, min, got 'max'"):
        RewardEnsemble(models(1), "max")  # type: ignore[arg-type]
    other = models(1)[0]
    other.tokenizer = exact.build_tokenizer()
    with pytest.raises(ValueError, match="different vocabularies"):
        RewardEnsemble([models(1)[0], other])
    for refuse in (
        lambda: RewardEnsemble.from_pretrained(tmp_path),
        lambda: RewardEnsemble.from_actor(tiny_actor()),
    ):
        with pytest.raises(ValueError, match="not one model"):
            refuse()
