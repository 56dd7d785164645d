"""What the four models of PPO take of a device's memory, before anything is loaded.

    plan(SHAPES["GPT-2 1.6 B"], SHAPES["GPT-2 124 M"], precision="autocast")["Critic"].weights

All numbers are bytes. Weights, gradients and optimiser states are exact. The peak is within a tenth
of the largest sum of all tensors in a real iteration of our trainer, on a CPU: the tests measure it
for GPT-2, Llama and Qwen2, in float32 and under autocast.

    counted                                             not counted
    weights, gradients, AdamW's states                  masks, token ids, a rollout's numbers
    what passes keep for the backward pass              work space of kernels (cuBLAS, cuDNN)
    what a pass holds while it runs, logits most        what the allocator holds in reserve
    autocast's half-precision copies of weights         the CUDA context
    keys and values while writing                       the first step, before states exist
    which gradients are there at which moment           copies that several processes gather

A GPU was not measured. Compare with `torch.cuda.max_memory_allocated()`.
"""

from dataclasses import dataclass, replace

from minirlhf import memory_passes as passes
from minirlhf.memory_passes import Passes
from minirlhf.shapes import ATTENTIONS, SHARING, Shape, weights_of_four

GIB = 2**30
# bytes per weight, per number of the optimiser's state, and per activation
PRECISIONS = {
    "float32": (4, 4, 4),
    "autocast": (4, 4, 2),  # float32 weights, bfloat16 products: our `precision="bfloat16"`
    "mixed": (2, 4, 2),  # bfloat16 weights, and the optimiser holds float32 copies of them
    "bfloat16": (2, 2, 2),  # all of it
}
OPTIMISERS = {"AdamW": 2, "AdamW 8 bit": 2, "SGD": 0}  # states per trained parameter


@dataclass(frozen=True)
class Part:
    """Bytes that one of the four models takes, or all of them at one moment.

    Attributes:
        weights: that it adds to memory.
        gradients: one for each weight that is trained.
        optimiser: states.
        activations: the most that a pass with gradient holds; of a frozen model, one without.
        reading: the most that a pass without gradient holds, writing included.
        closing: beyond all gradients when the input table gets its own, last in a backward pass.
        earlier: gradients that earlier microbatches left before its pass begins.
        away: weights that wait in CPU memory while the model does not read.
        decoding: what static decoding keeps: keys and values, and weights in half precision.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    reading: int = 0
    closing: int = 0
    earlier: int = 0
    away: int = 0
    decoding: int = 0


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
    response: int | None = None,
    batch: int | None = None,
    accumulates: bool = False,
    offload: bool = False,
    static_decoding: bool = False,
    logits_at_once: int = 2**30,
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
        response: R, tokens of the response, for which there are logits; None = all `length`.
        batch: responses in a rollout, written and read at once; None = `rows`.
        accumulates: whether an optimiser step has more than one microbatch.
        offload: frozen models that share no trunk wait in CPU memory.
        static_decoding: writing as on a GPU, where its memory stays.
        logits_at_once: bytes of float32 logits; more are read in chunks (`chunked_log_probs`).

    Raises:
        ValueError: an unknown name, a number out of range, or trunks shared without LoRA.
    """
    response = length if response is None else response
    batch = rows if batch is None else batch
    _check(precision, optimiser, lora_rank, sharing, attention)
    _check_sizes(rows, length, response, batch, logits_at_once)
    weight, _, activation = PRECISIONS[precision]
    state = _state_bytes(precision, optimiser)
    update = Passes(
        rows, length, response, weight, activation, attention, checkpointing, lora_rank,
        logits_at_once,
    )  # fmt: skip
    rollout = replace(update, rows=batch)
    own_trunk = sharing in ("nothing", "value head")
    parts = {}
    for name, (stored, trained) in weights_of_four(language, scorer, lora_rank, sharing).items():
        of_language = name in ("Actor", "Reference") or sharing == "one trunk"
        shape = language if of_language or (name, sharing) == ("Critic", "value head") else scorer
        static = static_decoding and name == "Actor"
        reads = _reading(name, shape, rollout, language, static)
        with_gradient = passes.learning(shape, update, speaks=name == "Actor")
        parts[name] = Part(
            weights=stored * weight,
            gradients=trained * weight,
            optimiser=trained * state,
            activations=with_gradient if trained else reads,
            reading=reads,
            closing=_closing(name, shape, update, accumulates) if trained else 0,
            earlier=trained * weight if accumulates else 0,
            away=stored * weight if offload and own_trunk and not trained else 0,
            decoding=passes.decoding(shape, rollout, stored) if static else 0,
        )
    return parts


