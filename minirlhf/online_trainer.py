"""What the algorithms of stage 3 share: an Actor that writes, is scored, and learns from that.

One iteration:
    1. rollout: the Actor answers a batch of prompts; the other models read the answers
    2. `advantages`: how much better than expected each token was (here the algorithms differ)
    3. for each epoch, for each minibatch:  log-probs now → ratio → loss → step
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.backbone import autocast, check_same_vocabulary
from minirlhf.batch import Prompts, Rollout, StepRecord
from minirlhf.checkpointing import set_checkpointing
from minirlhf.config import GroupConfig, OnlineConfig
from minirlhf.critic import Critic
from minirlhf.data import (
    TextOrIds,
    batch_rows,
    check_lengths,
    decode_responses,
    encode_prompts,
    pad_prompts,
    prompt_text,
)
from minirlhf.evaluation import Judge
from minirlhf.losses import actor_loss
from minirlhf.noise import MINIBATCH_ORDER, permutation
from minirlhf.offload import wait_on_cpu
from minirlhf.online_metrics import UpdateMetrics, rollout_metrics
from minirlhf.processes import here
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel
from minirlhf.rollout import collect_rollout
from minirlhf.sharding import unsharded
from minirlhf.trainer import Trainer, adamw, check_lora_rank, clip_gradient, refuse_non_finite


class OnlineTrainer(Trainer):
    """Iterate to train an Actor on its own samples; Reference and Reward model stay as they are.

    Args:
        actor: the SFT model; trained.
        reference: `Reference.from_actor(actor)`, made before training; frozen.
        reward_model: from stage 2; frozen here if it is not yet.
        prompts: texts to answer, or their token ids.
        config: everything else, of the class that the algorithm has; None = its defaults.
        critic: trained beside the Actor where the algorithm has one.
        judge: the gold reward, where there is one; only reported, never learned from.

    Raises:
        ValueError: no prompts, one that leaves no room for a response, roles whose vocabularies
            differ, or a config of another algorithm.
    """

    config: OnlineConfig
    config_class: type[OnlineConfig]

    def __init__(
        self,
        actor: Actor,
        reference: Reference,
        reward_model: RewardModel,
        prompts: Sequence[TextOrIds],
        config: OnlineConfig | None = None,
        *,
        critic: Critic | None = None,
        judge: Judge | None = None,
    ) -> None:
        super().__init__()
        self.config = config = config or self.config_class()
        if not isinstance(config, self.config_class):
            raise ValueError(
                f"{type(self).__name__} wants a {self.config_class.__name__}, got {config!r:.60}"
            )
        self.total = config.iterations
        self.kl_coef = config.kl_coef
        self.actor, self.critic = actor, critic
        self.reference, self.reward_model = reference.freeze(), reward_model.freeze()
        check_same_vocabulary(actor, reference, reward_model, *([critic] if critic else []))
        if not prompts:
            raise ValueError("no prompts to answer")
        self.prompt_ids = encode_prompts(actor.tokenizer, prompts)
        self.prompts = [prompt_text(actor.tokenizer, prompt) for prompt in prompts]
        self.judge = judge
        self.roles = {"actor": actor}
        self.optimizers = {"actor": adamw(actor, config.actor_lr)}
        for role in (actor, critic):
            if role is not None:
                check_lora_rank(config, role)
                check_lengths(role.model, self.prompt_ids, config.max_response_tokens)
                set_checkpointing(role, config.gradient_checkpointing)
        if config.offload and here().sharded:
            raise ValueError("offload is for whole models; with FSDP leave it out")
        if config.offload:
            for frozen in (reference, reward_model):
                wait_on_cpu(frozen, beside=[actor, *([critic] if critic else [])])

    @property
    def epochs(self) -> int:
        """Passes over each rollout."""
        return 1

    @abstractmethod
    def advantages(self, rollout: Rollout) -> Tensor:
        """How much better than expected each token was: (B, R), no gradient."""

    def train_step(self) -> StepRecord:
        """One iteration: a rollout, then the passes over it."""
        rows = self.batch()
        rollout = self.collect(rows)
        update = self.update(rollout)
        metrics = self.rollout_metrics(rollout) | update.averages()
        metrics |= {"kl_coef": self.kl_coef, "lr": self.config.actor_lr}
        texts = decode_responses(self.actor.tokenizer, rollout.response_ids, rollout.response_mask)
        if self.judge is not None:
            judged = map(self.judge, [self.prompts[i] for i in rows], texts, rollout.ended.tolist())
            metrics["gold"] = sum(judged) / len(rows)
        self.after_update(rollout, metrics)
        self.step += 1
        sample = f"{self.prompts[rows[0]]} {texts[0]}"
        return StepRecord(self.stage, self.step, self.total, metrics, sample, rollout)

    def batch(self) -> list[int]:
        """Row numbers of the prompts that this iteration answers; a group's stand together."""
        config = self.config
        size = config.group_size if isinstance(config, GroupConfig) else 1
        n, wanted = len(self.prompts), config.batch_size // size
        rows = batch_rows(n, wanted, seed=config.seed, batch=self.step)
        return [row for row in rows for _ in range(size)]

    def collect(self, rows: Sequence[int]) -> Rollout:
        """Step 1: the rollout on these prompts; each process writes and reads its part."""
        prompts, own = pad_prompts([self.prompt_ids[i] for i in rows], self.actor.filler), here()
        part = own.rows(len(rows))
        if own.count > 1:
            prompts = Prompts(prompts.prompt_ids[part], prompts.prompt_mask[part])
        with unsharded(self.actor) if own.sharded else nullcontext():
            rollout = collect_rollout(
                self.actor,
                self.reference,
                self.critic,
                self.reward_model,
                prompts,
                self.config,
                iteration=self.step,
                kl_coef=self.kl_coef,
                first_row=part[0],
            )
        return own.gather_rollout(rollout, len(rows))

    def rollout_metrics(self, rollout: Rollout) -> dict[str, float]:
        """What the rollout says about the models before this update."""
        return rollout_metrics(rollout)

    def update(self, rollout: Rollout) -> UpdateMetrics:
        """Steps 2 and 3: advantages, then passes of minibatch steps over one rollout."""
        seen = UpdateMetrics(self.config)
        advantages = self.advantages(rollout)
        for rows in self.minibatches(rollout):
            if not self.update_minibatch(rollout, advantages, rows, seen):
                break
        return seen

    def minibatches(self, rollout: Rollout) -> Iterator[Tensor]:
        """Row numbers of each minibatch, reshuffled every epoch."""
        n = rollout.response_ids.shape[0]
        for epoch in range(self.epochs):
            order = permutation(n, self.config.seed, MINIBATCH_ORDER, self.step, epoch)
            rows = torch.tensor(order, device=self.actor.device)
            yield from rows.split(self.config.minibatch_size or n)

    def update_minibatch(
        self, rollout: Rollout, advantages: Tensor, rows: Tensor, seen: UpdateMetrics
    ) -> bool:
        """One step of every role that is trained; False when `target_kl` says to stop before it."""
        step_tokens = int(rollout.response_mask[rows].sum())
        for part, counts, is_last in here().microbatches(rows, self.config.microbatch_size):
            batch = rollout.select(part)
            if not bool(counts.all()):
                batch = replace(batch, response_mask=batch.response_mask & counts[:, None])
            share = int(batch.response_mask.sum()) / max(1, step_tokens)
            with self.learning_alone() if not is_last else nullcontext():
                self.accumulate(batch, advantages[part], share, seen)
        too_far = seen.close_step()
        if too_far:
            for optimizer in self.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            return False
        for name, role in self.roles.items():  # all gradients are good before any role steps
            norm = clip_gradient(role, self.config.grad_clip, self.step + 1)
            seen.add(f"{name}_grad_norm", norm)
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return True

    def learning_alone(self) -> ExitStack:
        """Inside, DDP leaves gradients with their process; the last microbatch brings all."""
        stack = ExitStack()
        for name in self.roles:
            no_sync: Any = getattr(self.learner(name), "no_sync", None)
            if no_sync is not None:
                stack.enter_context(no_sync())
        return stack

    def accumulate(
        self, batch: Rollout, advantages: Tensor, share: float, seen: UpdateMetrics
    ) -> None:
        """Add the gradient of one microbatch, weighted by its share of the step's tokens."""
        prompts = Prompts(batch.prompt_ids, batch.prompt_mask)
        with autocast(self.actor.device, self.config.precision):
            log_probs = self.learner("actor")(
                prompts, batch.response_ids, temperature=self.config.temperature
            )
        self.backward("actor_loss", self.loss(batch, log_probs, advantages), share, seen)
        seen.add_batch(batch, log_probs.detach(), None, share)

    def loss(self, batch: Rollout, log_probs: Tensor, advantages: Tensor) -> Tensor:
        """The Actor's loss, a mean over counted tokens; ρ_t is 1 where a rollout has one step."""
        return actor_loss(
            log_probs,
            batch.old_log_probs,
            advantages,
            batch.response_mask,
            clip_range=float("inf"),
        )

    def backward(self, name: str, loss: Tensor, share: float, seen: UpdateMetrics) -> None:
        """Add the gradient of one loss, unless it is broken."""
        refuse_non_finite(name, loss, self.step + 1)
        # gradients are averaged over the processes; the sum is wanted
        (loss * (share * here().count)).backward()
        seen.add(name, share * float(loss.detach()))

    def after_update(self, rollout: Rollout, metrics: dict[str, float]) -> None:
        """Move what an iteration changes besides weights; may add metrics."""
