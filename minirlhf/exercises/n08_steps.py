"""Exercises of notebook 08: how many steps, and how many bytes."""

import math
from collections.abc import Iterator

from minirlhf.exercises.exercise import Case, Draw, exercise, question


@exercise(
    notebook="08",
    title="How many steps?",
    difficulty=2,
    importance=3,
    minutes=8,
    task="""
        A rollout has `responses` rows. Each epoch cuts them into minibatches of `minibatch_size`
        (the last may be smaller), one optimiser step each; each minibatch is cut into microbatches
        of `microbatch_size`, one forward pass of the Actor each. Return a tuple: the Actor's
        optimiser steps, and its forward passes, in the whole update.
        """,
    hints=(
        "10 rows in minibatches of 4 are 4 + 4 + 2: three steps, not two.",
        "`math.ceil(a / b)` rounds up. The last minibatch may need fewer microbatches.",
    ),
    remark="""
        Microbatches are for the memory only: they change the number of passes, never the number of
        steps. minirlhf reports the first number as `optimiser_steps`.
        """,
)
def count_steps(
    responses: int, minibatch_size: int, microbatch_size: int, epochs: int
) -> tuple[int, int]:
    """Optimiser steps and forward passes of one update. Returns two whole numbers."""
    full, rest = divmod(responses, minibatch_size)
    steps = full + (rest > 0)
    passes = full * math.ceil(minibatch_size / microbatch_size) + math.ceil(rest / microbatch_size)
    return epochs * steps, epochs * passes


@count_steps.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("minirlhf's default, no microbatches", 64, 32, 32, 2)
    yield Case("microbatches", 64, 16, 4, 3)
    yield Case("a smaller last minibatch", 10, 4, 4, 1)
    yield Case("a smaller last microbatch", 12, 6, 4, 2)
    yield Case("one row", 1, 1, 1, 1)
    yield Case("everything at once", 64, 64, 64, 1)


@count_steps.wrong("You rounded down: the rows that are left over are a minibatch, too.")
def _(responses: int, minibatch_size: int, microbatch_size: int, epochs: int) -> tuple[int, int]:
    steps = responses // minibatch_size
    return epochs * steps, epochs * steps * (minibatch_size // microbatch_size)


@count_steps.wrong(
    "You let the optimiser step after each microbatch. Their gradients are added up first."
)
def _(responses: int, minibatch_size: int, microbatch_size: int, epochs: int) -> tuple[int, int]:
    full, rest = divmod(responses, minibatch_size)
    passes = full * math.ceil(minibatch_size / microbatch_size) + math.ceil(rest / microbatch_size)
    return epochs * passes, epochs * passes


@count_steps.wrong(
    "You cut the whole rollout into microbatches. Each minibatch is cut by itself, and what is "
    "left over in it is a pass of its own."
)
def _(responses: int, minibatch_size: int, microbatch_size: int, epochs: int) -> tuple[int, int]:
    passes = math.ceil(responses / microbatch_size)
    return epochs * math.ceil(responses / minibatch_size), epochs * passes


@count_steps.wrong("That is one epoch. The same rows are used again in each.")
def _(responses: int, minibatch_size: int, microbatch_size: int, epochs: int) -> tuple[int, int]:
    full, rest = divmod(responses, minibatch_size)
    passes = full * math.ceil(minibatch_size / microbatch_size) + math.ceil(rest / microbatch_size)
    return full + (rest > 0), passes


question(
    "bytes_of_four_models",
    notebook="08",
    title="What do four models weigh?",
    difficulty=2,
    importance=4,
    minutes=3,
    task="""
        Four models of N parameters each, all numbers in float32 (4 bytes). A trained model keeps
        weights, gradients and AdamW's two moments; a frozen one keeps its weights. How many bytes
        are that for each of the N, all four models together (without activations)?
        """,
    hints=(
        "A trained model: one number for the weight, one for its gradient, two for AdamW.",
        "Two trained models, two frozen ones: 2 · (4 numbers) + 2 · (1 number), times 4 bytes.",
    ),
    answer=40,
    form="a whole number, in bytes",
    wrong=(
        (64, "As if all four were trained. Two of them are frozen and keep their weights only."),
        (16, "That is the weights of all four. What does training keep besides?"),
        (24, "AdamW is missing: it keeps two numbers for each weight that it trains."),
        (20, "That is one trained and one frozen model. There are two of each."),
    ),
    remark="""
        With 1 billion parameters: 40 GB. Adapters (LoRA), one trunk for several models and half
        precision are ways to make that smaller (notebook 10).
        """,
)
