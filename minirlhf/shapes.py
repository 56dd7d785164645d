"""The sizes of a language model, and how many weights follow from them, exactly.

Three families: GPT-2, and Llama and Qwen2, which differ in the biases of query, key and value. What
their passes hold in memory is in `minirlhf.memory_passes`.
"""

from dataclasses import dataclass

FAMILIES = ("gpt2", "llama", "qwen2")
ATTENTIONS = ("sdpa", "eager")  # one fused operation, or a table of all attention weights
ROLES = ("Actor", "Reference", "Critic", "Reward model")
SHARING = ("nothing", "value head", "pairs", "one trunk")  # of trunks, by the four


@dataclass(frozen=True)
class Shape:
    """The sizes of a model.

    Attributes:
        layers: blocks.
        width: H, of the hidden states.
        heads: of attention, per block.
        vocabulary: V, tokens.
        positions: longest text that it can read; GPT-2 has a weight for each.
        family: one of FAMILIES.
        feed_forward: I, numbers between the feed-forward matrices; 0 = 4·H.
        kv_heads: heads of keys and values, which query heads share; 0 = as many as `heads`.
        tied: whether the output matrix is the input's.
        fused_gelu: GPT-2's GELU as one operation; transformers' "gelu_new" takes many, and keeps
            what each of them made. (Llama and Qwen2 have no GELU.)
    """

    layers: int
    width: int
    heads: int
    vocabulary: int
    positions: int
    family: str = "gpt2"
    feed_forward: int = 0
    kv_heads: int = 0
    tied: bool = True
    fused_gelu: bool = False

    def __post_init__(self) -> None:
        """Check the family.

        Raises:
            ValueError: there is no such family.
        """
        if self.family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}; got {self.family!r}")

    @property
    def inner(self) -> int:
        """I, numbers between the feed-forward matrices."""
        return self.feed_forward or 4 * self.width

    @property
    def key_width(self) -> int:
        """Numbers of a token's key, and of its value."""
        return self.width // self.heads * (self.kv_heads or self.heads)

    @property
    def block_matrices(self) -> int:
        """Weights of one block's matrices: 4·H² + 2·H·I, or 2·H² + 2·H·K + 3·H·I."""
        h, i, k = self.width, self.inner, self.key_width
        if self.family == "gpt2":
            return 4 * h * h + 2 * h * i
        return 2 * h * h + 2 * h * k + 3 * h * i

    @property
    def parameters(self) -> int:
        """The trunk's, with the input table and without an output matrix of its own.

        GPT-2: (V + positions)·H + layers·(4·H² + 2·H·I + 9·H + I) + 2·H.
        Llama: V·H + layers·(2·H² + 2·H·K + 3·H·I + 2·H) + H; Qwen2 adds H + 2·K to each layer.
        """
        h, i, k = self.width, self.inner, self.key_width
        if self.family == "gpt2":
            tables = (self.vocabulary + self.positions) * h
            return tables + self.layers * (self.block_matrices + 9 * h + i) + 2 * h
        biases = h + 2 * k if self.family == "qwen2" else 0
        return self.vocabulary * h + self.layers * (self.block_matrices + 2 * h + biases) + h

    @property
    def output_parameters(self) -> int:
        """Of the output matrix, where it is not the input's."""
        return 0 if self.tied else self.vocabulary * self.width

    def lora_parameters(self, rank: int) -> int:
        """LoRA on every matrix of every block: rank·(inputs + outputs) each.

        Hu et al. 2021. In GPT-2 query, key and value are one matrix; with I = 4·H that is
        16·H·rank a block.
        """
        h, i, k = self.width, self.inner, self.key_width
        if self.family == "gpt2":
            return self.layers * rank * (4 * h + 2 * h + 2 * (h + i))
        return self.layers * rank * (2 * 2 * h + 2 * (h + k) + 3 * (h + i))


def weights_of_four(
    language: Shape, scorer: Shape, rank: int, sharing: str
) -> dict[str, tuple[int, int]]:
    """Of each model: weights that it adds to memory, and how many of its weights are trained.

    Args:
        language: of Actor and Reference.
        scorer: of Critic and Reward model.
        rank: of LoRA; 0 = every weight of Actor and Critic is trained.
        sharing: one of SHARING.
    """
    if sharing == "one trunk":
        scorer = language
    head = scorer.width  # one number from the last hidden state, without a bias
    whole = language.parameters + language.output_parameters
    actor, critic = (whole,) * 2, (scorer.parameters + head,) * 2
    reference, reward = (whole, 0), (scorer.parameters + head, 0)
    if rank:
        adapters, own = language.lora_parameters(rank), scorer.lora_parameters(rank) + head
        actor, critic = (whole + adapters, adapters), (scorer.parameters + own, own)
        if sharing in ("pairs", "one trunk"):
            reference, critic = (0, 0), (own, own)
        if sharing == "one trunk":
            reward = (own, 0)
    if sharing == "value head":
        critic = (language.width,) * 2
    return dict(zip(ROLES, (actor, reference, critic, reward), strict=True))


def _gpt2(layers: int, width: int, heads: int, positions: int = 1024) -> Shape:
    return Shape(layers, width, heads, 50257, positions)


SHAPES = {
    "GPT-2 124 M": _gpt2(12, 768, 12),
    "GPT-2 355 M": _gpt2(24, 1024, 16),
    "GPT-2 774 M": _gpt2(36, 1280, 20),
    "GPT-2 1.6 B": _gpt2(48, 1600, 25),
    "GPT-3 6.7 B": _gpt2(32, 4096, 32, 2048),
    "GPT-3 13 B": _gpt2(40, 5120, 40, 2048),
    "Qwen2.5 0.5 B": Shape(24, 896, 14, 151_936, 32_768, "qwen2", 4864, 2),
    "Llama 3.2 1 B": Shape(16, 2048, 32, 128_256, 131_072, "llama", 8192, 8),
    "Llama 3.1 8 B": Shape(32, 4096, 32, 128_256, 131_072, "llama", 14_336, 8, tied=False),
}
