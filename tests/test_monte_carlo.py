"""Monte Carlo truth against the same continuations by plain loops, and against enumeration."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tiny_models import (
    EOS,
    PAD,
    PROMPT_IDS,
    RESPONSE_IDS,
    SHAPES,
    TOKENIZER,
    Four,
    four_roles,
    longer,
    plain_head_of,
    plain_log_probs_of,
    ragged,
    wider,
)  # fmt: skip
from torch import Tensor
from torch.testing import assert_close

from minirlhf import PPOConfig, Prompts, RewardModel, collect_rollout, continuations, monte_carlo
from minirlhf.data import pad_prompts, pad_responses
from minirlhf.monte_carlo import MonteCarloValues, monte_carlo_gold, monte_carlo_values
from minirlhf.noise import MONTE_CARLO, SAMPLING, key, uniform_noise

CONFIG = PPOConfig(
    temperature=0.8, kl_coef=0.3, gamma=0.9, score_clip=1.5, missing_eos_penalty=0.6,
    max_response_tokens=7, seed=33,
)  # fmt: skip
N = 6


def truth(four: Four, config: PPOConfig = CONFIG, **options: object) -> MonteCarloValues:
    actor, reference, _, reward_model = four
    options = {"n": N, "seed": 3, **options}
    return monte_carlo_values(actor, reference, reward_model, *ragged(), config, **options)


# ----------------------------------------------------------------- the same by plain loops


@torch.no_grad()
def plain_continuation(four: Four, text: list[int], noise: Tensor, config: PPOConfig) -> list[int]:
    """Read the whole text again for each token, and walk along the probabilities."""
    tokens: list[int] = []
    for u in noise.tolist():
        logits = four.actor.model(torch.tensor([text + tokens])).logits[0, -1]
        cumulative = (logits / config.temperature).softmax(-1).double().cumsum(0).tolist()
        token = next(v for v, total in enumerate(cumulative) if total > u)
        tokens.append(token)
        if token == EOS:
            break
    return tokens


def plain_toll(kind: str, log_ratio: float) -> float:
    by_kind = {
        "k1": log_ratio,
        "k2": log_ratio**2 / 2,
        "k3": torch.tensor(-log_ratio).double().exp().item() - 1 + log_ratio,
    }
    return by_kind[kind]


def plain_return(
    four: Four, prompt: list[int], prefix: list[int], tokens: list[int], config: PPOConfig
) -> float:
    """Σ_k γ^k·R_{t+k}, where the score comes with the last token."""
    text, t = prefix + tokens, len(prefix)
    log_probs, ref = (
        plain_log_probs_of(role, prompt, text, config.temperature)[t:].tolist()
        for role in (four.actor, four.reference)
    )
    score = float(plain_head_of(four.reward_model, prompt, text)[-1])
    score -= 0.0 if tokens[-1] == EOS else config.missing_eos_penalty
    clip = config.score_clip or torch.inf
    score = max(-clip, min(clip, score))
    total = config.gamma ** (len(tokens) - 1) * score
    for k in range(len(tokens)):
        toll = plain_toll(config.kl_estimator, log_probs[k] - ref[k])
        total -= config.gamma**k * config.kl_coef * toll
    return total


def prefixes() -> Iterator[tuple[int, int]]:
    """(row, t) of every state of `ragged()`."""
    return ((b, t) for b, response in enumerate(RESPONSE_IDS) for t in range(len(response)))


def plain_samples(four: Four, config: PPOConfig) -> dict[tuple[int, int], list[list[int]]]:
    """The N continuations of every prefix."""
    samples = {}
    for b, t in prefixes():
        left = config.max_response_tokens - t
        noise = uniform_noise(3, MONTE_CARLO, key(b, t), rows=N, steps=left)
        text = PROMPT_IDS[b] + RESPONSE_IDS[b][:t]
        samples[b, t] = [plain_continuation(four, text, noise[i], config) for i in range(N)]
    return samples


SETTINGS = {
    "gpt2": {},
    "llama": {"gamma": 1.0, "kl_estimator": "k3", "score_clip": None, "temperature": 1.0},
    "qwen2": {"kl_estimator": "k2", "missing_eos_penalty": 0.0},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_mean_return_of_the_continuations_with_its_error(shape: str) -> None:
    """All at once: toll, clip, penalty, discount, temperature, the cache, and the formulas.

    Llama's attention computes its softmax in float32 whatever its weights are.
    """
    four = four_roles(shape, dtype=torch.float64, spread=2)
    config = replace(CONFIG, **SETTINGS[shape])
    got = truth(four, config)
    assert got.values.shape == got.errors.shape == (4, 7) and got.n == N
    for (b, t), some in plain_samples(four, config).items():
        assert all(len(one) <= 7 - t for one in some)
        returns = [
            plain_return(four, PROMPT_IDS[b], RESPONSE_IDS[b][:t], one, config) for one in some
        ]
        mean = sum(returns) / N
        variance = sum((x - mean) ** 2 for x in returns) / (N - 1)
        assert_close(got.values[b, t].item(), mean, rtol=0, atol=1e-6)
        assert_close(got.errors[b, t].item(), (variance / N) ** 0.5, rtol=0, atol=1e-6)


def test_the_continuations_are_of_all_kinds() -> None:
    """What the test above relies on: ended, cut, both beyond the clip; short, and of 7 tokens."""
    four = four_roles(dtype=torch.float64, spread=2)
    kinds, lengths = set(), set()
    for (b, t), some in plain_samples(four, CONFIG).items():
        for tokens in some:
            score = plain_head_of(four.reward_model, PROMPT_IDS[b], RESPONSE_IDS[b][:t] + tokens)
            ended = tokens[-1] == EOS
            kinds.add((ended, bool(abs(score[-1] - (0 if ended else 0.6)) > 1.5)))
            lengths.add((t, len(tokens)))
    assert len(kinds) == 4 and {(0, 1), (0, 7), (6, 1), (5, 2)} <= lengths


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_at_the_prompt_it_is_the_mean_return_of_rollouts(
    estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fed the noise of training, it earns what `collect_rollout` writes down."""
    four = four_roles(dtype=torch.float64, spread=2)
    config = replace(CONFIG, kl_estimator=estimator)
    x = pad_prompts([PROMPT_IDS[2]] * 40, PAD)
    rollout = collect_rollout(*four, x, config, iteration=5)
    discounts = 0.9 ** torch.arange(rollout.rewards.shape[1], dtype=torch.float64)
    returns = (rollout.rewards * discounts).sum(1)
    assert 0 < rollout.ended.sum() < 40
    noise = uniform_noise(33, SAMPLING, 5, rows=40, steps=7)
    monkeypatch.setattr(monte_carlo, "uniform_noise", lambda *_, **__: noise)
    one = (Prompts(x.prompt_ids[:1], x.prompt_mask[:1]), torch.tensor([[8]]))
    got = monte_carlo_values(
        four.actor, four.reference, four.reward_model, *one, torch.tensor([[True]]), config, n=40
    )
    assert_close(got.values[0, 0], returns.mean(), rtol=0, atol=1e-9)
    assert_close(got.errors[0, 0], returns.std() / 40**0.5, rtol=0, atol=1e-9)


