"""Parity with DeepSpeed-Chat: where its formulas are ours, and by how much they differ elsewhere.

| step                         | DeepSpeed-Chat                      | here                       |
|------------------------------|-------------------------------------|----------------------------|
| KL in the reward             | −β·(log π − log π_ref)              | the same (k1)              |
| rewards, full-length answers | clipped score on the last slot      | the same                   |
| GAE, full-length answers     | γ = 1, λ = 0.95                     | the same                   |
| actor and critic loss        | clipped, mean over counted tokens   | the same                   |
| score of a shorter answer    | one slot after the last counted one | on the last counted one    |
| advantages in the actor loss | raw                                 | whitened first (trainer)   |
| counted tokens               | ids ≠ pad: no EOS if pad is EOS     | from lengths: EOS included |

The functions below re-derive DeepSpeed-Chat's arithmetic (step 3, `ppo_trainer.py`) with plain
numbers, one sequence at a time, on its own axis: P prompt slots, then A answer slots, everything
read at the slot before the token. They share no code with the package.
"""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import RaggedBatch, make_batch, mask_of
from torch import Tensor

from minirlhf import actor_loss, critic_loss, gae, masked_whiten, per_token_kl, per_token_rewards

BETA, SCORE_CLIP, EPSILON, VALUE_EPSILON, GAMMA, LAM = 0.1, 5.0, 0.2, 0.2, 1.0, 0.95
PROMPT = 3  # prompt slots; the answer's first token is predicted at slot PROMPT − 1


@dataclass
class Recorded:
    """One sequence as DeepSpeed-Chat keeps it: T − 1 numbers each, slot s about token s + 1."""

    log_probs: list[float]
    ref_log_probs: list[float]
    values: list[float]
    counted: list[int]  # 1 where token s + 1 is not padding, prompt included
    score: float


def their_rewards(seq: Recorded) -> tuple[list[float], int]:
    """Rewards of all slots, and where the answer "ends": one past the slot that gets the score."""
    start = PROMPT - 1
    rewards = [-BETA * (a - b) for a, b in zip(seq.log_probs, seq.ref_log_probs, strict=True)]
    end = start + sum(seq.counted[start:]) + 1
    score_slot = min(end, len(rewards)) - 1
    rewards[score_slot] += max(-SCORE_CLIP, min(SCORE_CLIP, seq.score))
    return rewards, end


def their_advantages(seq: Recorded) -> tuple[list[float], list[float]]:
    """GAE over the answer slots, rewards and values being zero from `end` on; nothing whitened."""
    start = PROMPT - 1
    rewards, end = their_rewards(seq)
    rewards = [r if s < end else 0.0 for s, r in enumerate(rewards)]
    values = [v if s < end else 0.0 for s, v in enumerate(seq.values)]
    running, backwards = 0.0, []
    for s in range(len(rewards) - 1, start - 1, -1):
        ahead = values[s + 1] if s + 1 < len(values) else 0.0
        running = rewards[s] + GAMMA * ahead - values[s] + GAMMA * LAM * running
        backwards.append(running)
    advantages = backwards[::-1]
    return advantages, [a + v for a, v in zip(advantages, values[start:], strict=True)]


Rows = list[list[float]]


def their_actor_loss(new: Rows, old: Rows, advantages: Rows, counted: Rows) -> float:
    total = 0.0
    for row in zip(new, old, advantages, counted, strict=True):
        for lp, lp_old, advantage, m in zip(*row, strict=True):
            ratio = math.exp((lp - lp_old) * m)
            held = min(max(ratio, 1 - EPSILON), 1 + EPSILON)
            total += max(-advantage * ratio, -advantage * held) * m
    return total / sum(map(sum, counted))


def their_critic_loss(new: Rows, old: Rows, returns: Rows, counted: Rows) -> float:
    total = 0.0
    for row in zip(new, old, returns, counted, strict=True):
        for v, v_old, goal, m in zip(*row, strict=True):
            held = min(max(v, v_old - VALUE_EPSILON), v_old + VALUE_EPSILON)
            total += max((v - goal) ** 2, (held - goal) ** 2) * m
    return 0.5 * total / sum(map(sum, counted))


def plain(*tensors: Tensor) -> list[Rows]:
    return [x.double().tolist() for x in tensors]


def our_rewards(batch: RaggedBatch) -> Tensor:
    kl = per_token_kl(batch.log_probs, batch.ref_log_probs)
    return per_token_rewards(
        batch.scores, kl, batch.response_mask, kl_coef=BETA, score_clip=SCORE_CLIP
    )


def sequences(batch: RaggedBatch, counted: Tensor) -> list[Recorded]:
    """Put the answers behind PROMPT − 1 prompt slots, whose junk must not matter."""
    junk = [13.0] * (PROMPT - 1)
    return [
        Recorded(
            log_probs=junk + batch.log_probs[row].tolist(),
            ref_log_probs=[-7.0 * x for x in junk] + batch.ref_log_probs[row].tolist(),
            values=junk + batch.values[row].tolist(),
            counted=[1] * (PROMPT - 1) + counted[row].int().tolist(),
            score=batch.scores[row].item(),
        )
        for row in range(len(batch.lengths))
    ]


