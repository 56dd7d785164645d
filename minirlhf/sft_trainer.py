"""Stage 1, supervised fine-tuning: the model learns to write like the examples.

Only the completion is counted in the loss; the prompt is given, not learned.
"""

from collections.abc import Sequence

from minirlhf.actor import Actor
from minirlhf.batch import StepRecord
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
from minirlhf.losses import sft_loss
from minirlhf.trainer import (
    Trainer,
    adamw,
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
        self.roles = {"actor": actor}
        self.optimizers = {"actor": adamw(actor, self.config.lr)}

    def train_step(self) -> StepRecord:
        """One optimiser step on one batch."""
        config = self.config
        chosen = batch_rows(
            len(self._prompts), config.batch_size, seed=config.seed, batch=self.step
        )
        pad = self.actor.filler
        device = self.actor.device
        prompts = pad_prompts([self._prompts[i] for i in chosen], pad).to(device)
        ids, mask = pad_responses([self._completions[i] for i in chosen], pad)
        ids, mask = ids.to(device), mask.to(device)

        loss = sft_loss(self.actor.logits(prompts, ids), ids, mask)
        refuse_non_finite("sft_loss", loss, self.step + 1)
        loss.backward()
        lr = warmup_cosine(self.step, self.total, config.lr)
        set_lr(self.optimizers["actor"], lr)
        norm = clip_and_step(self.optimizers["actor"], self.actor, config.grad_clip, self.step + 1)
        self.step += 1
        metrics = {"sft_loss": loss.item(), "grad_norm": norm, "lr": lr}
        return StepRecord(self.stage, self.step, self.total, metrics)
