"""Real models of planned shapes."""

from transformers import GPT2Config, LlamaConfig, PreTrainedConfig, Qwen2Config

from minirlhf.shapes import Shape


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
