"""What stage 2 and DPO share: learning from pairs of responses of which people preferred one.

Both give every response a number and ask Bradley–Terry that the chosen one's be higher. A reward
model's number is its score; DPO's is the Actor's own implicit reward.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from minirlhf.backbone import Role
from minirlhf.batch import Prompts, StepRecord
from minirlhf.checkpointing import set_checkpointing
from minirlhf.config import DPOConfig, RewardModelConfig
from minirlhf.data import (
    EncodableRow,
    batch_rows,
    check_lengths,
    encode_prompts,
    encode_responses,
    pad_prompts,
    pad_responses,
)
from minirlhf.losses import preference_loss
from minirlhf.noise import PROMPT_ORDER, permutation
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


class PairTrainer(Trainer):
    """Iterate to train one role on prompt/chosen/rejected rows.

    Args:
        name: of the role, as in `roles`.
        role: the model to train.
        rows: dicts with `prompt`, `chosen` and `rejected`, as texts or as token ids.
        config: steps, sizes, learning rate, share of held-out pairs, seed.

    Raises:
        ValueError: fewer than 2 pairs, or one is too long for the model's context.
    """

    config: RewardModelConfig | DPOConfig
    loss_name: str

    def __init__(
        self,
        name: str,
        role: Role,
        rows: Sequence[EncodableRow],
        config: RewardModelConfig | DPOConfig,
    ) -> None:
        super().__init__()
        self.config, self.total = config, config.steps
        if len(rows) < 2:
            raise ValueError(f"got {len(rows)} pairs, wanted at least 2 (one is held out)")
        tokenizer = role.tokenizer
        self._prompts = encode_prompts(tokenizer, [row["prompt"] for row in rows])
        self._chosen = encode_responses(tokenizer, [row["chosen"] for row in rows])
        self._rejected = encode_responses(tokenizer, [row["rejected"] for row in rows])
        longest = [max(map(len, pair)) for pair in zip(self._chosen, self._rejected, strict=True)]
        check_lengths(role.model, self._prompts, longest)
        order = permutation(len(rows), config.seed, PROMPT_ORDER)
        held_out = max(1, round(config.held_out * len(rows)))
        self._held_out, self._train = order[:held_out], order[held_out:]
        set_checkpointing(role, config.gradient_checkpointing)
        check_lora_rank(config, role)
        self.roles = {name: role}
        self.optimizers = {name: adamw(role, config.lr)}

    @abstractmethod
    def pair_scores(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Numbers (n,) of the chosen and of the rejected responses of some pairs."""

    def loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """How surprised these numbers (n,) are that people chose what they chose; a scalar."""
        return preference_loss(chosen, rejected)

    def read_pairs(self, numbers: Sequence[int]) -> tuple[Prompts, Tensor, Tensor]:
        """Some pairs as one batch of 2n rows, first all chosen: prompts, ids, mask."""
        (role,) = self.roles.values()
        one = pad_prompts([self._prompts[i] for i in numbers], role.filler)
        prompts = Prompts(one.prompt_ids.repeat(2, 1), one.prompt_mask.repeat(2, 1))
        responses = [self._chosen[i] for i in numbers] + [self._rejected[i] for i in numbers]
        ids, mask = pad_responses(responses, role.filler)
        return prompts.to(role.device), ids.to(role.device), mask.to(role.device)

    def train_step(self) -> StepRecord:
        """One optimiser step on one batch of pairs."""
        config = self.config
        ((name, role),) = self.roles.items()
        rows = batch_rows(len(self._train), config.batch_size, seed=config.seed, batch=self.step)
        own, n = [rows[i] for i in here().rows(len(rows))], here().counted(len(rows))
        chosen, rejected = self.pair_scores([self._train[i] for i in own])
        # the loss is a mean over pairs; without a pair of its own a process helps with a 0
        loss = self.loss(chosen[:n], rejected[:n]) if n else 0.0 * (chosen + rejected).sum()
        refuse_non_finite(self.loss_name, loss, self.step + 1)
        # gradients are averaged over the processes; the sum is wanted
        (loss * (n / len(rows) * here().count)).backward()
        chosen, rejected = (here().gather(x, len(rows)) for x in (chosen, rejected))
        loss_value = here().sum({"loss": loss.item() * (n / len(rows))})["loss"]
        lr = warmup_cosine(self.step, self.total, config.lr)
        set_lr(self.optimizers[name], lr)
        norm = clip_and_step(self.optimizers[name], role, config.grad_clip, self.step + 1)
        self.step += 1
        metrics = {
            self.loss_name: loss_value,
            "accuracy": float((chosen > rejected).float().mean()),
            **self.more_metrics(chosen.detach(), rejected.detach()),
            "grad_norm": norm,
            "lr": lr,
        }
        if self.step == self.total:
            metrics["held_out_accuracy"] = self.held_out_accuracy()
            self.finish()
        return StepRecord(self.stage, self.step, self.total, metrics)

    @torch.no_grad()
    def held_out_accuracy(self) -> float:
        """Share of the held-out pairs whose chosen response has the higher number."""
        right = 0
        for start in range(0, len(self._held_out), self.config.batch_size):
            numbers = self._held_out[start : start + self.config.batch_size]
            own, n = here().rows(len(numbers)), here().counted(len(numbers))
            chosen, rejected = self.pair_scores([numbers[i] for i in own])
            right += int((chosen > rejected)[:n].sum())
        return here().sum({"right": right})["right"] / len(self._held_out)

    def more_metrics(self, chosen: Tensor, rejected: Tensor) -> dict[str, float]:
        """Metrics of this step besides loss and accuracy, from the numbers (n,) of its pairs."""
        return {}

    def finish(self) -> None:
        """What the last step does after its update."""
