"""An exercise of notebook 01: the frozen copy."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from minirlhf.exercises.exercise import exercise

THE_SAME = "That is the model itself: freeze it, and the Actor can no longer learn either."
NOT_FROZEN = "The copy can still be trained. Tell every parameter that it needs no gradient."
SHARED = "The copy shares its weights with the original: when one is trained, both change."


def judge_copy(make: Callable[[nn.Module], nn.Module | None]) -> str | None:
    """None if `make` gives a frozen copy that is independent of its model."""
    model = nn.Linear(2, 1)
    before = [p.detach().clone() for p in model.parameters()]
    twin = make(model)
    if not isinstance(twin, nn.Module):
        return f"wanted a model back, got {twin!r:.40}"
    if twin is model:
        return THE_SAME
    if {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in twin.parameters()}:
        return SHARED
    if any(p.requires_grad for p in twin.parameters()):
        return NOT_FROZEN
    if not all(p.requires_grad for p in model.parameters()):
        return "You froze the original, too; only the copy must be frozen."
    now = [*model.parameters(), *twin.parameters()]
    same = all(torch.equal(p, b) for p, b in zip(now, before * 2, strict=True))
    return None if same else "The copy's weights differ from the model's. Copy; do not build anew."


@exercise(
    notebook="01",
    title="Make a Reference",
    difficulty=2,
    importance=5,
    minutes=5,
    task="""
        Make the Reference from the Actor: a copy with weights of its own, in which no parameter
        asks for a gradient any more. The model that you are given must stay as it is. (Use the
        module `copy`.)
        """,
    hints=(
        "`copy.copy` copies the shell and shares the weights. Which function copies them, too?",
        "`requires_grad_(False)` on a module reaches all of its parameters.",
    ),
    remark="`minirlhf.Reference.from_actor(actor)` is these two lines.",
    judge=judge_copy,
)
def frozen_copy(model: torch.nn.Module) -> torch.nn.Module:
    """The same weights in a model of its own, never to be trained."""
    twin = copy.deepcopy(model)
    twin.requires_grad_(False)
    return twin


@frozen_copy.wrong(THE_SAME)
def _(model: nn.Module) -> nn.Module:
    return model.requires_grad_(False)


@frozen_copy.wrong(NOT_FROZEN)
def _(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).eval()


@frozen_copy.wrong(SHARED)
def _(model: nn.Module) -> nn.Module:
    return copy.copy(model).requires_grad_(False)
