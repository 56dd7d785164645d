"""The decode loop against a loop without cache, batch or padding."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from tiny_models import (
    EOS,
    PAD,
    PROMPT_IDS,
    SHAPES,
    TOKENIZER,
    plain_log_probs_of,
    ragged,
    shaped_actor,
    wider,
)  # fmt: skip
from torch import Tensor
from torch.testing import assert_close
from transformers import DynamicCache

from minirlhf import Actor, Prompts, Responses
from minirlhf.backbone import attention_inputs
from minirlhf.data import pad_prompts
from minirlhf.generation import generate
from minirlhf.noise import SAMPLING, uniform_noise

NOISE = uniform_noise(5, SAMPLING, 2, rows=4, steps=12)


def sample(
    actor: Actor, prompts: Prompts, noise: Tensor = NOISE, eos: int = EOS, **options: object
) -> Responses:
    return generate(
        actor.model, prompts, noise=noise, eos_token_id=eos, pad_token_id=PAD, **options
    )


@torch.no_grad()
def naive(
    actor: Actor, prompt: list[int], noise: Tensor, temperature: float, eos: int
) -> list[int]:
    """One row: read the whole prefix again for each token, and walk along the probabilities."""
    tokens: list[int] = []
    for u in noise.tolist():
        logits = actor.model(torch.tensor([prompt + tokens])).logits[0, -1]
        token, so_far = 0, 0.0
        for token, p in enumerate((logits / temperature).softmax(-1).tolist()):  # noqa: B007
            so_far += p
            if so_far > u:
                break
        tokens.append(token)
        if token == eos:
            break
    return tokens


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_cache_gives_what_reading_everything_again_gives(
    shape: str, temperature: float
) -> None:
    actor, (x, _, _) = shaped_actor(shape), ragged()
    eos = int(sample(actor, x, eos=-1, temperature=temperature).response_ids[0, 3])
    responses = sample(actor, x, eos=eos, temperature=temperature)
    lengths = responses.response_mask.sum(1).tolist()
    assert lengths[0] <= 4 and len(set(lengths)) > 1 and max(lengths) > 2
    for row, prompt in enumerate(PROMPT_IDS):
        wanted = naive(actor, prompt, NOISE[row], temperature, eos)
        assert responses.response_ids[row, : lengths[row]].tolist() == wanted
        assert bool(responses.ended[row]) == (wanted[-1] == eos)
        log_probs = plain_log_probs_of(actor, prompt, wanted, temperature)
        assert_close(responses.log_probs[row, : lengths[row]], log_probs, rtol=0, atol=1e-5)
    again = actor.log_probs(x, responses.response_ids, temperature=temperature)
    mask = responses.response_mask
    assert_close(responses.log_probs[mask], again[mask].detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_more_left_padding_gives_the_same_tokens(shape: str) -> None:
    actor, (x, _, _) = shaped_actor(shape), ragged()
    plain, padded = sample(actor, x), sample(actor, wider(x, 4))
    assert torch.equal(plain.response_ids, padded.response_ids)
    mask = plain.response_mask
    assert_close(plain.log_probs[mask], padded.log_probs[mask], rtol=0, atol=1e-5)


# --------------------------------------------------------------------- a cache that was begun


def begun_cache(actor: Actor, x: Prompts, slots: int) -> DynamicCache:
    """What the model knows after the first `slots` slots of these prompts, padding included."""
    inputs = attention_inputs(x.prompt_mask[:, :slots], slots)
    cache = DynamicCache(config=actor.model.config)
    with torch.no_grad():
        actor.model(x.prompt_ids[:, :slots], past_key_values=cache, use_cache=True, **inputs)
    return cache


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slots", [6, 3])
def test_it_goes_on_from_what_was_read_before(shape: str, slots: int) -> None:
    """From all but the last slot of prompts of 7 slots, left-padded, or from fewer."""
    actor, (x, _, _) = shaped_actor(shape), ragged()
    wanted = sample(actor, x)
    cache = begun_cache(actor, x, slots)
    widths: list[int] = []
    actor.model.register_forward_pre_hook(lambda _, args: widths.append(args[0].shape[1]))
    got = sample(actor, x, cache=cache)
    assert torch.equal(got.response_ids, wanted.response_ids)
    mask = wanted.response_mask
    assert_close(got.log_probs[mask], wanted.log_probs[mask], rtol=0, atol=1e-5)
    assert widths == [7 - slots] + [1] * (got.response_ids.shape[1] - 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_two_stretches_with_one_cache_are_one_response(shape: str) -> None:
    """The cache holds everything but the last token, which is how the next stretch wants it."""
    actor, (x, _, _) = shaped_actor(shape), ragged()
    whole = sample(actor, x, eos=-1)  # no row ends
    cache = begun_cache(actor, x, 6)
    first = sample(actor, x, NOISE[:, :5], eos=-1, cache=cache)
    assert cache.get_seq_length() == 7 + 4
    longer_mask = torch.cat([x.prompt_mask, first.response_mask], dim=1)
    more = Prompts(torch.cat([x.prompt_ids, first.response_ids], dim=1), longer_mask)
    second = sample(actor, more, NOISE[:, 5:], eos=-1, cache=cache)
    ids = torch.cat([first.response_ids, second.response_ids], dim=1)
    assert torch.equal(ids, whole.response_ids)
    log_probs = torch.cat([first.log_probs, second.log_probs], dim=1)
    assert_close(log_probs, whole.log_probs, rtol=0, atol=1e-5)


# --------------------------------------------------------------------- where a response ends


@contextmanager
def scripted(actor: Actor, script: list[list[int]]) -> Iterator[list[int]]:
    """Make the model say exactly these tokens; yields the number of slots of each call."""
    calls: list[int] = []

    def say(_module: object, args: tuple[Tensor], output: object) -> object:
        logits = output.logits  # type: ignore[attr-defined]
        logits.fill_(-1e4)
        for row, tokens in enumerate(script):
            logits[row, -1, tokens[len(calls)] if len(calls) < len(tokens) else 30] = 0.0
        calls.append(args[0].shape[1])
        return output

    handle = actor.model.register_forward_hook(say)
    try:
        yield calls
    finally:
        handle.remove()


def test_the_first_eos_is_counted_and_ends_the_row() -> None:
    actor, x = shaped_actor(), pad_prompts([[3, EOS, 4], [9, 4], [7], [8]], PAD)
    script = [[20, 21, EOS], [EOS], [22, PAD, 23, 24, EOS], [25, 26, 27, 28, 29, 30, 31]]
    with scripted(actor, script):
        responses = sample(actor, x, NOISE[:, :6])
    assert responses.response_ids.tolist() == [
        [20, 21, EOS, PAD, PAD, PAD], [EOS, PAD, PAD, PAD, PAD, PAD],
        [22, PAD, 23, 24, EOS, PAD], [25, 26, 27, 28, 29, 30],
    ]  # fmt: skip
    assert responses.response_mask.sum(1).tolist() == [3, 1, 5, 6]
    assert responses.ended.tolist() == [True, True, True, False]
    assert responses.response_mask.dtype == torch.bool
    counted = torch.arange(6) < torch.tensor([[3], [1], [5], [6]])
    assert torch.equal(responses.response_mask, counted)


def test_it_stops_when_every_row_has_ended_and_reads_each_slot_once() -> None:
    actor, x = shaped_actor(), pad_prompts([[3, 5, 4], [9, 4]], PAD)
    with scripted(actor, [[20, EOS], [20, 21, EOS]]) as calls:
        responses = sample(actor, x, NOISE[:2])
    assert calls == [3, 1, 1]
    assert responses.response_ids.shape == responses.log_probs.shape == (2, 3)
    with scripted(actor, [[20], [20]]) as calls:
        responses = sample(actor, x, NOISE[:2, :1])  # a response of one token, cut
    assert calls == [3] and responses.ended.tolist() == [False, False]
    assert responses.response_mask.tolist() == [[True], [True]]


# ---------------------------------------------------------------------------- the noise


def test_a_rows_noise_depends_on_nothing_but_its_place() -> None:
    actor, (x, _, _) = shaped_actor(), ragged()
    full = actor.generate(x, max_response_tokens=12, seed=3, iteration=4)
    few = actor.generate(
        Prompts(x.prompt_ids[:2], x.prompt_mask[:2]), max_response_tokens=12, seed=3, iteration=4
    )
    width = few.response_ids.shape[1]
    assert torch.equal(few.response_ids, full.response_ids[:2, :width])
    short = actor.generate(x, max_response_tokens=5, seed=3, iteration=4)
    assert torch.equal(short.response_ids, full.response_ids[:, :5])
    changed = x.prompt_ids.clone()
    changed[1:, -1] = 33  # the other rows say something else
    others = actor.generate(
        Prompts(changed, x.prompt_mask), max_response_tokens=5, seed=3, iteration=4
    )
    assert torch.equal(others.response_ids[0], short.response_ids[0])
    assert not torch.equal(others.response_ids[1:], short.response_ids[1:])


def test_the_noise_is_the_keyed_one_and_the_global_generator_is_left_alone() -> None:
    actor, (x, _, _) = shaped_actor(), ragged()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    got = actor.generate(x, max_response_tokens=12, seed=5, iteration=2).response_ids
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(got, sample(actor, x).response_ids)
    for other in ({"seed": 6, "iteration": 2}, {"seed": 5, "iteration": 3}):
        assert not torch.equal(
            actor.generate(x, max_response_tokens=12, **other).response_ids[:, :5], got[:, :5]
        )


# ------------------------------------------------------------------------ on request, and not


def test_top_alternatives_are_the_likeliest_tokens_of_each_step() -> None:
    actor, (x, _, _) = shaped_actor(), ragged()
    plain = sample(actor, x, temperature=0.7)
    assert plain.top_ids is None and plain.top_log_probs is None
    got = sample(actor, x, temperature=0.7, alternatives=3)
    assert torch.equal(got.response_ids, plain.response_ids)
    assert got.top_ids is not None and got.top_log_probs is not None
    assert got.top_ids.shape == got.top_log_probs.shape == (*got.response_ids.shape, 3)
    log_pi = (actor.logits(x, got.response_ids) / 0.7).log_softmax(-1).detach()
    mask = got.response_mask
    assert_close(got.top_log_probs[mask], log_pi.topk(3).values[mask], rtol=0, atol=1e-5)
    assert torch.equal(got.top_ids[mask], log_pi.topk(3).indices[mask])


def test_sampling_keeps_no_gradient_and_changes_nothing() -> None:
    actor, (x, _, _) = shaped_actor(), ragged()
    responses = sample(actor, x)
    assert not responses.log_probs.requires_grad and actor.trainable
    assert all(p.grad is None for p in actor.parameters())
    assert responses.log_probs.dtype == torch.float32
    assert torch.equal(sample(actor, x).log_probs, responses.log_probs)


def test_float64_stays_float64() -> None:
    actor, (x, _, _) = shaped_actor().double(), ragged()
    responses = sample(actor, x)
    wanted = actor.log_probs(x, responses.response_ids)
    assert responses.log_probs.dtype == torch.float64
    mask = responses.response_mask
    assert_close(responses.log_probs[mask], wanted[mask].detach(), rtol=0, atol=1e-10)


def test_a_model_that_says_nan_is_refused() -> None:
    actor, (x, _, _) = shaped_actor(), ragged()
    with torch.no_grad():
        actor.model.transformer.ln_f.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="the GPT2LMHeadModel gives NaN"):
        sample(actor, x)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_gpu_samples_the_same_tokens(shape: str) -> None:
    actor, (x, _, _) = shaped_actor(shape), ragged()
    here = actor.generate(x, max_response_tokens=12, temperature=0.7, seed=7)
    actor.to("cuda")
    there = actor.generate(
        x.to(torch.device("cuda")), max_response_tokens=12, temperature=0.7, seed=7
    )
    assert torch.equal(there.response_ids.cpu(), here.response_ids)
    mask = here.response_mask
    assert_close(there.log_probs.cpu()[mask], here.log_probs[mask], rtol=0, atol=1e-4)
    assert here.response_ids.max() < len(TOKENIZER)
