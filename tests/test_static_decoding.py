"""Decoding with fixed memory samples what the plain loop samples."""

from types import SimpleNamespace

import pytest
import torch
from tiny_models import EOS, PAD, PROMPT_IDS, SHAPES, shaped_actor

from minirlhf import Actor, Prompts, Responses
from minirlhf.data import pad_prompts
from minirlhf.generation import generate
from minirlhf.noise import SAMPLING, uniform_noise
from minirlhf.static_decoding import LOOK_EVERY, StaticDecoder, can_decode_statically

LONGEST = LOOK_EVERY + 4
PROMPTS = pad_prompts(PROMPT_IDS, PAD)
ENDS = {"eos_token_id": EOS, "pad_token_id": PAD}


def noise(seed: int) -> torch.Tensor:
    return uniform_noise(seed, SAMPLING, 0, rows=len(PROMPT_IDS), steps=LONGEST)


def decoder(actor: Actor, dtype: torch.dtype = torch.float32, width: int = 16) -> StaticDecoder:
    return StaticDecoder(
        actor.model,
        len(PROMPT_IDS),
        width,
        LONGEST,
        dtype=dtype,
        record=actor.device.type == "cuda",
    )


def assert_same(one: Responses, other: Responses) -> None:
    assert torch.equal(one.response_mask, other.response_mask)
    assert torch.equal(one.response_ids, other.response_ids)
    assert torch.equal(one.ended, other.ended)
    mask = other.response_mask
    torch.testing.assert_close(one.log_probs[mask], other.log_probs[mask], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_samples_what_the_plain_loop_samples(shape: str) -> None:
    actor = shaped_actor(shape)
    static = decoder(actor)
    for seed in range(4):  # the same memory serves batch after batch
        wanted = generate(actor.model, PROMPTS, noise=noise(seed), temperature=0.9, **ENDS)
        found = static.generate(PROMPTS, noise=noise(seed), temperature=0.9, **ENDS)
        assert_same(found, wanted)


def test_it_stops_looking_when_all_have_ended() -> None:
    actor, calls = shaped_actor(), []
    first = torch.zeros(len(PROMPT_IDS), LONGEST, dtype=torch.float64)
    ids = generate(actor.model, PROMPTS, noise=first, **ENDS).response_ids[:, 0]
    one = int(ids[0])  # what the lowest noise draws first, in row 0
    alone = Prompts(PROMPTS.prompt_ids[:1], PROMPTS.prompt_mask[:1])
    static = StaticDecoder(actor.model, 1, 8, LONGEST, dtype=torch.float32, record=False)
    plain = static.decode
    static.decode = lambda: (calls.append(1), plain())  # type: ignore[method-assign, assignment]
    found = static.generate(alone, noise=first[:1], eos_token_id=one, pad_token_id=PAD)
    assert found.response_ids.tolist() == [[one]] and len(calls) == LOOK_EVERY - 1


def test_it_follows_training() -> None:
    actor = shaped_actor("llama")
    for dtype in (torch.float32, torch.float64):  # float64: through a copy
        static = decoder(actor, dtype)
        before = static.generate(PROMPTS, noise=noise(0), **ENDS)
        with torch.no_grad():
            for parameter in actor.parameters():
                parameter.mul_(1.2)
        after = static.generate(PROMPTS, noise=noise(0), **ENDS)
        wanted = generate(actor.model, PROMPTS, noise=noise(0), **ENDS)
        assert_same(after, wanted)
        width = min(before.log_probs.shape[1], after.log_probs.shape[1])
        assert not torch.allclose(before.log_probs[:, :width], after.log_probs[:, :width])


def test_other_settings_take_effect() -> None:
    actor = shaped_actor()
    static = decoder(actor)
    for temperature in (1.0, 0.5):
        wanted = generate(actor.model, PROMPTS, noise=noise(1), temperature=temperature, **ENDS)
        found = static.generate(PROMPTS, noise=noise(1), temperature=temperature, **ENDS)
        assert_same(found, wanted)


def test_a_broken_model_is_refused() -> None:
    actor = shaped_actor()
    with torch.no_grad():
        next(actor.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="gives NaN"):
        decoder(actor).generate(PROMPTS, noise=noise(0), **ENDS)


def test_the_actor_uses_it_where_it_can_and_goes_on_where_it_fails(monkeypatch) -> None:
    actor = shaped_actor("qwen2")
    wanted = actor.generate(PROMPTS, max_response_tokens=LONGEST, seed=3)
    monkeypatch.setattr("minirlhf.actor.can_decode_statically", lambda model: True)
    assert_same(actor.generate(PROMPTS, max_response_tokens=LONGEST, seed=3), wanted)
    first = actor._decoder
    assert first is not None
    actor.generate(PROMPTS, max_response_tokens=LONGEST, seed=4)
    assert actor._decoder is first
    actor.generate(PROMPTS, max_response_tokens=4, seed=4)
    assert actor._decoder is not first

    def fails(*args: object, **more: object) -> None:
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(StaticDecoder, "generate", fails)
    with pytest.warns(UserWarning, match="slower: out of memory$"):
        assert_same(actor.generate(PROMPTS, max_response_tokens=LONGEST, seed=3), wanted)
    assert actor._decoder is None


def test_only_whole_models_of_one_kind_of_layer_on_a_gpu_are_recorded() -> None:
    def like(device: str = "cuda", layers: object = None, fsdp: bool = False, simple: bool = True):
        part = SimpleNamespace(unshard=None) if fsdp else SimpleNamespace()
        return SimpleNamespace(
            config=SimpleNamespace(layer_types=layers),
            device=torch.device(device),
            modules=lambda: [part],
            _can_compile_fullgraph=simple,
        )

    assert can_decode_statically(like())
    assert can_decode_statically(like(layers=["full_attention"] * 2))
    assert not can_decode_statically(like(layers=["full_attention", "sliding_attention"]))
    assert not can_decode_statically(like(device="cpu"))
    assert not can_decode_statically(like(fsdp=True))
    assert not can_decode_statically(like(simple=False))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_recorded_step_samples_what_the_plain_loop_samples(shape: str) -> None:
    actor = shaped_actor(shape).to("cuda")
    prompts = PROMPTS.to(torch.device("cuda"))
    static = decoder(actor)
    for seed in range(4):
        wanted = generate(actor.model, prompts, noise=noise(seed), **ENDS)
        assert_same(static.generate(prompts, noise=noise(seed), **ENDS), wanted)
    assert static.graph is not None