@given(seed=st.integers(0, 9999), rows=st.integers(1, 3), width=st.integers(1, 6))
def test_full_length_rewards_and_gae_are_the_same(seed: int, rows: int, width: int) -> None:
    batch = make_batch([width] * rows, width, seed=seed)
    rewards = our_rewards(batch)
    advantages, returns = gae(rewards, batch.values, batch.response_mask, gamma=GAMMA, lam=LAM)
    for row, sequence in enumerate(sequences(batch, batch.response_mask)):
        assert rewards[row].tolist() == pytest.approx(their_rewards(sequence)[0][PROMPT - 1 :])
        theirs = their_advantages(sequence)
        assert advantages[row].tolist() == pytest.approx(theirs[0], abs=1e-12)
        assert returns[row].tolist() == pytest.approx(theirs[1], abs=1e-12)


@given(seed=st.integers(0, 9999), lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_both_losses_are_the_same_on_the_same_tensors(seed: int, lengths: list[int]) -> None:
    batch = make_batch([*lengths, 2], 6, seed=seed)
    mask = batch.response_mask
    inputs = (batch.log_probs, batch.old_log_probs, batch.advantages, mask)
    assert actor_loss(*inputs).item() == pytest.approx(their_actor_loss(*plain(*inputs)))
    inputs = (batch.values, batch.old_values, batch.targets, mask)
    assert critic_loss(*inputs).item() == pytest.approx(their_critic_loss(*plain(*inputs)))


@pytest.mark.parametrize("length", [1, 3, 4])
def test_their_score_comes_one_slot_later_when_the_answer_is_shorter(length: int) -> None:
    """Distinct pad: theirs lands on the first pad, and pays that pad's KL too."""
    batch = make_batch([length], 5, seed=length)
    ours = our_rewards(batch)[0]
    (sequence,) = sequences(batch, batch.response_mask)
    theirs = their_rewards(sequence)[0][PROMPT - 1 :]
    score = max(-SCORE_CLIP, min(SCORE_CLIP, sequence.score))
    pad_kl = (batch.log_probs - batch.ref_log_probs)[0, length].item()
    assert ours[:length].sum().item() == pytest.approx(sum(theirs[:length]) + score)
    assert theirs[length - 1] == pytest.approx(ours[length - 1].item() - score)
    assert theirs[length] == pytest.approx(score - BETA * pad_kl)
    assert sum(theirs[: length + 1]) == pytest.approx(ours.sum().item() - BETA * pad_kl)


def test_the_later_slot_costs_a_factor_lambda_of_credit() -> None:
    """No KL, a critic of zeros, score 1: the last action's advantage is 0.95 there and 1 here."""
    zeros = [0.0] * 5
    sequence = Recorded([0.0] * 7, [0.0] * 7, [0.0] * 7, [1, 1, 1, 1, 1, 0, 0], 1.0)
    theirs = their_advantages(sequence)[0]
    rewards = per_token_rewards(
        torch.ones(1), torch.tensor([zeros]), mask_of([3], 5), kl_coef=BETA, score_clip=SCORE_CLIP
    )
    ours, _ = gae(rewards, torch.tensor([zeros]), mask_of([3], 5), gamma=GAMMA, lam=LAM)
    assert ours[0, :3].tolist() == pytest.approx([LAM**2, LAM, 1.0])
    assert theirs[:3] == pytest.approx([LAM**3, LAM**2, LAM])


def test_without_whitening_the_first_loss_is_minus_the_mean_advantage_and_with_it_zero() -> None:
    batch = make_batch([4, 2, 3], 4, seed=5)
    mask, lp = batch.response_mask, batch.log_probs
    raw = batch.advantages + 2.0
    mean, deviation = raw[mask].mean().item(), raw[mask].std(correction=0).item()
    assert their_actor_loss(*plain(lp, lp, raw, mask)) == pytest.approx(-mean)
    white = masked_whiten(raw, mask)
    assert actor_loss(lp, lp.clone(), white, mask).item() == pytest.approx(0.0, abs=1e-9)
    # Per token the two differ by exactly (Â − mean) / standard deviation.
    standardised = ((raw[mask] - mean) / deviation).tolist()
    assert white[mask].tolist() == pytest.approx(standardised, rel=1e-6)


@pytest.mark.parametrize("length", [2, 4, 5])
def test_with_pad_as_eos_their_score_is_in_our_slot_but_the_eos_is_left_out(length: int) -> None:
    """ids ≠ pad drops the EOS: L − 1 counted tokens, and the slot after them is the EOS itself."""
    batch = make_batch([length], 5, seed=length)
    without_eos = mask_of([length - 1], 5)
    (sequence,) = sequences(batch, without_eos)
    theirs = their_rewards(sequence)[0][PROMPT - 1 :]
    assert theirs[:length] == pytest.approx(our_rewards(batch)[0, :length].tolist())

    inputs = (batch.log_probs, batch.old_log_probs, batch.advantages)
    loss = actor_loss(*inputs, batch.response_mask).item()
    eos_term = their_actor_loss(*plain(*inputs, batch.response_mask & ~without_eos))
    their_loss = their_actor_loss(*plain(*inputs, without_eos))
    # Σ over our L tokens = Σ over their L − 1 tokens + the EOS term that they leave out
    assert loss * length == pytest.approx(their_loss * (length - 1) + eos_term)


def test_the_eos_gets_policy_gradient_here_and_none_with_pad_as_eos() -> None:
    for mask, learns in ((mask_of([3], 3), True), (mask_of([2], 3), False)):
        lp = torch.full((1, 3), -1.0, requires_grad=True)
        actor_loss(lp, lp.detach().clone(), torch.ones(1, 3), mask).backward()
        assert lp.grad is not None
        assert (lp.grad[0, 2].item() != 0.0) is learns
