"""What the four models of PPO take of a device's memory, before anything is loaded.

    plan(SHAPES["GPT-2 1.6 B"], SHAPES["GPT-2 124 M"], precision="autocast")["Critic"].weights

All numbers are bytes. Weights, gradients and optimiser states are exact (the tests compare them
with real models on a CPU). Activations are an estimate for fused operations; transformers' GPT-2,
whose GELU is many small ones, kept 1.7 times as much on a CPU. Nothing here was measured on a GPU.
Not counted: the KV cache while writing, work space of kernels, what the allocator holds in reserve,
the CUDA context.
"""

from dataclasses import dataclass

GIB = 2**30
# bytes per weight, per number of the optimiser's state, and per activation
PRECISIONS = {
    "float32": (4, 4, 4),
    "autocast": (4, 4, 2),  # float32 weights, bfloat16 products: our `precision="bfloat16"`
    "mixed": (2, 4, 2),  # bfloat16 weights, and the optimiser holds float32 copies of them
    "bfloat16": (2, 2, 2),  # all of it
}
OPTIMISERS = {"AdamW": 2, "AdamW 8 bit": 2, "SGD": 0}  # states per trained parameter
SHARING = ("nothing", "value head", "pairs", "one trunk")


@dataclass(frozen=True)
class Shape:
    """The sizes of a GPT-2-shaped model.

    Attributes:
        layers: blocks.
        width: H, of the hidden states.
        heads: of attention, per block.
        vocabulary: V, tokens.
        positions: longest text that it can read.
    """

    layers: int
    width: int
    heads: int
    vocabulary: int
    positions: int

    @property
    def parameters(self) -> int:
        """(V + positions)·H + layers·(12·H² + 13·H) + 2·H: the trunk; input and output are tied."""
        h = self.width
        tables = (self.vocabulary + self.positions) * h
        return tables + self.layers * (12 * h * h + 13 * h) + 2 * h

    def lora_parameters(self, rank: int) -> int:
        """LoRA on every matrix of every block: rank·(inputs + outputs) each, together 16·H·rank.

        Hu et al. 2021. In GPT-2 that is 4·H for query, key and value (one matrix), 2·H for the
        attention's output, 5·H each for the two feed-forward matrices.
        """
        return self.layers * rank * 16 * self.width


SHAPES = {
    "GPT-2 124 M": Shape(12, 768, 12, 50257, 1024),
    "GPT-2 355 M": Shape(24, 1024, 16, 50257, 1024),
    "GPT-2 774 M": Shape(36, 1280, 20, 50257, 1024),
    "GPT-2 1.6 B": Shape(48, 1600, 25, 50257, 1024),
    "GPT-3 6.7 B": Shape(32, 4096, 32, 50257, 2048),
    "GPT-3 13 B": Shape(40, 5120, 40, 50257, 2048),
}


@dataclass(frozen=True)
class Part:
    """Bytes that one of the four models takes."""

    weights: int
    gradients: int
    optimiser: int
    activations: int