# ------------------------------------------------------------------- against enumeration


@torch.no_grad()
def enumerated(four: Four, prompt: list[int], config: PPOConfig) -> tuple[Tensor, Tensor]:
    """V(S_0), and (V,) V(S_1) after each first token, where responses have two tokens at most."""
    words = torch.arange(len(TOKENIZER))
    text = torch.cat([torch.tensor(prompt).expand(len(words), -1), words[:, None]], dim=1)
    log_pi, log_ref = (
        (role.model(text).logits / config.temperature).log_softmax(-1)
        for role in (four.actor, four.reference)
    )
    trunk, head = four.reward_model.model.base_model, four.reward_model.read_head
    short = head(trunk(text).last_hidden_state[:, -1])
    both = torch.cat(
        [text.repeat_interleave(len(words), 0), words.repeat(len(words))[:, None]], dim=1
    )
    scores = head(trunk(both).last_hidden_state[:, -1]).view(len(words), -1)
    scores[:, words != EOS] -= config.missing_eos_penalty
    clip = config.score_clip
    second = log_pi[:, -1].exp() * (
        scores.clamp(-clip, clip) - config.kl_coef * (log_pi - log_ref)[:, -1]
    )
    after = second.sum(1)  # V(S_1)
    first = -config.kl_coef * (log_pi - log_ref)[0, -2] + torch.where(
        words == EOS, short.clamp(-clip, clip), config.gamma * after
    )
    return (log_pi[0, -2].exp() * first).sum(), after


