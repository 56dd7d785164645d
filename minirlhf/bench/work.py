"""How much has to be read and multiplied: what an iteration's time is held against.

Writing is bound by memory: each step reads every weight and every key and value so far, once.
Learning is bound by multiplication: 6 operations per weight and token, 2 forward and 4 backward
(Kaplan et al. 2020), and attention. Both count what is needed, not what a program does: only real
tokens, only the lower half of the attention table, the head only where a token is predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel


@dataclass(frozen=True)
class Sizes:
    """What of a language model is multiplied and read.

    Attributes:
        layers: blocks.
        query_width: numbers of a token's query, over all heads.
        key_width: numbers of a token's key, and of its value.
        matrices: weights in the matrices of all blocks.
        head: weights of the output matrix.
    """

    layers: int
    query_width: int
    key_width: int
    matrices: int
    head: int


def sizes_of(model: PreTrainedModel) -> Sizes:
    """Count a causal language model's weights."""
    config = model.config
    outputs, inputs = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    tables = {id(outputs), id(inputs)}
    blocks = [
        weight.numel()
        for name, weight in model.named_parameters()
        # GPT-2's table of positions is looked up, not multiplied
        if weight.dim() == 2 and id(weight) not in tables and not name.endswith("wpe.weight")
    ]
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    return Sizes(
        config.num_hidden_layers, heads * size, kv_heads * size, sum(blocks), outputs.numel()
    )


def decode_bytes(sizes: Sizes, prompts: Sequence[int], response: int, number: int) -> float:
    """Bytes that writing R tokens after each prompt has to read.

        Σ_t [weights + 2·layers·K·Σ_b (P_b + t)]·bytes of a number,  t = 0 … R−1

    Args:
        sizes: of the Actor.
        prompts: P_b, tokens of each prompt.
        response: R.
        number: bytes of one number: 2 for bfloat16, 4 for float32.
    """
    slots = sum(prompts) * response + len(prompts) * response * (response - 1) / 2
    cache = 2 * sizes.layers * sizes.key_width * slots
    return number * ((sizes.matrices + sizes.head) * response + cache)


def train_flops(sizes: Sizes, prompts: Sequence[int], response: int, epochs: int) -> float:
    """Operations that the update of an Actor and a Critic of this size has to make.

        epochs·Σ_b [2·(6·weights·n_b + 6·layers·C·n_b²) + 6·head·R],  n_b = P_b + R − 1

    The last token is never an input. Attention multiplies queries with keys and weights with
    values, n²·C each, 2 operations, three times with the backward pass, half of the table: 6·n²·C.
    The Critic's head, one row, is left out.

    Args:
        sizes: of the Actor.
        prompts: P_b, tokens of each prompt.
        response: R.
        epochs: passes over the rollout.
    """
    lengths = [prompt + response - 1 for prompt in prompts]
    trunk = 6 * sizes.matrices * sum(lengths)
    attention = 6 * sizes.layers * sizes.query_width * sum(n * n for n in lengths)
    head = 6 * sizes.head * response * len(prompts)
    return epochs * (2 * (trunk + attention) + head)


def shares(
    seconds: dict[str, float], *, bytes_read: float, flops: float, limits: dict[str, float]
) -> dict[str, float]:
    """How much of the measured limits a program uses.

    Args:
        seconds: of its phases "generate" (which reads the prompts too) and "train".
        bytes_read: from `decode_bytes`.
        flops: from `train_flops`.
        limits: "bytes_per_second" and "flops_per_second".

    Returns:
        `decode_of_bandwidth` and `train_of_matrix_rate`, 1 = the limit.
    """
    return {
        "decode_of_bandwidth": bytes_read / seconds["generate"] / limits["bytes_per_second"],
        "train_of_matrix_rate": flops / seconds["train"] / limits["flops_per_second"],
    }
