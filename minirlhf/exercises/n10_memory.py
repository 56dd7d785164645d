"""Exercise of notebook 10: the memory of four models with LoRA."""

from collections.abc import Iterator

from minirlhf.exercises.exercise import Case, Draw, exercise

Matrices = list[tuple[int, int]]


@exercise(
    notebook="10",
    title="The memory of four models with LoRA",
    difficulty=3,
    importance=5,
    minutes=10,
    task="""
        All four models have the same shape: `whole` parameters, among them the linear layers of
        `matrices`, a list of (inputs, outputs). Beside each of these, LoRA of this `rank` puts $A$
        (inputs × rank) and $B$ (rank × outputs). Actor and Critic train such adapters and nothing
        else; the Reference reads with the Actor's trunk, the Critic with the Reward model's.

        Return the bytes of weights, gradients and AdamW's states of all four together, everything
        in float32. Leave out the heads of the scorers, which are a few hundred numbers.
        """,
    hints=(
        "How many trunks lie in memory, and does any of them have a gradient? How many adapters?",
        "An adapter has rank · (inputs + outputs) numbers for each matrix. A trained number costs "
        "16 bytes, a frozen one 4.",
    ),
    remark="""
        Two frozen trunks and two trained adapters: 8 bytes for each parameter instead of 40, and
        little more. `minirlhf.memory.plan(…, lora_rank=…, sharing="pairs")` counts the same, with
        the heads.
        """,
)
def lora_bytes(matrices: list[tuple[int, int]], whole: int, rank: int) -> int:
    """Bytes of weights, gradients and optimiser states of the four models."""
    adapter = sum(rank * (inputs + outputs) for inputs, outputs in matrices)
    return 2 * (4 * whole + 16 * adapter)


@lora_bytes.cases
def _(draw: Draw) -> Iterator[Case]:
    cafe_block = [(128, 384), (128, 128), (128, 512), (512, 128)]
    yield Case("one small matrix", [(3, 5)], 20, 1)
    yield Case("the café's models", 2 * cafe_block, 415_488, 8)
    yield Case("a larger rank", 2 * cafe_block, 415_488, 64)
    large_block = [(1600, 4800), (1600, 1600), (1600, 6400), (6400, 1600)]
    yield Case("GPT-2's largest", 48 * large_block, 1_557_611_200, 16)
    yield Case("no matrix at all", [], 1000, 8)


@lora_bytes.wrong(
    "You counted the matrices themselves as trained. They stay as they are; what is trained beside "
    "each are two thin ones, and the rank says how thin."
)
def _(matrices: Matrices, whole: int, rank: int) -> int:
    return 2 * (4 * whole + 16 * sum(inputs * outputs for inputs, outputs in matrices))


@lora_bytes.wrong(
    "You counted one of the two thin matrices only. A goes from the inputs to the rank, B from the "
    "rank to the outputs."
)
def _(matrices: Matrices, whole: int, rank: int) -> int:
    return 2 * (4 * whole + 16 * sum(rank * inputs for inputs, _ in matrices))


@lora_bytes.wrong(
    "You counted four trunks. Which models read with weights that lie in memory already?"
)
def _(matrices: Matrices, whole: int, rank: int) -> int:
    return 16 * whole + 32 * rank * sum(map(sum, matrices))


@lora_bytes.wrong(
    "You gave the trunks a gradient and AdamW's states. With LoRA they are frozen: 4 bytes for "
    "each of their weights, and no more."
)
def _(matrices: Matrices, whole: int, rank: int) -> int:
    return 32 * (whole + rank * sum(map(sum, matrices)))


@lora_bytes.wrong(
    "You counted the adapters' weights only. They are what is trained, so each of their numbers "
    "also has a gradient and two states of AdamW."
)
def _(matrices: Matrices, whole: int, rank: int) -> int:
    return 8 * (whole + rank * sum(map(sum, matrices)))


@lora_bytes.wrong(
    "You counted one adapter. The Critic is trained, too, and has one of its own: it shares the "
    "Reward model's trunk, not the Actor's adapter."
)
def _(matrices: Matrices, whole: int, rank: int) -> int:
    return 8 * whole + 16 * rank * sum(map(sum, matrices))
