"""What one model's passes hold in memory beside weights, gradients and states, in bytes.

Counted tensor by tensor in transformers' and our own code; the tests compare it with every byte
that PyTorch takes on a CPU. n tokens are read, H wide; I is the feed-forward width, L the length.

    kept of a forward pass for its backward pass        `kept_by_block`, `kept`
    while a pass without gradient runs                  `held_by_block`, `reading`
    while the backward pass goes through a block        `back_through_block`
    logits, n·V: some tables of them, or chunks         `logits`
    autocast's half-precision copies of the matrices    `copies`
    while responses are written                         `writing`
"""

from dataclasses import dataclass, replace

from minirlhf.shapes import Shape

FLOAT32 = 4  # bytes; log-probs, softmax and norms are float32 in every precision


@dataclass(frozen=True)
class Passes:
    """How a model is run.

    Attributes:
        rows: responses in a pass.
        length: L, tokens of prompt and response.
        response: R, tokens of the response: the output head runs on these.
        wide: bytes of a number that stays as precise as the weights are: between the blocks.
        narrow: bytes of a number that goes into or comes out of a matrix product.
        attention: "sdpa" or "eager".
        checkpointing: a block's inside is computed again for the backward pass.
        rank: of LoRA; 0 = every weight is trained.
        logits_at_once: bytes of float32 logits; more are read in chunks of half that.
    """

    rows: int
    length: int
    response: int
    wide: int
    narrow: int
    attention: str
    checkpointing: bool
    rank: int
    logits_at_once: int

    @property
    def tokens(self) -> int:
        """n, tokens that the blocks read."""
        return self.rows * self.length

    @property
    def casts(self) -> bool:
        """Whether matrix products are narrower than the weights: autocast."""
        return self.narrow < self.wide


def kept_by_block(shape: Shape, how: Passes) -> int:
    """Of one token, for the backward pass of one block.

    GPT-2: inputs of the two norms, wide; inputs of four matrices, query, key, value and the
    attention's output, 6·H, narrow; inputs and outputs of the GELU and, where that is many
    operations, of each: 2·I or 5·I. Llama and Qwen2: 4·H wide, since a norm's output before its
    weight is kept where that weight is trained, 6·H and 4·I narrow; under autocast each matrix has
    an input of its own, 9·H. Then, with fused attention, the mask, L, and a number for each head;
    else the weights, heads·L, which autocast keeps twice, in both precisions.
    """
    h, i, gpt2 = shape.width, shape.inner, shape.family == "gpt2"
    if how.attention == "eager":
        weights = shape.heads * how.length * (how.narrow + how.wide * how.casts)
    else:
        weights = how.length * how.narrow + shape.heads * FLOAT32
    if gpt2:
        wide, narrow, matrices = 2 * h, 6 * h + (2 if shape.fused_gelu else 5) * i, 4
    else:
        wide, narrow, matrices = (2 if how.rank else 4) * h, (9 if how.casts else 6) * h + 4 * i, 7
    return wide * how.wide + (narrow + matrices * how.rank) * how.narrow + weights + 4 * FLOAT32


def kept(shape: Shape, how: Passes) -> int:
    """Of all tokens, of all blocks; outside: inputs of the last norm and the head.

    With checkpointing, of each block its input only.
    """
    block = shape.width * how.wide if how.checkpointing else kept_by_block(shape, how)
    outside = (2 if shape.family == "gpt2" else 3) * shape.width * how.wide
    return how.tokens * (shape.layers * block + outside)


def held_by_block(shape: Shape, how: Passes) -> int:
    """Of one token, while a block is run without gradient; the larger of its two halves.

    In the feed-forward half 4 numbers of I for GPT-2's GELU of many operations, 2 for a fused one,
    3 for gate and up, and the attention's weights, which a block returns; in the attention its
    weights before and after the softmax, and query, key and value. In both, embeddings and
    residuals.
    """
    gelu = (2 if shape.fused_gelu else 4) if shape.family == "gpt2" else 3
    weights = shape.heads * how.length if how.attention == "eager" else 0
    feed_forward = (gelu * shape.inner + weights) * how.narrow
    attention = 2 * weights * FLOAT32 + 3 * shape.width * how.narrow
    mask = how.length * (FLOAT32 if how.attention == "eager" else 1)
    return max(feed_forward, attention) + 6 * shape.width * how.wide + mask


def back_through_block(shape: Shape, how: Passes) -> int:
    """Of one token, on the way back through a block, beyond what it kept.

    The gradients of two tensors as wide as I; or those of the attention's weights, when what the
    feed-forward half kept is gone.
    """
    inner = shape.inner * how.narrow
    weights = shape.heads * how.length * FLOAT32 if how.attention == "eager" else 0
    gone = (2 if shape.fused_gelu else 5) * inner if shape.family == "gpt2" else 4 * inner
    return max(2 * inner, 2 * weights - gone) + 2 * shape.width * how.wide


