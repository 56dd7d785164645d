"""Llama and Qwen2 written out by hand, as `plain_gpt2` does GPT-2, with the same interface.

RMSNorm, rotary positions, keys and values shared by groups of query heads, SwiGLU. The matrices of
query, key and value stand in one, and so do those of gate and up: two products instead of five.

Shapes: B batch, t slots, C width, H query heads, K heads of keys and values, D numbers per head.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from minirlhf.bench.attention import Cache, attend
from minirlhf.bench.plain_model import PlainModel

FAMILIES = ("llama", "qwen2")
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
GATE_UP = ("mlp.gate_proj", "mlp.up_proj")
Turn = tuple[Tensor, Tensor]  # cosine and sine of every slot's angles, (B, t, 1, D) each


class PlainLlama(PlainModel):
    """The trunk of a Llama or Qwen2 and the head on it, as bare tensors.

    Args:
        model: a language model or sequence classifier; its weights are copied if trained.
        trained: True = the weights are copies that ask for gradients.

    Raises:
        ValueError: another family, or options that are not written out here.
    """

    def __init__(self, model: PreTrainedModel, *, trained: bool) -> None:
        check_llama(model)
        config, state = model.config, model.state_dict()

        def copied(*names: str) -> Tensor:
            """Weights one below the other, as one of ours."""
            weights: list[Tensor] = [state[name].detach() for name in names]
            if len(weights) == 1 and not trained:
                return weights[0]  # the model's own memory
            return torch.cat(weights).requires_grad_(trained)

        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_size = int(getattr(config, "head_dim", 0) or config.hidden_size // self.heads)
        self.epsilon = float(config.rms_norm_eps)
        self.frequencies = frequencies(model)
        self.padding = config.pad_token_id  # as an input, this token's row gets no gradient
        self.tokens = copied("model.embed_tokens.weight")
        self.blocks = []
        for i in range(config.num_hidden_layers):
            layer = f"model.layers.{i}."
            qkv = [layer + name for name in QKV]
            block = [
                copied(layer + "input_layernorm.weight"),
                copied(*(name + ".weight" for name in qkv)),
                copied(layer + "self_attn.o_proj.weight"),
                copied(layer + "post_attention_layernorm.weight"),
                copied(*(layer + name + ".weight" for name in GATE_UP)),
                copied(layer + "mlp.down_proj.weight"),
            ]
            if qkv[0] + ".bias" in state:
                block.append(copied(*(name + ".bias" for name in qkv)))
            self.blocks.append(block)
        self.last_norm = copied("model.norm.weight")
        self.parameters = [self.tokens, *(w for block in self.blocks for w in block)]
        self.parameters.append(self.last_norm)
        tied = "score.weight" not in state and config.tie_word_embeddings
        own = "score.weight" if "score.weight" in state else "lm_head.weight"
        self.head = self.tokens if tied else copied(own)
        if not tied:
            self.parameters.append(self.head)

    def hidden_states(
        self, ids: Tensor, positions: Tensor, bias: Tensor, cache: Cache | None = None
    ) -> Tensor:
        """See `PlainModel`."""
        x = F.embedding(ids, self.tokens, self.padding).flatten(0, 1)
        angles = positions[..., None, None] * self.frequencies
        turn = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for layer, (norm, to_qkv, to_out, norm_2, to_wide, to_narrow, *more) in enumerate(
            self.blocks
        ):
            h = F.rms_norm(x, x.shape[-1:], norm, self.epsilon)
            qkv = F.linear(h, to_qkv, more[0] if more else None).view(*ids.shape, -1)
            x = x + F.linear(self.attend(qkv, turn, bias, cache, layer), to_out)
            h = F.rms_norm(x, x.shape[-1:], norm_2, self.epsilon)
            gate, up = F.linear(h, to_wide).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, to_narrow)
        if cache is not None:
            cache.advance(ids.shape[1])
        return F.rms_norm(x, x.shape[-1:], self.last_norm, self.epsilon).view(*ids.shape, -1)

    def attend(
        self, qkv: Tensor, turn: Turn, bias: Tensor, cache: Cache | None, layer: int
    ) -> Tensor:
        """Attention of one layer: (B, t, (H + 2·K)·D) → (B·t, H·D)."""
        rows, width = qkv.shape[:2]
        qkv = qkv.view(rows, width, -1, self.head_size)
        turned = rotate(qkv[:, :, : self.heads + self.kv_heads], *turn)
        # H heads of queries as K groups: (B, t, K, G, D) → (B·K, G·t, D)
        q = turned[:, :, : self.heads].unflatten(2, (self.kv_heads, -1))
        q = q.permute(0, 2, 3, 1, 4).reshape(rows * self.kv_heads, -1, self.head_size)
        k = turned[:, :, self.heads :].transpose(1, 2).flatten(0, 1)
        v = qkv[:, :, self.heads + self.kv_heads :].transpose(1, 2).flatten(0, 1)
        if cache is not None:
            k, v = cache.store(layer, k, v)
        return attend(q, k, v, bias)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021): turn each pair of numbers by its slot's angle.

    Args:
        x: (B, t, heads, D); number i is paired with i + D/2.
        cos: (B, t, 1, D/2).
        sin: (B, t, 1, D/2).
    """
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def frequencies(model: PreTrainedModel) -> Tensor:
    """(D/2,) radians per slot, as the model has them (whatever scaling they come from)."""
    rotary = next(m for m in model.modules() if hasattr(m, "inv_freq"))
    found = rotary.inv_freq
    assert isinstance(found, Tensor)
    return found.detach().clone()


def check_llama(model: PreTrainedModel) -> None:
    """Refuse a model that is not a plain Llama or Qwen2.

    Raises:
        ValueError: says what is different.
    """
    config = model.config
    if config.model_type not in FAMILIES:
        raise ValueError(f"wanted one of {', '.join(FAMILIES)}, got a {config.model_type} model")
    plain = {
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "use_sliding_window": False,
    }
    for name, wanted in plain.items():
        if (got := getattr(config, name, wanted)) != wanted:
            raise ValueError(
                f"the floor wants a {config.model_type} with {name}={wanted}, got {got}"
            )
    kinds = {"default", "llama3", "linear"}  # those whose angles do not depend on the text
    if (kind := config.rope_parameters["rope_type"]) not in kinds:
        raise ValueError(f"the floor wants rotary positions of type default, got {kind!r}")
