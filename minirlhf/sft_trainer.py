"""Stage 1, supervised fine-tuning: the model learns to write like the examples.

Only the completion is counted in the loss; the prompt is given, not learned.
"""

from collections.abc import Sequence

from minirlhf.actor import Actor
from minirlhf.batch import StepRecord
from minirlhf.checkpointing import set_checkpointing
from minirlhf.config import SFTConfig
from minirlhf.data import (
    EncodableRow,
    batch_rows,
    check_lengths,
    encode_prompts,
    encode_responses,
    pad_prompts,
    pad_responses,
)
from minirlhf.masks import masked_mean
from minirlhf.processes import here
from minirlhf.trainer import (
    Trainer,
    adamw,
    check_lora_rank,
    clip_and_step,
    refuse_non_finite,
    set_lr,
    warmup_cosine,
)


class SFTTrainer(Trainer):
    """Iterate to train an Actor on prompt/completion rows.

    Args:
        actor: the model to train; a pretrained one, or fresh weights.
        rows: dicts with `prompt` and `completion`, as texts or as token ids.
        config: steps, sizes, learning rate, seed.

    Raises:
        ValueError: there are no rows, or one is too long for the model's context.
    """

    stage = "sft"

    def __init__(
        self, actor: Actor, rows: Sequence[EncodableRow], config: SFTConfig | None = None
    ) -> None:
        super().__init__()
        self.config: SFTConfig = config or SFTConfig()
        self.total = self.config.steps
        self.actor = actor
        if not rows:
            raise ValueError("no rows to train on")
        self._prompts = encode_prompts(actor.tokenizer, [row["prompt"] for row in rows])
        self._completions = encode_responses(actor.tokenizer, [row["completion"] for row in rows])
        check_lengths(actor.model, self._prompts, list(map(len, self._completions)))
        set_checkpointing(actor, self.config.gradient_checkpointing)
        check_lora_rank(self.config, actor)
        self.roles = {"actor": actor}
        self.optimizers = {"actor": adamw(actor, self.config.lr)}

    def train_step(self) -> StepRecord:
        """One optimiser step on one batch."""
        config = self.config
        chosen = batch_rows(
            len(self._prompts), config.batch_size, seed=config.seed, batch=self.step
        )
        step_tokens = sum(len(self._completions[i]) for i in chosen)
        own = [chosen[i] for i in here().rows(len(chosen))]
        pad = self.actor.filler
        device = self.actor.device
        prompts = pad_prompts([self._prompts[i] for i in own], pad).to(device)
        ids, mask = pad_responses([self._completions[i] for i in own], pad)
        mask[here().counted(len(chosen)) :] = False
        share = int(mask.sum()) / max(1, step_tokens)  # 1.0 where one process reads all
        ids, mask = ids.to(device), mask.to(device)

        loss = masked_mean(-self.learner("actor")(prompts, ids), mask)
        refuse_non_finite("sft_loss", loss, self.step + 1)
        # gradients are averaged over the processes; the sum is wanted
        (loss * (share * here().count)).backward()
        lr = warmup_cosine(self.step, self.total, config.lr)
        set_lr(self.optimizers["actor"], lr)
        norm = clip_and_step(self.optimizers["actor"], self.actor, config.grad_clip, self.step + 1)
        self.step += 1
        metrics = here().sum({"sft_loss": loss.item() * share}) | {"grad_norm": norm, "lr": lr}
        return StepRecord(self.stage, self.step, self.total, metrics)
