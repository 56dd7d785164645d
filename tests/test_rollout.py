"""Every field of a rollout against plain arithmetic, one row at a time; rows ended, and cut."""

from dataclasses import fields, replace

import pytest
import torch
from tiny_models import (
    EOS,
    PROMPT_IDS,
    TOKENIZER,
    Four,
    four_roles,
    plain_head_of,
    plain_log_probs_of,
    ragged,
)  # fmt: skip
from torch import Tensor
from torch.testing import assert_close

from minirlhf import PPOConfig, Rollout, actor_loss, collect_rollout
from minirlhf.masks import masked_whiten

CONFIG = PPOConfig(
    temperature=0.8, kl_coef=0.3, gamma=0.9, lam=0.7, score_clip=1.5, missing_eos_penalty=0.6,
    max_response_tokens=8, seed=33,
)  # fmt: skip


def collect(
    four: Four | None = None, *, dtype: torch.dtype = torch.float64, **settings: object
) -> Rollout:
    four = four or four_roles(dtype=dtype, spread=2)
    return collect_rollout(*four, ragged()[0], replace(CONFIG, **settings))


def rows(rollout: Rollout) -> list[tuple[int, list[int], list[int]]]:
    """(row, prompt, response) of each row, unpadded."""
    masks = rollout.response_mask
    return [(i, p, rollout.response_ids[i][masks[i]].tolist()) for i, p in enumerate(PROMPT_IDS)]


def test_the_rows_are_of_all_kinds() -> None:
    """What the other tests rely on: ended and cut rows, short and full, scores on both sides."""
    rollout = collect()
    assert set(rollout.ended.tolist()) == {True, False}
    assert len(set(rollout.lengths.tolist())) > 2 and rollout.lengths.max() == 8
    for i, _, response in rows(rollout):
        assert (response[-1] == EOS) == rollout.ended[i] and EOS not in response[:-1]
    clipped = rollout.scores.abs() > CONFIG.score_clip
    assert set(clipped.tolist()) == {True, False}


def test_the_three_readers_read_what_the_actor_wrote() -> None:
    four, rollout = four_roles(dtype=torch.float64, spread=2), collect()
    for i, prompt, response in rows(rollout):
        n, p = len(response), len(prompt)
        one = {
            "old_log_probs": plain_log_probs_of(four.actor, prompt, response, 0.8),
            "ref_log_probs": plain_log_probs_of(four.reference, prompt, response, 0.8),
            "old_values": plain_head_of(four.critic, prompt, response)[p - 1 : p - 1 + n],
        }
        for name, wanted in one.items():
            assert_close(getattr(rollout, name)[i, :n], wanted, rtol=0, atol=1e-10)
        score = plain_head_of(four.reward_model, prompt, response)[-1]
        penalty = 0.0 if response[-1] == EOS else 0.6
        assert_close(rollout.scores[i], score - penalty, rtol=0, atol=1e-10)


def test_what_follows_from_them() -> None:
    """k1, R_t, V_{t+1}, δ_t, Â_t and the two targets, by loops over numbers."""
    rollout = collect()
    for i, _, response in rows(rollout):
        n = len(response)
        lp, ref, v = (
            x[i, :n].tolist()
            for x in (rollout.old_log_probs, rollout.ref_log_probs, rollout.old_values)
        )
        score = max(-1.5, min(1.5, float(rollout.scores[i])))
        reward = [-0.3 * (lp[t] - ref[t]) + score * (t == n - 1) for t in range(n)]
        following = [*v[1:], 0.0]
        delta = [reward[t] + 0.9 * following[t] - v[t] for t in range(n)]
        advantage = [sum((0.9 * 0.7) ** (s - t) * delta[s] for s in range(t, n)) for t in range(n)]
        wanted = {
            "kl": [lp[t] - ref[t] for t in range(n)],
            "rewards": reward,
            "td_target": [reward[t] + 0.9 * following[t] for t in range(n)],
            "advantages": advantage,
            "returns": [advantage[t] + v[t] for t in range(n)],
        }
        for name, numbers in wanted.items():
            got = getattr(rollout, name)
            assert_close(got[i, :n], torch.tensor(numbers, dtype=torch.float64))
            assert name == "kl" or not got[i, n:].any()


@pytest.mark.parametrize("kl_coef", [0.0, 0.05, 2.0])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("clip", [None, 1.5])
def test_the_rewards_of_a_row_add_up(kl_coef: float, estimator: str, clip: float | None) -> None:
    rollout = collect(kl_coef=kl_coef, kl_estimator=estimator, score_clip=clip)
    kl = torch.where(rollout.response_mask, rollout.kl, 0.0).sum(1)
    clip = clip or torch.inf
    wanted = rollout.scores.clamp(-clip, clip) - kl_coef * kl
    assert_close(rollout.rewards.sum(1), wanted, rtol=0, atol=1e-10)
    log_ratio = rollout.old_log_probs - rollout.ref_log_probs
    by_name = {"k1": log_ratio, "k2": log_ratio**2 / 2, "k3": torch.expm1(-log_ratio) + log_ratio}
    assert_close(rollout.kl, by_name[estimator])