def test_200_states_agree_with_enumeration() -> None:
    four = four_roles(spread=2)
    config = replace(CONFIG, max_response_tokens=2)
    first = [v for v in range(len(TOKENIZER)) if v != EOS][:25]
    rows = [(prompt, v) for prompt in PROMPT_IDS for v in first]
    y = pad_responses([[v, EOS] for _, v in rows], PAD)
    got = monte_carlo_values(
        four.actor, four.reference, four.reward_model,
        pad_prompts([prompt for prompt, _ in rows], PAD), *y, config, n=250, seed=1,
    )  # fmt: skip
    exact = [enumerated(four, prompt, config) for prompt in PROMPT_IDS]
    wanted = torch.stack([torch.stack([v0, v1[v]]) for v0, v1 in exact for v in first])
    z = (got.values - wanted) / got.errors
    assert z.shape == (100, 2) and (z.abs() > 3).sum() <= 4
    assert 0.7 <= z.square().mean() <= 1.3
    # the prompt's own value is drawn anew in each row, and independently of the one after it
    assert z[:, 0].reshape(4, 25).mean(1).abs().max() < 3 / 5
    assert (z[:, 0] * z[:, 1]).mean().abs() < 3 / 10


# ------------------------------------------------------------------------------ the noise


@contextmanager
def noise_used(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Every block of noise that is drawn inside."""
    blocks: list[Tensor] = []

    def spy(*args: int, **sizes: int) -> Tensor:
        blocks.append(uniform_noise(*args, **sizes))
        return blocks[-1]

    with monkeypatch.context() as patch:
        patch.setattr(monte_carlo, "uniform_noise", spy)
        yield blocks


def test_no_number_is_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for two prefixes, rows, continuations, seeds, nor in training."""
    four = four_roles()
    with noise_used(monkeypatch) as blocks:
        values = [truth(four, seed=seed).values for seed in (33, 33, 34)]
    per_call = len(list(prefixes()))
    assert [b.shape for b in blocks[:per_call]] == [(N, 7 - t) for _, t in prefixes()]
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])
    training = [uniform_noise(33, SAMPLING, i, rows=64, steps=7) for i in range(4)]
    blocks = blocks[per_call:] + training
    numbers = torch.cat([block.flatten() for block in blocks])
    assert len(numbers.unique()) == len(numbers)


def test_it_draws_from_no_shared_generator_and_leaves_the_models_alone() -> None:
    four = four_roles()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    got = truth(four)
    assert torch.equal(torch.get_rng_state(), state)
    assert not got.values.requires_grad and four.actor.trainable
    assert all(p.grad is None for p in four.actor.parameters())


# ------------------------------------------------------------------- what it must not matter


def test_padding_and_masked_places_do_not_matter() -> None:
    four = four_roles(dtype=torch.float64)
    x, ids, mask = ragged()
    got, models = truth(four), (four.actor, four.reference, four.reward_model)
    assert (got.values != 0).equal(mask) and (got.errors != 0).equal(mask)
    ids = ids.masked_fill(~mask, EOS)
    padded = monte_carlo_values(*models, wider(x, 3), *longer(ids, mask, 2), CONFIG, n=N, seed=3)
    assert torch.equal(padded.values[:, :7], got.values) and not padded.values[:, 7:].any()
    assert torch.equal(padded.errors[:, :7], got.errors) and not padded.errors[:, 7:].any()


