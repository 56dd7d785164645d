"""DPO: its loss by hand and at its optimum, and whole steps written out one row at a time."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import RaggedBatch, assert_same, mask_of, ragged_batches
from tiny_models import EOS, TOKENIZER, four_roles, plain_log_probs_of, same_bits, weights
from tiny_trainers import PAIRS, PROMPTS, dpo_trainer, tiny_actor
from torch import Tensor
from torch.testing import assert_close

from minirlhf import (
    METRICS,
    DPOConfig,
    DPOTrainer,
    Reference,
    dpo_loss,
    implicit_rewards,
    preference_loss,
)
from minirlhf.data import batch_rows
from minirlhf.trainer import warmup_cosine

NAN = math.nan


def rewards_of(b: RaggedBatch, kl_coef: float = 0.3) -> Tensor:
    return implicit_rewards(b.log_probs, b.ref_log_probs, b.response_mask, kl_coef=kl_coef)


# ------------------------------------------------------------------------- the formulas


def test_implicit_rewards_by_hand() -> None:
    """Sums over counted tokens, not means: 0.5·(0.5 − 1), 0.5·2, and nothing at all."""
    log_probs = torch.tensor([[-1.0, -2.0], [-1.0, NAN], [NAN, NAN]])
    reference = torch.tensor([[-1.5, -1.0], [-3.0, NAN], [NAN, NAN]])
    got = implicit_rewards(log_probs, reference, mask_of([2, 1, 0], 2), kl_coef=0.5)
    assert got.tolist() == [-0.25, 1.0, 0.0]


def test_the_loss_by_hand() -> None:
    chosen, rejected = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    wanted = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2
    assert float(dpo_loss(chosen, rejected)) == pytest.approx(wanted)
    assert float(dpo_loss(torch.zeros(3), torch.zeros(3))) == pytest.approx(math.log(2))
    far = torch.tensor([1e4], requires_grad=True)
    loss = dpo_loss(-far, far)
    loss.backward()
    assert loss.item() == 2e4 and far.grad is not None and far.grad.isfinite().all()


@given(batch=ragged_batches(min_tokens=1), poison=st.sampled_from([NAN, math.inf, 1e30]))
def test_only_counted_tokens_and_only_the_actor_learn(batch: RaggedBatch, poison: float) -> None:
    """∂r/∂log π_t is β where counted and 0 elsewhere; junk and more columns change nothing."""
    spoilt = batch.with_more_columns(2, poison).poisoned(poison)
    spoilt.log_probs.requires_grad_(True)
    spoilt.ref_log_probs.requires_grad_(True)
    got = rewards_of(spoilt)
    assert_same(got.detach(), rewards_of(batch), dtype=batch.log_probs.dtype)
    got.sum().backward()
    assert spoilt.log_probs.grad is not None and spoilt.ref_log_probs.grad is None
    slope = 0.3 * spoilt.response_mask.double()
    assert_same(spoilt.log_probs.grad, slope, dtype=batch.log_probs.dtype)


@given(batch=ragged_batches(dtypes=(torch.float64,)), data=st.data())
def test_rows_are_alone_and_their_order_is_free(batch: RaggedBatch, data: st.DataObject) -> None:
    whole = rewards_of(batch)
    order = data.draw(st.permutations(range(len(whole))))
    assert_close(rewards_of(batch.rows(order)), whole[order])
    for row, n in enumerate(batch.lengths):
        difference = batch.log_probs[row, :n] - batch.ref_log_probs[row, :n]
        assert float(whole[row]) == pytest.approx(0.3 * sum(difference.tolist()))
    shifted = dpo_loss(whole + 7.0, whole.flip(0) + 7.0)  # a constant of the prompt cancels
    assert_close(shifted, dpo_loss(whole, whole.flip(0)))
    assert_close(shifted, preference_loss(whole, whole.flip(0)))


@pytest.mark.parametrize("kl_coef", [0.1, 1.0])
def test_the_optimum_is_that_of_reward_minus_beta_kl(kl_coef: float) -> None:
    """All pairs of four one-token answers, chosen by Bradley–Terry on r: ∇loss is 0 at π*."""
    r = torch.tensor([0.4, -0.3, 0.1, 0.0], dtype=torch.float64)
    ref = torch.tensor([0.2, 1.0, -0.5, 0.0], dtype=torch.float64).log_softmax(0)
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    winners, losers = torch.tensor(pairs).T
    chance = torch.sigmoid(r[winners] - r[losers])

    def slope(log_pi: Tensor) -> Tensor:
        logits = log_pi.clone().requires_grad_(True)
        mask = torch.ones(4, 1, dtype=torch.bool)
        log_probs = logits.log_softmax(0)
        rewards = implicit_rewards(log_probs[:, None], ref[:, None], mask, kl_coef=kl_coef)
        one_by_one = [
            dpo_loss(rewards[i : i + 1], rewards[j : j + 1])
            for i, j in zip(winners.tolist(), losers.tolist(), strict=True)
        ]
        return torch.autograd.grad((chance * torch.stack(one_by_one)).sum(), logits)[0]

    optimum = (ref + r / kl_coef).log_softmax(0)
    assert_close(slope(optimum), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-14)
    assert slope(ref).abs().max() > 0.01 * kl_coef


# ------------------------------------------------------------------------- the trainer


def ids(text: str) -> list[int]:
    return TOKENIZER(text)["input_ids"]


def plain_rewards(
    actor: torch.nn.Module, reference: Reference, row: dict[str, str], side: str, kl_coef: float
) -> Tensor:
    """β·Σ(log π − log π_ref) of one response, alone and unpadded, with gradient."""
    prompt, response = ids(row["prompt"]), [*ids(row[side]), EOS]
    before = slice(len(prompt) - 1, -1)
    log_pi = actor(torch.tensor([prompt + response])).logits[0].log_softmax(-1)[before]
    log_probs = log_pi[range(len(response)), response]
    return kl_coef * (log_probs - plain_log_probs_of(reference, prompt, response)).sum()


def test_steps_equal_the_whole_of_them_written_out() -> None:
    """Three steps on ragged pairs in float64; Reference and Actor differ from the start."""
    four = four_roles(dtype=torch.float64)
    rows = [
        {"prompt": "the :", "chosen": "the soup was warm .", "rejected": "the soup ."},
        {"prompt": PROMPTS[2], "chosen": "the waiter was kind and warm .", "rejected": "the the"},
        {"prompt": PROMPTS[0], "chosen": "the soup", "rejected": "the soup was cold ."},
        {"prompt": PROMPTS[1], "chosen": "kind", "rejected": "rude and cold ."},
        {"prompt": PROMPTS[1], "chosen": "warm .", "rejected": "rude ."},
    ]
    config = DPOConfig(steps=3, batch_size=3, lr=0.01, kl_coef=0.4, grad_clip=0.5, held_out=0.2)
    trainer = DPOTrainer(four.actor, four.reference, rows, config)
    plain = copy.deepcopy(four.actor)
    optimizer = torch.optim.AdamW(
        plain.parameters(), betas=(0.9, 0.95), weight_decay=0.0, foreach=False
    )
    for step, record in enumerate(trainer):
        numbers = [trainer._train[i] for i in batch_rows(4, 3, seed=0, batch=step)]
        chosen, rejected = (
            torch.stack([plain_rewards(plain.model, four.reference, rows[i], side, 0.4)
                         for i in numbers])
            for side in ("chosen", "rejected")
        )  # fmt: skip
        loss = (1 + (rejected - chosen).exp()).log().sum() / 3
        optimizer.zero_grad()
        loss.backward()
        norm = float(sum(p.grad.square().sum() for p in plain.parameters()).sqrt())
        for p in plain.parameters():
            p.grad.mul_(min(1.0, 0.5 / (norm + 1e-6)))
        for group in optimizer.param_groups:
            group["lr"] = warmup_cosine(step, 3, 0.01)
        optimizer.step()
        wanted = {
            "dpo_loss": loss.item(),
            "accuracy": float((chosen > rejected).double().mean()),
            "reward_margin": (chosen - rejected).mean().item(),
            "chosen_reward": chosen.mean().item(),
            "rejected_reward": rejected.mean().item(),
            "grad_norm": norm,
            "lr": warmup_cosine(step, 3, 0.01),
        }
        for name, value in wanted.items():
            assert record.metrics[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
    assert_close(weights(four.actor), weights(plain), rtol=0, atol=1e-9)
    (held_out,) = trainer._held_out
    last = [plain_rewards(plain.model, four.reference, rows[held_out], side, 0.4)
            for side in ("chosen", "rejected")]  # fmt: skip
    assert record.metrics["held_out_accuracy"] == float(last[0] > last[1])
    assert record.metrics.keys() <= METRICS.keys()


def test_it_begins_at_log_2_and_trains_the_actor_alone() -> None:
    trainer = dpo_trainer(lr=0.01)
    trainer.reference.requires_grad_(True)
    trainer = DPOTrainer(trainer.actor, trainer.reference, PAIRS, trainer.config)
    before = weights(trainer.actor), weights(trainer.reference)
    records = list(trainer)
    first, last = records[0].metrics, records[-1].metrics
    assert first["dpo_loss"] == pytest.approx(math.log(2)) and first["reward_margin"] == 0.0
    assert first["accuracy"] == 0.0  # equal is not higher
    assert last["dpo_loss"] < 0.6 and last["reward_margin"] > 0.2
    assert [(r.stage, r.step, r.total) for r in records] == [("dpo", n, 6) for n in range(1, 7)]
    assert ["held_out_accuracy" in r.metrics for r in records] == [False] * 5 + [True]
    assert not same_bits(before[0], weights(trainer.actor))
    assert same_bits(before[1], weights(trainer.reference))
    assert not any(p.requires_grad for p in trainer.reference.parameters())
    assert trainer.roles == {"actor": trainer.actor}


def test_it_learns_a_simple_preference_and_its_opposite() -> None:
    """Warm is better than cold, whatever is warm; seen on dishes that were held out."""
    rows = [
        {"prompt": prompt, "chosen": f"the {dish} was warm .", "rejected": f"the {dish} was cold ."}
        for prompt in PROMPTS
        for dish in ("soup", "pasta", "bread", "tea", "cake")
    ]
    swapped = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    leads = []
    for taught in (rows, swapped):
        actor = tiny_actor()
        config = DPOConfig(steps=30, batch_size=12, lr=1e-2, held_out=0.2)
        records = list(DPOTrainer(actor, Reference.from_actor(actor), taught, config))
        assert records[-1].metrics["held_out_accuracy"] == 1.0
        warm, cold = (
            float(plain_log_probs_of(actor, ids(PROMPTS[0]), [*ids(f"the soup was {w} ."), EOS])[3])
            for w in ("warm", "cold")
        )
        leads.append(warm - cold)
    assert leads[0] > leads[1] + 2.0


def test_rows_may_be_token_ids_and_then_have_no_end() -> None:
    """A response that was cut is compared as it is."""
    actor = tiny_actor()
    texts = dpo_trainer()
    rows = [
        {side: [*ids(text), *([EOS] if side != "prompt" else [])] for side, text in row.items()}
        for row in PAIRS
    ]
    same = DPOTrainer(actor, Reference.from_actor(actor), rows, texts.config)
    assert [r.metrics["dpo_loss"] for r in same] == [r.metrics["dpo_loss"] for r in texts]
    cut = [{**row, "chosen": row["chosen"][:-1]} for row in rows]
    trainer = DPOTrainer(actor, Reference.from_actor(actor), cut, texts.config)
    _, y, mask = trainer.read_pairs([0, 1])
    assert [EOS in ids[m] for ids, m in zip(y, mask, strict=True)] == [False, False, True, True]


def test_what_dpo_refuses() -> None:
    actor = tiny_actor()
    reference = Reference.from_actor(actor)
    with pytest.raises(ValueError, match="got 1 pairs, wanted at least 2"):
        DPOTrainer(actor, reference, PAIRS[:1])
    long = [*PAIRS, {**PAIRS[0], "rejected": "the " * 64}]
    with pytest.raises(ValueError, match="prompt 10 has 4 tokens; with a response of 65"):
        DPOTrainer(actor, reference, long)
    with pytest.raises(ValueError, match="kl_coef must be a finite number > 0, got 0"):
        DPOConfig(kl_coef=0)
