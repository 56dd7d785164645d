"""What passes keep, against the tensors that autograd saves: every byte, in every precision."""

from collections.abc import Callable

import pytest
import torch
from memory_models import config
from tiny_models import PAD, TOKENIZER
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from minirlhf import Actor, Critic, Prompts
from minirlhf.chunked_log_probs import chunk_tokens
from minirlhf.memory_passes import (
    Passes,
    copies,
    half_head,
    is_chunked,
    kept,
    kept_by_block,
    learning,
    logits,
)
from minirlhf.shapes import ATTENTIONS, Shape

V = len(TOKENIZER)
SHAPES = {
    "gpt2": Shape(3, 64, 4, V, 600),
    "gpt2, one block": Shape(1, 128, 2, V, 600),
    "gpt2, fused GELU": Shape(4, 96, 6, V, 600, fused_gelu=True),
    "gpt2, narrow": Shape(2, 64, 4, V, 600, feed_forward=100),
    "llama": Shape(3, 64, 4, V, 600, "llama", 176, 2, tied=False),
    "llama, no shared keys": Shape(2, 96, 4, V, 600, "llama", 256),
    "qwen2": Shape(4, 96, 6, V, 600, "qwen2", 200, 2),
    "qwen2, one key": Shape(1, 128, 8, V, 600, "qwen2", 512, 1),
}


def how(rows: int, length: int, attention: str = "eager", **others: object) -> Passes:
    usual = {
        "response": length, "wide": 4, "narrow": 4, "checkpointing": False, "rank": 0,
        "logits_at_once": 2**26,
    }  # fmt: skip
    return Passes(rows, length, attention=attention, **{**usual, **others})


def kept_by_autograd(model: nn.Module, run: Callable[[], Tensor]) -> int:
    """Bytes of the storages that a forward pass keeps for its backward pass, weights apart."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, tuple[int, Tensor]] = {}  # the tensors keep their addresses taken

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held = run()
    assert held.requires_grad
    return sum(size for size, _ in kept.values())


def padded(rows: int, length: int) -> tuple[Prompts, Tensor]:
    """Prompts with padding, and responses whose last token is never read."""
    mask = torch.ones(rows, 3, dtype=torch.bool)
    mask[0, 0] = False
    ids = torch.arange(rows * (length - 2)).view(rows, -1) % V
    return Prompts(torch.full((rows, 3), PAD), mask), ids


@pytest.mark.parametrize("rows, length", [(2, 12), (3, 40), (1, 300)])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("name", SHAPES)
def test_activations_are_what_autograd_keeps(
    name: str, attention: str, rows: int, length: int
) -> None:
    """Critic and Actor as our trainers run them, on texts with padding; within a tenth."""
    shape, (prompts, ids) = SHAPES[name], padded(rows, length)
    planned = kept(shape, how(rows, length, attention))
    made = AutoModelForSequenceClassification.from_config(config(shape, attention))
    critic = Critic(made, TOKENIZER)
    real = kept_by_autograd(critic, lambda: critic.values(prompts, ids))
    assert planned == pytest.approx(real, rel=0.1)
    actor = Actor(AutoModelForCausalLM.from_config(config(shape, attention)), TOKENIZER)
    real = kept_by_autograd(actor, lambda: actor.log_probs(prompts, ids))
    assert planned + rows * length * V * 4 == pytest.approx(real, rel=0.1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("name", ["gpt2", "gpt2, fused GELU", "llama", "qwen2"])
def test_lora_and_autocast_keep_other_things(
    name: str, attention: str, rank: int, precision: str
) -> None:
    """Under autocast also the matrices, once more, in half precision; within a twentieth."""
    shape, (prompts, ids) = SHAPES[name], padded(3, 100)
    narrow = {"float32": 4, "bfloat16": 2}[precision]
    settings = how(3, 100, attention, narrow=narrow, rank=rank)
    actor = Actor(AutoModelForCausalLM.from_config(config(shape, attention)), TOKENIZER)
    actor.add_adapter(rank)
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow == 2):
        real = kept_by_autograd(actor, lambda: actor.log_probs(prompts, ids))
    planned = kept(shape, settings) + copies(shape, settings, blocks=shape.layers)
    planned += half_head(shape, settings) + 3 * 100 * V * 4
    assert planned == pytest.approx(real, rel=0.05)


def test_checkpointing_keeps_one_block_and_each_blocks_input() -> None:
    deep = Shape(24, 64, 4, 90, 600)
    usual, less = (how(8, 256, "sdpa", checkpointing=on) for on in (False, True))
    assert kept(deep, less) == 8 * 256 * 4 * (24 * 64 + 2 * 64)
    at_work = learning(deep, less, speaks=False)
    assert kept(deep, less) + 8 * 256 * kept_by_block(deep, less) < at_work
    assert at_work < 0.2 * learning(deep, usual, speaks=False)


@pytest.mark.parametrize("most", [1, 10_000, 2**20])
def test_chunks_are_as_large_as_those_of_the_log_probs(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minirlhf.chunked_log_probs.most_bytes", lambda device: most)
    shape, settings = SHAPES["gpt2"], how(64, 256, logits_at_once=most)
    assert is_chunked(shape, settings)
    assert logits(shape, settings) == chunk_tokens(torch.empty(V, 64)) * V * 4
    assert logits(shape, how(2, 4)) == 2 * 4 * V * 4
