"""TRL's PPO on the same work, for `minirlhf bench --peer trl`.

Equal: the weights of all four models at the start and how their attention is computed; prompts,
batch, response length, epochs, minibatches, temperature, β, γ, λ, clips; no response ends early
(end of text and padding are tokens without an output); fused AdamW with one learning rate; no
logging, evaluation or checkpoint; one process; no gradient checkpointing.

Not equal, because TRL is timed as it is: it draws its own tokens with transformers' `generate` and
shuffles with its own generators; old log-probs are those of decoding; Actor and Critic are one
module with one loss (the Critic's counts 0.1) and no gradient clip; the Critic learns GAE's
returns; entropy is computed on every minibatch and the heads run over prompts too; garbage is
collected twice an iteration, which takes the longer the more objects the process holds: that time
is reported as "garbage" also. Its data loader gets prompts that are tokenised already.

bfloat16: "trl" is what `accelerate launch --mixed_precision bf16` makes of it: float32 weights and
autocast in passes with gradient, while its rollout stays in float32. "trl-bf16" stores all
weights, and so the optimiser's moments, in bfloat16, as TRL's examples do with `--dtype bfloat16`:
half the bytes, and less exact than ours.

`train()` is not taken apart. It runs once over all iterations, and a callback at the end of each
lets the others run and be timed, so TRL's clock counts from there to the next end, with all its
cleaning up. Its phases are seen from outside: a timed `generate` of the model, the first pass of
the module that it trains, the callback that gets the metrics.
"""

import copy
import gc
import importlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback

from minirlhf.bench.stopwatch import Stopwatch
from minirlhf.bench.trl_setup import (
    NEVER_PADS,
    check_peer,
    fresh_accelerator,
    load_trl,
    settings,
    silence,
)
from minirlhf.ppo_trainer import PPOTrainer


class TRLPeer:
    """TRL's PPOTrainer on copies of our models.

    Args:
        trainer: ours, before its first step; weights, prompts and settings are copied from it.
        name: one of PEERS.
        iterations: how many `run` will make.

    Raises:
        ValueError: no TRL with PPO, or a device or setting that it does not have.
    """

    def __init__(self, trainer: PPOTrainer, name: str, iterations: int) -> None:
        check_peer(trainer, name)
        ppo = load_trl()
        self.name, self.watch = name, Stopwatch(trainer.actor.device)
        self.marks: dict[str, float] = {}  # when the iteration, its training and that's end were
        low = name == "trl-bf16"
        roles = (trainer.actor, trainer.critic, trainer.reference, trainer.reward_model)
        models = [role.model for role in roles]
        # what is never trained may be one and the same
        models = [m if i > 1 and not low else copy.deepcopy(m) for i, m in enumerate(models)]
        if low:
            models = [model.to(torch.bfloat16) for model in models]
        tokenizer = copy.deepcopy(trainer.actor.tokenizer)
        tokenizer.add_special_tokens({"pad_token": NEVER_PADS})
        tokenizer.padding_side = "left"
        prompts = trainer.prompt_ids
        rows = {"input_ids": prompts, "attention_mask": [[1] * len(ids) for ids in prompts]}
        self.folder = tempfile.TemporaryDirectory(prefix="minirlhf-bench-")
        autocast = trainer.config.precision == "bfloat16" and not low
        with silence(), fresh_accelerator(trainer.actor.device, autocast):
            self.trainer = ppo.PPOTrainer(
                args=settings(ppo, trainer, iterations, self.folder.name),
                processing_class=tokenizer,
                model=models[0],
                value_model=models[1],
                ref_model=models[2],
                reward_model=models[3],
                train_dataset=importlib.import_module("datasets").Dataset.from_dict(rows),
            )
        self.trainer.remove_callback(PrinterCallback)
        self.trainer.add_callback(Ends(self))
        models[0].generate = self.watch.timed("generate", models[0].generate)
        self.trainer.model.register_forward_pre_hook(lambda *_: self.mark("train"))

    def run(self, between: Callable[[int], None]) -> list[dict[str, float]]:
        """Train, and let others run after each iteration.

        Args:
            between: called with 0, 1, … after each iteration; its time is not counted.

        Returns:
            Seconds of each iteration: those of `minirlhf.bench.compare.PHASES`; "garbage", what
            Python's collector took ("other" holds it); "cpu", what all threads computed.
        """
        self.seconds: list[dict[str, float]] = []
        self.between = between
        gc.callbacks.append(self.garbage)
        try:
            with self.folder, silence():
                self.begin()
                self.trainer.train()
        finally:
            gc.callbacks.remove(self.garbage)
        return self.seconds

    def begin(self) -> None:
        """The clock of an iteration starts."""
        self.watch.seconds = {"garbage": 0.0}
        self.marks = {"start": self.watch.now()}
        self.cpu = time.process_time()

    def mark(self, name: str) -> None:
        """Note when something happened first."""
        if name not in self.marks:
            self.marks[name] = self.watch.now()

    def garbage(self, phase: str, _: dict[str, int]) -> None:
        """Python's collector starts or stops; nothing here may touch the device."""
        if phase == "start":
            self.collecting = time.perf_counter()
        else:
            self.watch.seconds["garbage"] += time.perf_counter() - self.collecting

    def end(self) -> None:
        """An iteration is over: note its times, let the others run, start again."""
        found = phases(self.marks, self.watch.now(), self.watch.seconds)
        self.seconds.append(found | {"cpu": time.process_time() - self.cpu})
        self.between(len(self.seconds) - 1)
        self.begin()

    def describe(self) -> dict[str, Any]:
        """Name and version, for the report."""
        version = importlib.import_module("trl").__version__
        return {"peer": self.name, "trl": version}


def phases(marks: dict[str, float], end: float, seconds: dict[str, float]) -> dict[str, float]:
    """Split one iteration's time.

    Args:
        marks: when it began ("start"), when it began to learn ("train"), when that was over
            ("trained"); seconds on one clock.
        end: when it was over, on that clock.
        seconds: that "generate" and "garbage" took; TRL collects garbage before it learns.
    """
    generate, garbage = seconds["generate"], seconds["garbage"]
    return {
        "generate": generate,
        "score": marks["train"] - marks["start"] - generate - garbage,
        "train": marks["trained"] - marks["train"],
        "other": end - marks["trained"] + garbage,
        "total": end - marks["start"],
        "garbage": garbage,
    }


class Ends(TrainerCallback):
    """Tells the peer when an iteration's passes are over, and when the iteration is."""

    def __init__(self, peer: TRLPeer) -> None:
        self.peer = peer

    def on_log(self, *_: object, **__: object) -> None:
        """TRL has collected the iteration's metrics."""
        self.peer.mark("trained")

    def on_step_end(self, *_: object, **__: object) -> None:
        """One iteration, in transformers' words a step, is over."""
        self.peer.end()