def copies(shape: Shape, how: Passes, *, blocks: int) -> int:
    """Under autocast: the matrices of so many blocks once more, in half precision."""
    return blocks * shape.block_matrices * how.narrow if how.casts else 0


def output_table(shape: Shape, size: int) -> int:
    """V·H numbers of this size: the output matrix, its gradient, or a copy."""
    return shape.vocabulary * shape.width * size


def is_chunked(shape: Shape, how: Passes) -> bool:
    """Whether all logits would be too many to be held at once."""
    return how.rows * how.response * shape.vocabulary * FLOAT32 > how.logits_at_once


def logits(shape: Shape, how: Passes) -> int:
    """Float32 logits that are held at once: all, or a chunk of half of what may be."""
    tokens = how.rows * how.response
    if is_chunked(shape, how):
        tokens = max(1, how.logits_at_once // (2 * FLOAT32 * shape.vocabulary))
    return tokens * shape.vocabulary * FLOAT32


def half_head(shape: Shape, how: Passes) -> int:
    """Under autocast: the output matrix in half precision."""
    return output_table(shape, how.narrow) if how.casts else 0


def reading(shape: Shape, how: Passes, *, tables: int) -> int:
    """A pass without gradient: the larger of a block and of the head.

    Args:
        shape: of the model.
        how: it is run.
        tables: as large as the logits: the Actor's has them, their softmax and the entropy's terms,
            3; the Reference's logits and log-softmax, 2; a scorer none. Under autocast both have
            2½: the logits are narrow at first.
    """
    block, table, head = how.tokens * held_by_block(shape, how), logits(shape, how), 0
    if tables and how.casts:
        copy = half_head(shape, how)
        own = copy if is_chunked(shape, how) else 0
        head = max(table * 5 // 2 + own, table // 2 + copy)
    elif tables:
        head = tables * table
    return max(block, head)


def learning(shape: Shape, how: Passes, *, speaks: bool) -> int:
    """A pass with gradient, at its worst: before any gradient of a weight but the output table's.

    Args:
        shape: of the model.
        how: it is run.
        speaks: the head gives logits; of a Critic, one number.
    """
    stays = kept(shape, how)
    back = how.tokens * back_through_block(shape, how)
    forward = 0
    if how.checkpointing:  # a block comes to life; autocast has copies of all while it goes forward
        back += how.tokens * kept_by_block(shape, how) + copies(shape, how, blocks=1)
        forward = how.tokens * held_by_block(shape, how)
        forward += copies(shape, how, blocks=0 if how.rank else shape.layers)
    else:
        stays += copies(shape, how, blocks=shape.layers)
    if not speaks:
        return stays + max(back, forward)
    return stays + max(_head(shape, how), back + _head_gradient(shape, how), forward)


def _head(shape: Shape, how: Passes) -> int:
    """The output head, forward and on the way back.

    Whole: log-softmax, the gradient after it and before it; then that of the logits and of W. In
    chunks: logits and softmax of a chunk, beside the gradient of W from the beginning.
    """
    table, head, gradient = logits(shape, how), half_head(shape, how), _head_gradient(shape, how)
    if is_chunked(shape, how):
        return (table * 5 // 2 if how.casts else table * 2) + gradient + head
    # autocast: the gradient of W is narrow before it is wide, and the copy of W is gone
    back = table * how.narrow // FLOAT32 + gradient + (head if gradient else 0)
    return max(head + 3 * table, back)


def _head_gradient(shape: Shape, how: Passes) -> int:
    """Of the output table, which waits for the input table's where they are one; 0 with LoRA."""
    return 0 if how.rank else output_table(shape, how.wide)


def keys_and_values(shape: Shape, how: Passes, size: int) -> int:
    """Of all tokens, in all blocks: K numbers of this size each."""
    return 2 * shape.layers * shape.key_width * how.tokens * size


def writing(shape: Shape, how: Passes, *, static: bool) -> int:
    """While the Actor writes: keys and values, beside the prompts' pass or the last token's head.

    The head has logits, log-probs, and probabilities and their sums in float64. Static decoding has
    its keys and values in `decoding`.
    """
    size = 0 if static else how.narrow if shape.family == "gpt2" else how.wide  # turned keys: wide
    prompts = replace(how, length=how.length - how.response)
    first = keys_and_values(shape, prompts, size) + prompts.tokens * held_by_block(shape, prompts)
    last = how.rows * shape.vocabulary * (how.narrow + FLOAT32 + 2 * 8)
    return max(first, keys_and_values(shape, how, size) + last)


def decoding(shape: Shape, how: Passes, weights: int) -> int:
    """What static decoding keeps from batch to batch, so that a GPU can replay a recorded step.

    Keys and values, and, where products are narrower than weights, a copy of all weights.
    """
    copy = weights * how.narrow if how.casts else 0
    return keys_and_values(shape, how, how.narrow) + copy
