"""The plan's bytes against those of real models, their gradients and their AdamW states."""

from collections.abc import Callable, Iterator

import pytest
import torch
from tiny_models import PAD, TOKENIZER
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from minirlhf import Actor, Critic, Prompts
from minirlhf.memory import PRECISIONS, SHARING, peak, plan
from minirlhf.shapes import ATTENTIONS, SHAPES, Shape

SMALL = Shape(layers=3, width=64, heads=4, vocabulary=90, positions=48)
TINY = Shape(layers=2, width=32, heads=2, vocabulary=90, positions=48)
IDS = torch.arange(80).view(2, 40)


def config(shape: Shape, attention: str = "eager") -> PreTrainedConfig:
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1, "num_labels": 1}
    if shape.family == "gpt2":
        return GPT2Config(
            n_layer=shape.layers, n_embd=shape.width, n_head=shape.heads, n_inner=shape.inner,
            vocab_size=shape.vocabulary, n_positions=shape.positions,
            activation_function="gelu_pytorch_tanh" if shape.fused_gelu else "gelu_new",
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            attn_implementation=attention, **ends,
        )  # fmt: skip
    return {"llama": LlamaConfig, "qwen2": Qwen2Config}[shape.family](
        num_hidden_layers=shape.layers, hidden_size=shape.width, vocab_size=shape.vocabulary,
        num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads or shape.heads,
        intermediate_size=shape.inner, max_position_embeddings=shape.positions,
        tie_word_embeddings=shape.tied, attn_implementation=attention, **ends,
    )  # fmt: skip


