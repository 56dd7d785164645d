"""Gradient checkpointing: keep less of a forward pass, and compute it again for the backward pass.

Of each block only its input is kept; the backward pass runs the block's forward once more when it
needs what is inside. That costs about a third more time in an update and saves most of its memory
(Chen et al. 2016, arXiv:1604.06174).

The blocks of transformers do it by themselves, under two conditions that do not suit us: they must
be in training mode, where dropout would be on, and they then drop their cache, so that nobody could
generate. Here a block, and none of the modules inside it, is in training mode for as long as a pass
with gradient runs, and never else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from minirlhf.backbone import Role


def set_checkpointing(role: Role, on: bool) -> None:
    """Let this role's passes with gradient be computed twice, or once again no more.

    Args:
        role: its results stay the same.
        on: the setting `gradient_checkpointing`.

    Raises:
        ValueError: the model's blocks cannot do it.
    """
    if not on and not role.gradient_checkpointing:
        return
    blocks = _blocks(role)
    if not blocks:
        raise ValueError(
            f"{type(role.model).__name__} has no blocks that can be computed again; "
            "leave gradient_checkpointing out"
        )
    role.gradient_checkpointing = on
    for block in blocks:
        block.gradient_checkpointing = on
        # nothing random happens inside, so no random state has to be kept
        block._gradient_checkpointing_func = partial(  # type: ignore[assignment]
            checkpoint, use_reentrant=False, preserve_rng_state=False
        )


@contextmanager
def recomputed(role: Role) -> Iterator[None]:
    """Around a forward pass: computed twice, where that is set and there is a gradient at all."""
    blocks = _blocks(role) if role.gradient_checkpointing and torch.is_grad_enabled() else []
    for block in blocks:
        block.training = True  # not `train()`, which would reach the dropout inside
    try:
        yield
    finally:
        for block in blocks:
            block.training = False


def _blocks(role: Role) -> list[GradientCheckpointingLayer]:
    return [m for m in role.model.modules() if isinstance(m, GradientCheckpointingLayer)]