def test_a_shorter_response_has_the_same_values_and_an_empty_one_has_none() -> None:
    four = four_roles(dtype=torch.float64)
    x, ids, mask = ragged()
    got = truth(four)
    mask = mask & (torch.arange(7) < torch.tensor([[2], [0], [5], [0]]))
    models = (four.actor, four.reference, four.reward_model)
    cut = monte_carlo_values(*models, x, ids, mask, CONFIG, n=N, seed=3)
    assert torch.equal(cut.values, got.values * mask)
    one = monte_carlo_values(*models, x, ids[:, :1], mask[:, :1], CONFIG, n=N, seed=3)
    assert torch.equal(one.values[:, 0], cut.values[:, 0]) and one.errors.shape == (4, 1)
    none = monte_carlo_values(*models, x, ids[:, :0], mask[:, :0], CONFIG, n=N, seed=3)
    assert none.values.shape == (4, 0)


@pytest.mark.parametrize(("stretch", "at_once"), [(1, 256), (3, 256), (50, 256), (4, 4), (2, 1)])
def test_how_the_work_is_cut_up_does_not_matter(
    stretch: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    four = four_roles(dtype=torch.float64)
    wanted = truth(four)
    monkeypatch.setattr(continuations, "STRETCH", stretch)
    monkeypatch.setattr(monte_carlo, "AT_ONCE", at_once)
    got = truth(four)
    assert_close(got.values, wanted.values, rtol=0, atol=1e-10)
    assert_close(got.errors, wanted.errors, rtol=0, atol=1e-10)


# -------------------------------------------------------------------------------- settings


def test_an_adapted_kl_coef_replaces_the_configured_one() -> None:
    four = four_roles(dtype=torch.float64)
    free, configured = truth(four, replace(CONFIG, kl_coef=0.0)), truth(four)
    assert torch.equal(truth(four, kl_coef=0.0).values, free.values)
    assert not torch.allclose(free.values, configured.values)


def test_gamma_0_keeps_the_next_reward_only() -> None:
    """The toll of the next token, and the score only where it comes with that token."""
    four = four_roles(dtype=torch.float64)
    got = truth(four, replace(CONFIG, gamma=0.0, kl_coef=0.0))
    earned = got.values[2] != 0
    assert earned[6] and not earned[:6].all()  # the last prefix has one token left


def test_precision_and_dtype_follow_the_models() -> None:
    exact, single = (truth(four_roles(dtype=d)) for d in (torch.float64, torch.float32))
    half = truth(four_roles(), replace(CONFIG, precision="bfloat16"))
    assert exact.values.dtype == exact.errors.dtype == torch.float64
    assert single.values.dtype == half.values.dtype == half.errors.dtype == torch.float32
    assert_close(single.values.double(), exact.values, rtol=0, atol=1e-4)
    difference = (half.values - single.values).abs()[ragged()[2]]
    assert 1e-4 < difference.median() < 0.3  # half precision was really used


class CountsTokens(RewardModel):
    """Scores in a way of its own."""

    def scores(self, prompts: Prompts, response_ids: Tensor, response_mask: Tensor) -> Tensor:
        assert prompts.prompt_mask.all() and response_mask[:, 0].all()
        ended = (response_ids == EOS) & response_mask
        lengths = response_mask.sum(1).double()
        return prompts.prompt_mask.sum(1) + 0.1 * lengths + 10.0 * ended.sum(1)


def test_a_reward_model_that_scores_in_its_own_way_is_asked() -> None:
    four = four_roles(dtype=torch.float64)
    own = CountsTokens(four.reward_model.model, TOKENIZER)
    config = replace(CONFIG, score_clip=None, kl_coef=0.0)
    got = truth(four._replace(reward_model=own), config)
    for (b, t), some in plain_samples(four, config).items():
        scores = [
            len(PROMPT_IDS[b]) + 0.1 * (t + len(one)) + (10.0 if one[-1] == EOS else -0.6)
            for one in some
        ]
        returns = [0.9 ** (len(one) - 1) * r for one, r in zip(some, scores, strict=True)]
        assert_close(got.values[b, t].item(), sum(returns) / N, rtol=0, atol=1e-9)


# ------------------------------------------------------------------------------------ gold


def test_gold_is_what_the_judge_says_and_nothing_else() -> None:
    four = four_roles(dtype=torch.float64)
    calls = []

    def judge(prompt: str, response: str, ended: bool) -> float:
        calls.append((prompt, response, ended))
        return 3.0 * len(response.split()) + 100.0 * ended

    config = replace(CONFIG, kl_coef=50.0, missing_eos_penalty=70.0, score_clip=0.1)
    got = monte_carlo_gold(four.actor, judge, *ragged(), config, n=N, seed=3)
    wanted = []
    for (b, t), some in plain_samples(four, config).items():
        prompt, prefix = TOKENIZER.decode(PROMPT_IDS[b]), RESPONSE_IDS[b][:t]
        golds = []
        for one in some:
            text = TOKENIZER.decode(prefix + one, skip_special_tokens=True)
            wanted.append((prompt, text, one[-1] == EOS))
            golds.append(3.0 * len(text.split()) + 100.0 * (one[-1] == EOS))
        returns = [0.9 ** (len(one) - 1) * g for one, g in zip(some, golds, strict=True)]
        mean = sum(returns) / N
        variance = sum((x - mean) ** 2 for x in returns) / (N - 1)
        assert_close(got.values[b, t].item(), mean, rtol=0, atol=1e-9)
        assert_close(got.errors[b, t].item(), (variance / N) ** 0.5, rtol=0, atol=1e-9)
    assert calls == wanted and {ended for *_, ended in calls} == {True, False}


# ------------------------------------------------------------------------------------ cost


def test_every_model_reads_the_text_once_and_nothing_after_an_end() -> None:
    four = four_roles()
    seen: dict[str, list[tuple[int, int]]] = {}
    for name in ("actor", "reference", "reward_model"):
        shapes = seen[name] = []
        trunk = getattr(four, name).model.base_model
        trunk.register_forward_pre_hook(lambda _, args, to=shapes: to.append(tuple(args[0].shape)))
    prompt, response = PROMPT_IDS[2], RESPONSE_IDS[2]
    one = (pad_prompts([prompt], PAD), *pad_responses([response], PAD))
    models = (four.actor, four.reference, four.reward_model)
    monte_carlo_values(*models, *one, replace(CONFIG, max_response_tokens=24), n=50)
    for name, shapes in seen.items():
        once = sum(width for rows, width in shapes if rows == 1)
        left_out = {"actor": 2, "reference": 2, "reward_model": 1}[name]
        assert once == len(prompt) + len(response) - left_out
        many = [shape for shape in shapes if shape[0] > 1]
        assert len(many) >= len(response) and max(rows for rows, _ in many) == 50
        # rows that have ended are dropped, until the next prefix begins with all 50
        falls = [b < a for (a, _), (b, _) in pairwise(many)]
        assert sum(falls) >= len(response)
    assert {width for rows, width in seen["actor"] if rows > 1} == {1}


# ---------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 1}, "n must be 2 or more"),
        ({"longest": 6}, "7 counted tokens, more than max_response_tokens = 6"),
        ({"mask": torch.ones(4, 7, dtype=torch.bool)}, "response 0 has a counted token after its"),
        ({"mask": torch.ones(4, 7)}, "must be bool"),
        ({"mask": torch.ones(4, 6, dtype=torch.bool)}, "mask's shape"),
        ({"prompts": pad_prompts(PROMPT_IDS[:3], PAD)}, "got 3 prompts for 4 responses"),
        ({"prompts": Prompts(torch.ones(4, 2).long(), torch.zeros(4, 2).bool())}, "no token"),
    ],
)
def test_what_has_no_value_is_refused(change: dict[str, object], message: str) -> None:
    four, (x, ids, mask) = four_roles(), ragged()
    x, mask = change.get("prompts", x), change.get("mask", mask)
    config = replace(CONFIG, max_response_tokens=change.get("longest", 7))
    with pytest.raises(ValueError, match=message):
        monte_carlo_values(
            four.actor, four.reference, four.reward_model, x, ids, mask, config,
            n=change.get("n", N),
        )  # fmt: skip