def size(tensors: Iterator[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def trained(model: nn.Module) -> tuple[int, int, int]:
    """Bytes of weights, gradients and AdamW's states after one step."""
    optimiser = torch.optim.AdamW(model.parameters())
    out = model(input_ids=IDS)
    out.logits.float().sum().backward()
    optimiser.step()
    states = [v for s in optimiser.state.values() for k, v in s.items() if k != "step"]
    gradients = (p.grad for p in model.parameters() if p.grad is not None)
    return size(model.parameters()), size(gradients), size(iter(states))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_gradients_and_states_are_those_of_real_models(precision: str) -> None:
    dtype = getattr(torch, precision)
    parts = plan(SMALL, TINY, precision=precision)
    actor = GPT2LMHeadModel(config(SMALL)).to(dtype)
    critic = GPT2ForSequenceClassification(config(TINY)).to(dtype)
    for model, part in ((actor, parts["Actor"]), (critic, parts["Critic"])):
        assert trained(model) == (part.weights, part.gradients, part.optimiser)
    assert parts["Reference"].weights == parts["Actor"].weights
    assert parts["Reward model"].weights == parts["Critic"].weights
    assert parts["Reference"].gradients == parts["Reward model"].optimiser == 0


@pytest.mark.parametrize("name", SHAPES)
def test_the_named_shapes_have_the_parameters_of_real_models(name: str) -> None:
    shape = SHAPES[name]
    with torch.device("meta"):  # no memory
        model = AutoModelForCausalLM.from_config(config(shape))
    real = sum(p.numel() for p in model.parameters())
    assert real == shape.parameters + shape.output_parameters
    actor = plan(shape, TINY, precision="bfloat16")["Actor"]
    assert actor.weights == actor.gradients == 2 * real


def test_known_models_have_their_published_sizes() -> None:
    published = {"Qwen2.5 0.5 B": 494_032_768, "Llama 3.2 1 B": 1_235_814_400}
    published["Llama 3.1 8 B"] = 8_030_261_248
    for name, wanted in published.items():
        assert SHAPES[name].parameters + SHAPES[name].output_parameters == wanted


class Adapted(nn.Module):
    """A matrix (of GPT-2's transposed kind) with LoRA's two factors."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(rows, rank, bias=False), nn.Linear(rank, columns, bias=False)


LLAMA = Shape(3, 64, 4, 90, 48, "llama", 176, 2, tied=False)
QWEN = Shape(2, 96, 6, 90, 48, "qwen2", 256, 2)


@pytest.mark.parametrize("shape", [SMALL, LLAMA, QWEN], ids=["gpt2", "llama", "qwen2"])
def test_lora_has_two_factors_at_every_matrix(shape: Shape) -> None:
    model = AutoModelForCausalLM.from_config(config(shape))
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "layers." in name]
    matrices += [m.weight for m in model.modules() if type(m).__name__ == "Conv1D"]
    assert len(matrices) == (4 if shape.family == "gpt2" else 7) * shape.layers
    real = sum(p.numel() for w in matrices for p in Adapted(*w.shape, rank=8).parameters())
    assert shape.lora_parameters(8) == real
    part = plan(shape, TINY, lora_rank=8)["Actor"]
    whole = shape.parameters + shape.output_parameters
    assert part.gradients == 4 * real and part.optimiser == 8 * real
    assert part.weights == 4 * (whole + real)


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


V = len(TOKENIZER)
MEASURED = {
    "gpt2": Shape(3, 64, 4, V, 600),
    "gpt2, one block": Shape(1, 128, 2, V, 600),
    "gpt2, fused GELU": Shape(4, 96, 6, V, 600, fused_gelu=True),
    "gpt2, narrow": Shape(2, 64, 4, V, 600, feed_forward=100),
    "llama": Shape(3, 64, 4, V, 600, "llama", 176, 2, tied=False),
    "llama, no shared keys": Shape(2, 96, 4, V, 600, "llama", 256),
    "qwen2": Shape(4, 96, 6, V, 600, "qwen2", 200, 2),
    "qwen2, one key": Shape(1, 128, 8, V, 600, "qwen2", 512, 1),
}


@pytest.mark.parametrize("rows, length", [(2, 12), (3, 40), (1, 300)])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("name", MEASURED)
def test_activations_are_what_autograd_keeps(
    name: str, attention: str, rows: int, length: int
) -> None:
    """Critic and Actor as our trainers run them, on texts with padding; within a tenth."""
    shape = MEASURED[name]
    part = plan(shape, shape, rows=rows, length=length, attention=attention)
    mask = torch.ones(rows, 3, dtype=torch.bool)
    mask[0, 0] = False
    prompts = Prompts(torch.full((rows, 3), PAD), mask)
    ids = torch.arange(rows * (length - 2)).view(rows, -1) % V  # the last one is never read
    made = AutoModelForSequenceClassification.from_config(config(shape, attention))
    critic = Critic(made, TOKENIZER)
    real = kept_by_autograd(critic, lambda: critic.values(prompts, ids))
    assert part["Critic"].activations == pytest.approx(real, rel=0.1)
    actor = Actor(AutoModelForCausalLM.from_config(config(shape, attention)), TOKENIZER)
    real = kept_by_autograd(actor, lambda: actor.log_probs(prompts, ids))
    on_the_way_back = 2 * rows * length * V * 4
    assert part["Actor"].activations - on_the_way_back == pytest.approx(real, rel=0.1)


def test_checkpointing_keeps_one_block_and_each_blocks_input() -> None:
    deep = Shape(24, 64, 4, 90, 48)
    part, less = (plan(deep, deep, checkpointing=on)["Critic"].activations for on in (False, True))
    tokens = 4 * 8 * 256
    assert less == tokens * (deep.kept_by_block(256) + 24 * 64 + 2 * 64) < 0.15 * part


# ------------------------------------------------------------------------------- sharing


def weights(**settings: object) -> dict[str, int]:
    return {name: part.weights for name, part in plan(SMALL, TINY, **settings).items()}


def test_what_is_shared_is_counted_once() -> None:
    whole, head = 4 * SMALL.parameters, 4 * TINY.width
    assert weights(sharing="value head")["Critic"] == 4 * SMALL.width
    adapters, others = 4 * SMALL.lora_parameters(4), 4 * TINY.lora_parameters(4)
    pairs = weights(sharing="pairs", lora_rank=4)
    assert pairs["Actor"] == whole + adapters and pairs["Reference"] == 0
    assert pairs["Critic"] == others + head
    assert pairs["Reward model"] == 4 * TINY.parameters + head
    one = weights(sharing="one trunk", lora_rank=4)
    assert one["Reward model"] == one["Critic"] == adapters + 4 * SMALL.width
    assert sum(one.values()) < sum(pairs.values()) < sum(weights(lora_rank=4).values())


def test_mixed_precision_holds_a_float32_copy() -> None:
    part = plan(SMALL, TINY, precision="mixed")["Actor"]
    n = SMALL.parameters  # the 16 bytes per parameter of Rajbhandari et al. 2020 (ZeRO)
    assert (part.weights, part.gradients, part.optimiser) == (2 * n, 2 * n, 12 * n)
    eight = plan(SMALL, TINY, optimiser="AdamW 8 bit")["Actor"]
    assert eight.optimiser == 2 * n and plan(SMALL, TINY, optimiser="SGD")["Actor"].optimiser == 0


def test_the_peak_has_one_models_activations() -> None:
    parts = plan(SMALL, TINY)
    stays = sum(p.weights + p.gradients + p.optimiser for p in parts.values())
    assert peak(parts) == stays + parts["Actor"].activations


@pytest.mark.parametrize(
    "wrong",
    [{"precision": "fp8"}, {"optimiser": "Adam"}, {"sharing": "all"}, {"rows": 0}, {"length": 0},
     {"lora_rank": -1}, {"sharing": "pairs"}, {"sharing": "one trunk"}, {"attention": "flash"}],
)  # fmt: skip
def test_bad_input_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be one of|wanted|needs LoRA"):
        plan(SMALL, TINY, **wrong)


def test_a_family_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="family must be one of gpt2, llama, qwen2; got 'bert'"):
        Shape(2, 32, 2, 90, 48, "bert")


def test_every_name_gives_a_plan() -> None:
    for precision in PRECISIONS:
        for sharing in SHARING:
            parts = plan(SMALL, TINY, precision=precision, sharing=sharing, lora_rank=2)
            assert min(parts["Actor"].weights, peak(parts)) > 0
