"""The plan's bytes against those of real models, their gradients and their AdamW states."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

from minirlhf.memory import PRECISIONS, SHAPES, SHARING, Shape, peak, plan

SMALL = Shape(layers=3, width=64, heads=4, vocabulary=90, positions=48)
TINY = Shape(layers=2, width=32, heads=2, vocabulary=90, positions=48)
IDS = torch.arange(80).view(2, 40)


def config(shape: Shape) -> GPT2Config:
    return GPT2Config(
        n_layer=shape.layers, n_embd=shape.width, n_head=shape.heads, num_labels=1,
        vocab_size=shape.vocabulary, n_positions=shape.positions, attn_implementation="eager",
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=0, eos_token_id=0, pad_token_id=1,
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
def test_the_named_shapes_have_the_parameters_of_gpt2(name: str) -> None:
    with torch.device("meta"):  # no memory
        model = GPT2LMHeadModel(config(SHAPES[name]))
    assert sum(p.numel() for p in model.parameters()) == SHAPES[name].parameters


class Adapted(nn.Module):
    """A matrix (of GPT-2's transposed kind) with LoRA's two factors."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(rows, rank, bias=False), nn.Linear(rank, columns, bias=False)


def test_lora_has_two_factors_at_every_matrix() -> None:
    model = GPT2LMHeadModel(config(SMALL))
    matrices = [m.weight for m in model.modules() if type(m).__name__ == "Conv1D"]
    assert len(matrices) == 4 * SMALL.layers
    real = sum(p.numel() for w in matrices for p in Adapted(*w.shape, rank=8).parameters())
    assert SMALL.lora_parameters(8) == real
    part = plan(SMALL, TINY, lora_rank=8)["Actor"]
    assert part.gradients == 4 * real and part.optimiser == 8 * real
    assert part.weights == 4 * (SMALL.parameters + real)


def kept_by_autograd(model: nn.Module) -> int:
    """Bytes that a forward pass keeps for its backward pass, weights apart."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tensor.is_floating_point():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held = model(input_ids=IDS).logits  # keeps the storages alive while they are counted
    assert held.requires_grad
    return sum(kept.values())


def test_activations_are_an_estimate_that_is_low_for_gpt2s_gelu() -> None:
    rows, length = IDS.shape
    part = plan(SMALL, SMALL, rows=rows, length=length)["Critic"]
    real = kept_by_autograd(GPT2ForSequenceClassification(config(SMALL)))
    # 0.59: the formula is for fused operations, and GPT-2's GELU is many small ones
    assert 0.55 < part.activations / real < 0.65, part.activations / real
    less = plan(SMALL, SMALL, rows=rows, length=length, checkpointing=True)["Critic"]
    assert less.activations < 0.5 * part.activations


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
     {"lora_rank": -1}, {"sharing": "pairs"}, {"sharing": "one trunk"}],
)  # fmt: skip
def test_bad_input_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be one of|wanted|needs LoRA"):
        plan(SMALL, TINY, **wrong)


def test_every_name_gives_a_plan() -> None:
    for precision in PRECISIONS:
        for sharing in SHARING:
            parts = plan(SMALL, TINY, precision=precision, sharing=sharing, lora_rank=2)
            assert min(parts["Actor"].weights, peak(parts)) > 0
