"""What all trainers share: a trainer is an iterator of step records.

    for step in trainer:
        print(step.step, step.metrics)

Nothing happens between steps, and the whole state of a run is: the weights, the optimisers' moments
and a few counters. Every random choice is a function of seed and counters (`minirlhf.noise`), every
learning rate a function of the step, so there is no generator and no scheduler to save.

Of several processes (`minirlhf.processes`) each runs the same loop on its part of the rows.
"""

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from minirlhf.backbone import Role
from minirlhf.batch import StepRecord
from minirlhf.config import AnyConfig
from minirlhf.processes import here
from minirlhf.sharding import emptied, gathered, move_optimizer, shard


class Trainer(ABC):
    """An iterator of step records over roles and their optimisers.

    Attributes:
        stage: as the command is called: "sft", "reward", "ppo", "reinforce", "rloo", "grpo", "dpo".
        config: the frozen settings.
        step: steps done so far.
        total: steps that the run will have.
        roles: the models that are trained, by name; what a checkpoint holds.
        optimizers: one for each of them, by the same name.
    """

    stage: str
    config: AnyConfig
    total: int
    roles: dict[str, Role]
    optimizers: dict[str, AdamW]

    def __init__(self) -> None:
        self.step = 0
        self._wrapped: dict[str, nn.Module] = {}
        self._empty: dict[str, Role] = {}

    def __len__(self) -> int:
        """Steps that the whole run has."""
        return self.total

    def __iter__(self) -> Iterator[StepRecord]:
        """Go on from `step` to `total`, yielding one record a step."""
        self._spread()
        while self.step < self.total:
            started = time.perf_counter()
            for optimizer in self.optimizers.values():
                optimizer.zero_grad(set_to_none=True)  # a step that was refused may have left some
            record = self.train_step()
            record.metrics["seconds"] = time.perf_counter() - started
            yield record

    @abstractmethod
    def train_step(self) -> StepRecord:
        """Do one step, advance `step`, and say what happened."""

    def learner(self, name: str) -> nn.Module:
        """The role to call for a pass with gradient: itself, or wrapped where there are others."""
        return self._wrapped.get(name, self.roles[name])

    def _spread(self) -> None:
        """Before the first step, spread the models over the processes; alone there is nothing."""
        if here().count == 1 or self._wrapped:
            return
        if not here().sharded:
            self._wrapped = {name: here().wrap(role) for name, role in self.roles.items()}
            return
        if getattr(self.config, "offload", False):
            raise ValueError("FSDP2 cuts frozen models up, and offload moves them whole; use one")
        held = [role for role in vars(self).values() if isinstance(role, Role)]
        if here().is_main:
            self._empty = {
                name: emptied(role, shared=[role.tokenizer, role.model.config])
                for name, role in self.roles.items()
            }
        before = {name: role.trained_parameters() for name, role in self.roles.items()}
        for part in [module for role in held for module in role.modules()]:
            if isinstance(part, Role):  # an ensemble has several inside
                shard(part.model)
        for name, role in self.roles.items():
            move_optimizer(self.optimizers[name], before[name], role.trained_parameters())
        self._wrapped = dict(self.roles)

    def gathered(self) -> contextlib.AbstractContextManager[None]:
        """A block in which the main process has whole weights to save; all have to come to it."""
        if not (here().sharded and self._wrapped):
            return contextlib.nullcontext()
        return gathered(self.roles, self.optimizers, self._empty)

    def counters(self) -> dict[str, Any]:
        """What a checkpoint must remember besides tensors; plain JSON."""
        return {"step": self.step}

    def restore_counters(self, counters: dict[str, Any]) -> None:
        """Take over what `counters` gave when the checkpoint was written."""
        self.step = int(counters["step"])


def adamw(role: Role, lr: float) -> AdamW:
    """The optimiser of one role: AdamW (0.9, 0.95), no weight decay, one fused kernel."""
    trained = list(role.trained_parameters().values())
    return AdamW(trained, lr=lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)


def check_lora_rank(config: AnyConfig, *roles: Role) -> None:
    """Refuse a role that is not trained as the settings say.

    Raises:
        ValueError: its adapter has another rank than `config.lora_rank`.
    """
    for role in roles:
        if role.lora_rank != config.lora_rank:
            name, wanted = type(role).__name__, config.lora_rank
            raise ValueError(
                f"lora_rank is {wanted}, but the {name} has "
                + (f"an adapter of rank {role.lora_rank}" if role.lora_rank else "no adapter")
                + "; make the roles and the settings with the same lora_rank"
            )


def set_lr(optimizer: AdamW, lr: float) -> None:
    """Use this learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def warmup_cosine(step: int, total: int, peak: float) -> float:
    """Learning rate of step 0 … total−1: 5 % linear warm-up, then half a cosine down to 0."""
    warmup = max(1, total // 20)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))


def refuse_non_finite(name: str, loss: Tensor, step: int) -> None:
    """Stop before a loss that is NaN or infinite can reach the weights, in all processes at once.

    Raises:
        ValueError: the loss is not a finite number, here or in another process.
    """
    loss = here().first_non_finite(loss)
    if not bool(torch.isfinite(loss)):
        raise ValueError(
            f"{name} is {loss.item()} at step {step}; training stopped before this step, so the "
            "weights are those of the last good one. Try a smaller learning rate; check the data."
        )


def clip_gradient(role: Role, grad_clip: float, step: int) -> float:
    """Clip the gradient's norm, and refuse a broken one.

    Returns:
        The norm before clipping.

    Raises:
        ValueError: the gradient is not finite.
    """
    norm = torch.nn.utils.clip_grad_norm_(role.trained_parameters().values(), grad_clip)
    norm = getattr(norm, "full_tensor", lambda: norm)()  # sharded: the sum over all processes
    refuse_non_finite(f"the gradient norm of the {type(role).__name__}", norm, step)
    return float(norm)


def clip_and_step(optimizer: AdamW, role: Role, grad_clip: float, step: int) -> float:
    """Clip the gradient's norm, step, and forget the gradient.

    Returns:
        The norm before clipping.

    Raises:
        ValueError: the gradient is not finite; the weights are left as they are.
    """
    norm = clip_gradient(role, grad_clip, step)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm
