"""Three architectures through everything: stages, padding, saving; GPT-2 to the last digit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import (
    EOS,
    PAD,
    PROMPT_IDS,
    RESPONSE_IDS,
    SHAPES,
    Four,
    cut_to,
    four_roles,
    four_trainer,
    longer,
    plain_head_of,
    plain_log_probs,
    ragged,
    same_bits,
    shaped_actor,
    weights,
    wider,
)  # fmt: skip
from tiny_trainers import PAIRS, PROMPTS, SFT_ROWS
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from minirlhf import (
    Actor,
    Critic,
    Prompts,
    Reference,
    RewardModel,
    RewardModelConfig,
    RewardModelTrainer,
    SFTConfig,
    SFTTrainer,
    collect_rollout,
)  # fmt: skip
from minirlhf.batch import Rollout
from minirlhf.online_metrics import UpdateMetrics

# Llama and Qwen2 compute their norms and softmax in float32 whatever the weights are.
EXACT = [
    *[(shape, torch.float32, 1e-5) for shape in SHAPES],
    ("gpt2", torch.float64, 1e-10),
]
Quantity = Callable[[Four, Prompts, Tensor, Tensor], Tensor]
QUANTITIES: dict[str, Quantity] = {
    "log-probs": lambda four, x, y, mask: four.actor.log_probs(x, y, temperature=0.7),
    "reference": lambda four, x, y, mask: four.reference.log_probs(x, y, temperature=0.7),
    "values": lambda four, x, y, mask: four.critic.values(x, y),
    "scores": lambda four, x, y, mask: four.reward_model.scores(x, y, mask),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_all_three_stages_run_and_move_only_what_they_train(shape: str) -> None:
    actor = shaped_actor(shape)
    fresh = weights(actor)
    sft = list(SFTTrainer(actor, SFT_ROWS, SFTConfig(steps=3, batch_size=4)))
    assert not same_bits(fresh, weights(actor))
    settings = RewardModelConfig(
        steps=3, batch_size=4, standardise_samples=8, max_response_tokens=6
    )
    reward_model, trained = RewardModel.from_actor(actor), weights(actor)
    reward = list(RewardModelTrainer(reward_model, PAIRS, settings, sft_actor=actor))
    assert same_bits(trained, weights(actor))
    four = Four(
        actor, Reference.from_actor(actor), Critic.from_reward_model(reward_model), reward_model
    )
    before = [weights(role) for role in four]
    ppo = list(four_trainer(four, PROMPTS, iterations=2, ppo_epochs=2))
    moved = [not same_bits(b, weights(role)) for b, role in zip(before, four, strict=True)]
    assert moved == [True, False, True, False]
    for records in (sft, reward, ppo):
        assert [record.step for record in records] == list(range(1, len(records) + 1))
        numbers = torch.tensor([value for r in records for value in r.metrics.values()])
        assert numbers.isfinite().all()
    assert all(record.metrics["ratio_error_first"] <= 1e-5 for record in ppo)


@pytest.mark.parametrize(("shape", "dtype", "room"), EXACT)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_padding_changes_no_quantity(
    quantity: str, shape: str, dtype: torch.dtype, room: float
) -> None:
    four, (x, y, mask) = four_roles(shape, dtype=dtype), ragged()
    measure = QUANTITIES[quantity]
    wanted = measure(four, x, y, mask).detach()
    assert wanted.dtype == dtype
    for extra in range(6):
        per_token = wanted.dim() == 2
        got = measure(four, wider(x, extra), y, mask).detach()
        assert_close(got[mask] if per_token else got, wanted[mask] if per_token else wanted,
                     rtol=0, atol=room)  # fmt: skip
        got = measure(four, wider(x, 5 - extra), *longer(y, mask, extra)).detach()
        assert_close(got[:, : y.shape[1]][mask] if per_token else got,
                     wanted[mask] if per_token else wanted, rtol=0, atol=room)  # fmt: skip


@pytest.mark.parametrize(("shape", "dtype", "room"), EXACT)
def test_a_row_in_a_batch_is_what_it_is_alone(shape: str, dtype: torch.dtype, room: float) -> None:
    four, (x, y, mask) = four_roles(shape, dtype=dtype), ragged()
    measured = [measure(four, x, y, mask).detach() for measure in QUANTITIES.values()]
    for row, (prompt, response) in enumerate(zip(PROMPT_IDS, RESPONSE_IDS, strict=True)):
        p, n = len(prompt), len(response)
        alone = [
            plain_log_probs(four.actor, row, temperature=0.7),
            plain_log_probs(four.reference, row, temperature=0.7),
            plain_head_of(four.critic, prompt, response)[p - 1 : p - 1 + n],
            plain_head_of(four.reward_model, prompt, response)[p + n - 1],
        ]
        for together, one in zip(measured, alone, strict=True):
            assert_close(together[row, :n] if one.dim() else together[row], one, rtol=0, atol=room)


def losses_and_gradients(four: Four, rollout: Rollout) -> dict[str, Tensor]:
    """What one microbatch adds: both losses, and the gradient of every weight."""
    trainer = four_trainer(four, clip_range=0.05)
    seen = UpdateMetrics(trainer.config)
    with torch.no_grad():  # so that ratios and values are not those of the rollout
        for parameter in [*four.actor.parameters(), *four.critic.parameters()]:
            parameter.mul_(1.01)
    trainer.accumulate(rollout, rollout.advantages, 1.0, seen)
    seen.close_step()
    out = {k: torch.tensor(v, dtype=torch.float64) for k, v in seen.averages().items()}
    named = [*four.actor.named_parameters(), *four.critic.named_parameters()]
    return out | {name: p.grad for name, p in named}


@pytest.mark.parametrize(("shape", "dtype", "room"), EXACT)
def test_padding_changes_no_advantage_loss_or_gradient(
    shape: str, dtype: torch.dtype, room: float
) -> None:
    x = ragged()[0]
    config = four_trainer(four_roles(shape)).config
    plain, padded = (
        collect_rollout(*four_roles(shape, dtype=dtype), wider(x, extra), config)
        for extra in (0, 3)
    )
    mask = plain.response_mask
    assert torch.equal(plain.response_ids, padded.response_ids) and 0 < mask.sum() < mask.numel()
    for name in ("kl", "rewards", "advantages", "returns", "td_target", "entropy"):
        assert_close(getattr(padded, name)[mask], getattr(plain, name)[mask], rtol=0, atol=2 * room)
    wanted = losses_and_gradients(four_roles(shape, dtype=dtype), plain)
    # and whatever stands in the padding of the records
    spoilt = cut_to(padded, padded.lengths.tolist())
    got = losses_and_gradients(four_roles(shape, dtype=dtype), spoilt)
    assert abs(wanted["actor_loss"]) > 1e-3 and wanted["critic_loss"] > 1e-3
    assert_close(got, wanted, rtol=10 * room, atol=10 * room)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_saved_language_model_opens_with_plain_transformers(shape: str, tmp_path: Path) -> None:
    actor, (x, y, _) = shaped_actor(shape), ragged()
    actor.save(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.tensor([PROMPT_IDS[2] + RESPONSE_IDS[2]])
    assert_close(plain(ids).logits, actor.model(ids).logits, rtol=0, atol=1e-5)
    for role in (Actor, Reference):
        again = role.from_pretrained(tmp_path, device="cpu")
        assert torch.equal(again.log_probs(x, y), actor.log_probs(x, y))
        assert (again.tokenizer.pad_token_id, again.tokenizer.eos_token_id) == (PAD, EOS)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_saved_score_is_plain_transformers_logit_minus_the_shift(
    shape: str, tmp_path: Path
) -> None:
    reward_model, (x, y, mask) = four_roles(shape).reward_model, ragged()
    reward_model.standardise(reward_model.scores(x, y, mask))
    ours = reward_model.scores(x, y, mask).detach()
    assert_close(ours.mean(), torch.tensor(0.0), rtol=0, atol=1e-5)
    reward_model.save(tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    shift = plain.config.score_shift
    assert abs(shift) > 0.01
    width = max(len(p + r) for p, r in zip(PROMPT_IDS, RESPONSE_IDS, strict=True))
    rows = [p + r for p, r in zip(PROMPT_IDS, RESPONSE_IDS, strict=True)]
    right = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    with torch.no_grad():
        logits = plain(right, attention_mask=(right != PAD).long()).logits[:, 0]
    assert_close(logits - shift, ours, rtol=0, atol=1e-5)
    assert_close(RewardModel.from_pretrained(tmp_path, device="cpu").scores(x, y, mask).detach(),
                 ours, rtol=0, atol=0)  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_the_critic_begins_as_the_reward_model_read_earlier(shape: str, tmp_path: Path) -> None:
    reward_model, (x, y, mask) = four_roles(shape).reward_model, ragged()
    critic = Critic.from_reward_model(reward_model)
    scores = reward_model.scores(x, y, mask)
    # one more column: what the critic says after the last token is the score
    values = critic.values(x, longer(y, mask, 1)[0])
    assert_close(values[range(4), mask.sum(1)], scores, rtol=0, atol=1e-5)
    prompt_only = reward_model.scores(x, y, torch.zeros_like(mask))
    assert_close(values[:, 0], prompt_only, rtol=0, atol=1e-5)
    critic.save(tmp_path)
    again = Critic.from_pretrained(tmp_path, device="cpu")
    assert torch.equal(again.values(x, y), critic.values(x, y))