def moments(parts: dict[str, Part]) -> dict[str, Part]:
    """What all four models take together, whenever one of them is at its worst.

        rollout      no gradients                                     one model reads
        Actor        those of earlier microbatches                    its activations
        Critic       the same, and the Actor's                        its activations

    Returns:
        In order of time; the activations are those of the model at work.
    """
    every = parts.values()
    weights, states = sum(p.weights for p in every), sum(p.optimiser for p in every)
    away, stays = sum(p.away for p in every), sum(p.decoding for p in every)
    found = {
        f"{name} reads": Part(weights - away + p.away, 0, states, p.reading + stays)
        for name, p in parts.items()
    }
    present, done = sum(p.earlier for p in every), 0
    for name, p in parts.items():
        if p.gradients:
            there = max(present, done)
            found[f"{name} learns"] = Part(weights - away, there, states, p.activations + stays)
            done += p.gradients
            there = max(present, done)
            found[f"{name} ends"] = Part(weights - away, there, states, p.closing + stays)
    return found


def worst(parts: dict[str, Part]) -> Part:
    """The moment that takes most."""
    return max(moments(parts).values(), key=total)


def total(part: Part) -> int:
    """Bytes of a moment."""
    return part.weights + part.gradients + part.optimiser + part.activations


def peak(parts: dict[str, Part]) -> int:
    """Bytes at the worst moment of an iteration."""
    return total(worst(parts))


def _reading(name: str, shape: Shape, rollout: Passes, language: Shape, static: bool) -> int:
    """Without gradient: reading, the Actor's writing, and autocast's copies.

    Autocast keeps its copies of weights that are trained for the whole rollout, so the Actor's are
    there when the others read; of frozen weights it makes one at a time, for each use.
    """
    held = passes.reading(shape, rollout, tables={"Actor": 3, "Reference": 2}.get(name, 0))
    if name == "Actor":
        held = max(held, passes.writing(shape, rollout, static=static))
    if rollout.casts and not rollout.rank:
        held += passes.copies(language, rollout, blocks=language.layers)
        held += passes.output_table(language, rollout.narrow)
        held += passes.copies(shape, rollout, blocks=shape.layers) if name == "Critic" else 0
    return held


def _closing(name: str, shape: Shape, update: Passes, accumulates: bool) -> int:
    """When the input table gets its gradient, last of all, beyond that one.

    Where it is the output table as well, that one's gradient waits; autograd adds the two in place,
    but for whole logits in the weights' precision, whose gradient is a transposed view. With
    several microbatches the sum is then added to what is there.
    """
    if update.rank:
        return 0
    tables = int(accumulates)
    if name == "Actor" and shape.tied:
        tables += 1 if update.casts or passes.is_chunked(shape, update) else 2
    return tables * passes.output_table(shape, update.wide)


def _state_bytes(precision: str, optimiser: str) -> int:
    """Of each trained parameter."""
    each = 1 if optimiser == "AdamW 8 bit" else PRECISIONS[precision][1]
    return OPTIMISERS[optimiser] * each + (4 if precision == "mixed" else 0)


def _check_sizes(rows: int, length: int, response: int, batch: int, logits_at_once: int) -> None:
    smallest = min(rows, length, response, logits_at_once)
    if smallest < 1 or response > length or batch < rows:
        raise ValueError(
            "wanted rows, length, response and logits_at_once ≥ 1, response ≤ length and "
            f"batch ≥ rows; got {rows}, {length}, {response}, {logits_at_once} and batch {batch}"
        )


def _check(precision: str, optimiser: str, lora_rank: int, sharing: str, attention: str) -> None:
    for name, value, known in (
        ("precision", precision, PRECISIONS),
        ("optimiser", optimiser, OPTIMISERS),
        ("sharing", sharing, SHARING),
        ("attention", attention, ATTENTIONS),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
    if lora_rank < 0:
        raise ValueError(f"wanted lora_rank ≥ 0, got {lora_rank}")
    if sharing in ("pairs", "one trunk") and not lora_rank:
        raise ValueError(
            f"sharing {sharing!r} needs LoRA (lora_rank ≥ 1): trained whole, "
            "the Actor would change the Reference with it"
        )
