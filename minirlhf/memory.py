"""What the four models of PPO take of a device's memory, before anything is loaded.

    plan(SHAPES["GPT-2 1.6 B"], SHAPES["GPT-2 124 M"], precision="autocast")["Critic"].weights

All numbers are bytes. Weights, gradients and optimiser states are exact, and what a trained model
keeps of a pass in float32 is within a tenth of autograd's saved tensors on a CPU: the tests compare
them with real GPT-2, Llama and Qwen2 models, with either attention. Not measured: half precision,
where norms keep some float32, and any GPU. Not counted: the KV cache while writing, work space of
kernels, what the allocator holds in reserve, the CUDA context.
"""

from dataclasses import dataclass

from minirlhf.shapes import ATTENTIONS, Shape

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
    attention: str = "sdpa",
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
        attention: one of ATTENTIONS; our roles take "sdpa" on a GPU and "eager" on a CPU.

    Raises:
        ValueError: an unknown name, a number out of range, or trunks shared without LoRA.
    """
    _check(precision, optimiser, lora_rank, sharing, attention, rows, length)
    weight, _, activation = PRECISIONS[precision]
    state = _state_bytes(precision, optimiser)
    parts = {}
    for name, (stored, trained) in _counts(language, scorer, lora_rank, sharing).items():
        of_language = name in ("Actor", "Reference") or sharing == "one trunk"
        shape = language if of_language or (name, sharing) == ("Critic", "value head") else scorer
        numbers = (
            rows * length * _kept_of_token(shape, length, attention, trained > 0, checkpointing)
        )
        # a frozen model's logits; of a trained one the log-softmax, kept, and two on its way back
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
    return {"Actor": actor, "Reference": reference, "Critic": critic, "Reward model": reward}


def peak(parts: dict[str, Part]) -> int:
    """Bytes at the worst moment: everything that stays, and the activations of one model."""
    stays = sum(p.weights + p.gradients + p.optimiser for p in parts.values())
    return stays + max(p.activations for p in parts.values())


def _state_bytes(precision: str, optimiser: str) -> int:
    """Of each trained parameter."""
    each = 1 if optimiser == "AdamW 8 bit" else PRECISIONS[precision][1]
    return OPTIMISERS[optimiser] * each + (4 if precision == "mixed" else 0)


def _kept_of_token(
    shape: Shape, length: int, attention: str, trained: bool, checkpointing: bool
) -> int:
    """Numbers kept of each token for the backward pass; a frozen model has one block's at a time.

    With checkpointing, each block keeps its input, and one block at a time all the rest.
    """
    block = shape.kept_by_block(length, attention)
    if not trained:
        return block
    blocks = block + shape.layers * shape.width if checkpointing else shape.layers * block
    return blocks + shape.kept_outside


def _check(
    precision: str,
    optimiser: str,
    lora_rank: int,
    sharing: str,
    attention: str,
    rows: int,
    length: int,
) -> None:
    for name, value, known in (
        ("precision", precision, PRECISIONS),
        ("optimiser", optimiser, OPTIMISERS),
        ("sharing", sharing, SHARING),
        ("attention", attention, ATTENTIONS),
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