def test_the_penalty_for_a_missing_eos_comes_before_the_clip() -> None:
    four = four_roles(dtype=torch.float64, spread=40)
    rollout = collect(four, kl_coef=0.0, missing_eos_penalty=100.0)
    cut = ~rollout.ended
    assert cut.any() and rollout.ended.any()
    assert_close(rollout.rewards[cut].sum(1), torch.full((int(cut.sum()),), -1.5).double())
    free = collect(four, kl_coef=0.0, missing_eos_penalty=0.0)
    assert_close(rollout.scores, free.scores - 100.0 * cut)
    assert torch.equal(rollout.rewards[~cut], free.rewards[~cut])
    assert not torch.equal(rollout.rewards[cut], free.rewards[cut])  # one was above −1.5


def test_an_adapted_kl_coef_replaces_the_configured_one() -> None:
    four = four_roles(dtype=torch.float64)
    ours = collect_rollout(*four, ragged()[0], CONFIG, kl_coef=0.0)
    assert_close(ours.rewards, collect(four, kl_coef=0.0).rewards)
    assert not torch.allclose(ours.rewards, collect(four).rewards)


def test_the_entropy_is_that_of_the_distribution_that_was_sampled() -> None:
    four, rollout = four_roles(dtype=torch.float64, spread=2), collect()
    for i, prompt, response in rows(rollout):
        with torch.no_grad():
            logits = four.actor.model(torch.tensor([prompt + response])).logits[0] / 0.8
        p, n = len(prompt), len(response)
        log_pi = logits[p - 1 : p - 1 + n].log_softmax(-1)
        assert_close(rollout.entropy[i, :n], -(log_pi.exp() * log_pi).sum(-1))


def test_nothing_in_a_rollout_has_a_gradient() -> None:
    rollout = collect()
    tensors = [getattr(rollout, f.name) for f in fields(rollout)]
    assert not any(x.requires_grad for x in tensors if isinstance(x, Tensor))


def test_seed_and_iteration_decide_the_samples() -> None:
    four, x = four_roles(), ragged()[0]

    def ids(**change: int) -> list[list[int]]:
        config = replace(CONFIG, seed=change.pop("seed", 33))
        return collect_rollout(*four, x, config, **change).response_ids.tolist()

    assert ids() == ids() == ids(iteration=0)
    different = [ids(), ids(iteration=1), ids(iteration=2), ids(seed=4)]
    assert len({str(one) for one in different}) == 4


def test_alternatives_are_recorded_on_request() -> None:
    four, x = four_roles(), ragged()[0]
    assert collect(four).top_ids is None
    rollout = collect_rollout(*four, x, CONFIG, alternatives=len(TOKENIZER))
    assert rollout.top_ids is not None and rollout.top_log_probs is not None
    drawn = (rollout.top_ids == rollout.response_ids[:, :, None]) & rollout.response_mask[..., None]
    assert_close(
        rollout.top_log_probs[drawn], rollout.old_log_probs[rollout.response_mask],
        rtol=0, atol=1e-5,
    )  # fmt: skip
    one = rollout.select(torch.tensor([2, 0]))
    assert torch.equal(one.top_ids, rollout.top_ids[[2, 0]])
    assert one.lengths.tolist() == rollout.lengths[[2, 0]].tolist()


def test_the_first_ratio_is_1_and_the_eos_gets_a_gradient() -> None:
    """pad ≠ EOS and a mask from lengths: the policy is paid for stopping, too."""
    four = four_roles()
    rollout = collect(four)
    mask = rollout.response_mask
    prompts = ragged()[0]
    log_probs = four.actor.log_probs(prompts, rollout.response_ids, temperature=0.8)
    assert ((log_probs - rollout.old_log_probs).exp()[mask] - 1).abs().max() <= 1e-5
    log_probs.retain_grad()
    advantages = masked_whiten(rollout.advantages, mask)
    actor_loss(log_probs, rollout.old_log_probs, advantages, mask).backward()
    is_eos = (rollout.response_ids == EOS) & mask
    assert is_eos.sum() == rollout.ended.sum() > 0
    assert_close(log_probs.grad[is_eos], -advantages[is_eos] / mask.sum(), rtol=1e-4, atol=1e-7)
    assert (log_probs.grad[is_eos] != 0).all() and not log_probs.grad[~mask].any()


def test_bfloat16_computes_in_half_and_records_in_float32() -> None:
    four = four_roles()
    rollout, exact = (collect(four, precision=name) for name in ("bfloat16", "float32"))
    for field in fields(rollout):
        x = getattr(rollout, field.name)
        assert x is None or not x.is_floating_point() or x.dtype == torch.float32, field.name
    same = (rollout.response_ids[:, 0] == exact.response_ids[:, 0]).nonzero()[:, 0]
    difference = (rollout.old_values[same, 0] - exact.old_values[same, 0]).abs().max()
    assert 0 < difference < 0.1  # half precision was really used
