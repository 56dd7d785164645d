"""GPT-2 written out by hand: only the operations that the numbers need, in the fewest steps.

It reads the weights of a Hugging Face GPT-2 and gives the same numbers. Everything that makes the
original general is left out (dropout, other attention kernels, hooks, output classes). It exists so
that `minirlhf bench` can say what an iteration costs at least; nothing is trained with it.

Shapes: B batch, T slots, C width, H heads, D = C/H, V vocabulary; N = B·T rows.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from minirlhf.bench.attention import Cache, attend
from minirlhf.bench.plain_model import PlainModel

BLOCK_WEIGHTS = (
    "ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias",
    "attn.c_proj.weight", "attn.c_proj.bias", "ln_2.weight", "ln_2.bias",
    "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias",
)  # fmt: skip
TANH_GELUS = ("gelu_new", "gelu_pytorch_tanh")  # one function, in six operations or in one


class PlainGPT2(PlainModel):
    """The trunk of a GPT-2 and the head on it, as bare tensors.

    Args:
        model: a GPT-2 language model or sequence classifier; its weights are copied if trained.
        trained: True = the weights are copies that ask for gradients.

    Raises:
        ValueError: not a GPT-2 shape, or one with options that are not written out here.
    """

    def __init__(self, model: PreTrainedModel, *, trained: bool) -> None:
        check_gpt2(model)
        state = {
            name.removeprefix("transformer."): tensor.detach()
            for name, tensor in model.state_dict().items()
            if not (name == "lm_head.weight" and model.config.tie_word_embeddings)
        }
        if trained:
            state = {name: tensor.clone().requires_grad_() for name, tensor in state.items()}
        self.heads = self.kv_heads = int(model.config.n_head)
        self.head_size = int(model.config.n_embd) // self.heads
        self.epsilon = float(model.config.layer_norm_epsilon)
        self.parameters = list(state.values())
        self.tokens, self.positions = state["wte.weight"], state["wpe.weight"]
        self.blocks = [
            [state[f"h.{i}.{name}"] for name in BLOCK_WEIGHTS] for i in range(model.config.n_layer)
        ]
        self.last_norm = state["ln_f.weight"], state["ln_f.bias"]
        # (V, C) to next-token scores, tied to the embedding as a rule; (1, C) to a value
        self.head = state.get("score.weight", state.get("lm_head.weight", self.tokens))

    def hidden_states(
        self, ids: Tensor, positions: Tensor, bias: Tensor, cache: Cache | None = None
    ) -> Tensor:
        """See `PlainModel`."""
        x = (F.embedding(ids, self.tokens) + F.embedding(positions, self.positions)).flatten(0, 1)
        for layer, block in enumerate(self.blocks):
            norm, norm_bias, to_qkv, qkv_bias, to_out, out_bias, *mlp = block
            h = F.layer_norm(x, x.shape[-1:], norm, norm_bias, self.epsilon)
            qkv = torch.addmm(qkv_bias, h, to_qkv).view(*ids.shape, 3, self.heads, -1)
            mixed = self.attend(qkv, bias, cache, layer)
            x = x + torch.addmm(out_bias, mixed, to_out)
            norm, norm_bias, to_wide, wide_bias, to_narrow, narrow_bias = mlp
            h = F.layer_norm(x, x.shape[-1:], norm, norm_bias, self.epsilon)
            h = F.gelu(torch.addmm(wide_bias, h, to_wide), approximate="tanh")
            x = x + torch.addmm(narrow_bias, h, to_narrow)
        if cache is not None:
            cache.advance(ids.shape[1])
        return F.layer_norm(x, x.shape[-1:], *self.last_norm, self.epsilon).view(*ids.shape, -1)

    def attend(self, qkv: Tensor, bias: Tensor, cache: Cache | None, layer: int) -> Tensor:
        """Attention of one layer: (B, t, 3, H, D) → (B·t, C)."""
        rows, width = qkv.shape[:2]
        # three of (B·H, t, D), in one copy
        q, k, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, rows * self.heads, width, -1).unbind(0)
        if cache is not None:
            k, v = cache.store(layer, k, v)
        return attend(q, k, v, bias)


def check_gpt2(model: PreTrainedModel) -> None:
    """Refuse a model that is not a plain GPT-2.

    Raises:
        ValueError: says what is different.
    """
    config = model.config
    if config.model_type != "gpt2":
        raise ValueError(f"wanted a gpt2, got a {config.model_type} model")
    plain = {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
    }
    for name, wanted in plain.items():
        if getattr(config, name) != wanted:
            raise ValueError(f"the floor wants a GPT-2 with {name}={wanted}")
    if config.activation_function not in TANH_GELUS:
        raise ValueError(
            f"the floor wants one of the activations {', '.join(TANH_GELUS)}, "
            f"got {config.activation_function!r}"
        )