def plan(
    language: Shape,
    scorer: Shape,
    *,
    precision: str = "float32",
    optimiser: str = "AdamW",
    lora_rank: int = 0,
    sharing: str = "nothing",
    rows: int = 8,
    length: int = 256,
    checkpointing: bool = False,
) -> dict[str, Part]:
    """Bytes of Actor, Reference, Critic and Reward model.

    Args:
        language: of Actor and Reference.
        scorer: of Critic and Reward model.
        precision: one of PRECISIONS.
        optimiser: one of OPTIMISERS.
        lora_rank: 0 = every weight of Actor and Critic is trained.
        sharing: "nothing": four whole models. "value head": the Critic is a head on the Actor's
            trunk. With LoRA, "pairs": Reference is the Actor without its adapters, Reward model and
            Critic share a trunk; "one trunk": all four share the Actor's.
        rows: responses in a microbatch.
        length: tokens of prompt and response together.
        checkpointing: activations inside a block are computed again for the backward pass.

    Raises:
        ValueError: an unknown name, a number out of range, or trunks shared without LoRA.
    """
    _check(precision, optimiser, lora_rank, sharing, rows, length)
    weight, _, activation = PRECISIONS[precision]
    state = _state_bytes(precision, optimiser)
    parts = {}
    for name, (stored, trained) in _counts(language, scorer, lora_rank, sharing).items():
        of_language = name in ("Actor", "Reference") or sharing == "one trunk"
        shape = language if of_language or (name, sharing) == ("Critic", "value head") else scorer
        numbers = _kept_numbers(shape, rows, length, trained > 0, checkpointing)
        # logits, and of a trained model also their log-softmax and its gradient
        tables = {"Actor": 3, "Reference": 1}.get(name, 0)
        parts[name] = Part(
            weights=stored * weight,
            gradients=trained * weight,
            optimiser=trained * state,
            activations=numbers * activation + tables * rows * length * shape.vocabulary * 4,
        )
    return parts


def _counts(language: Shape, scorer: Shape, rank: int, sharing: str) -> dict[str, tuple[int, int]]:
    """Of each model: weights that it adds to memory, and how many of its weights are trained."""
    if sharing == "one trunk":
        scorer = language
    head = scorer.width  # one number from the last hidden state, without a bias
    actor, critic = (language.parameters,) * 2, (scorer.parameters + head,) * 2
    reference, reward = (language.parameters, 0), (scorer.parameters + head, 0)
    if rank:
        adapters, own = language.lora_parameters(rank), scorer.lora_parameters(rank) + head
        actor, critic = (language.parameters + adapters, adapters), (scorer.parameters + own, own)
        if sharing in ("pairs", "one trunk"):
            reference, critic = (0, 0), (own, own)
        if sharing == "one trunk":
            reward = (own, 0)
    if sharing == "value head":
        critic = (language.width,) * 2
    return {"Actor": actor, "Reference": reference, "Critic": critic, "Reward model": reward}


def peak(parts: dict[str, Part]) -> int:
    """Bytes at the worst moment: everything that stays, and the activations of one model."""
    stays = sum(p.weights + p.gradients + p.optimiser for p in parts.values())
    return stays + max(p.activations for p in parts.values())


def _state_bytes(precision: str, optimiser: str) -> int:
    """Of each trained parameter."""
    each = 1 if optimiser == "AdamW 8 bit" else PRECISIONS[precision][1]
    return OPTIMISERS[optimiser] * each + (4 if precision == "mixed" else 0)


def _kept_numbers(shape: Shape, rows: int, length: int, trained: bool, checkpointing: bool) -> int:
    """What blocks keep for the backward pass; a frozen model keeps one block's at a time.

    16·H + heads·length numbers per token and block: Korthikanti et al. 2022, equation 1, without
    the dropout masks and with the attention weights kept.
    """
    tokens = rows * length
    block = tokens * (16 * shape.width + shape.heads * length)
    if not trained:
        return block
    return block + shape.layers * tokens * shape.width if checkpointing else block * shape.layers


def _check(
    precision: str, optimiser: str, lora_rank: int, sharing: str, rows: int, length: int
) -> None:
    for name, value, known in (
        ("precision", precision, PRECISIONS),
        ("optimiser", optimiser, OPTIMISERS),
        ("sharing", sharing, SHARING),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
    if lora_rank < 0 or rows < 1 or length < 1:
        raise ValueError(
            f"wanted lora_rank ≥ 0, rows ≥ 1 and length ≥ 1, got {lora_rank}, {rows} and {length}"
        )
    if sharing in ("pairs", "one trunk") and not lora_rank:
        raise ValueError(
            f"sharing {sharing!r} needs LoRA (lora_rank ≥ 1): trained whole, "
            "the Actor would change the Reference with it"
        )
