"""Stage 3, PPO: the Actor writes, is scored, and learns; the Critic learns to foresee the score.

One iteration:
    1. rollout: the Actor answers a batch of prompts; Reference, Reward model and Critic read it
    2. for each PPO epoch, for each minibatch:
           Actor:   log-probs now → ratio → clipped surrogate → step
           Critic:  values now → distance from the target → step
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.backbone import check_same_vocabulary
from minirlhf.batch import Prompts, Rollout, StepRecord
from minirlhf.config import PPOConfig
from minirlhf.critic import Critic
from minirlhf.data import batch_rows, check_lengths, decode_responses, encode_prompts, pad_prompts
from minirlhf.evaluation import Judge
from minirlhf.kl import AdaptiveKL
from minirlhf.losses import actor_loss, critic_loss
from minirlhf.masks import masked_whiten
from minirlhf.noise import MINIBATCH_ORDER, permutation
from minirlhf.ppo_metrics import UpdateMetrics, rollout_metrics
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel
from minirlhf.rollout import collect_rollout
from minirlhf.trainer import Trainer, adamw, clip_gradient, refuse_non_finite


class PPOTrainer(Trainer):
    """Iterate to train an Actor and a Critic; Reference and Reward model stay as they are.

    Args:
        actor: the SFT model; trained.
        reference: `Reference.from_actor(actor)`, made before training; frozen.
        critic: `Critic.from_reward_model(reward_model)`; trained.
        reward_model: from stage 2; frozen here if it is not yet.
        prompts: texts to answer.
        config: everything else.
        judge: the gold reward, where there is one; only reported, never learned from.

    Raises:
        ValueError: no prompts, one that leaves no room for a response, or roles whose
            vocabularies differ.
    """

    stage = "ppo"

    def __init__(
        self,
        actor: Actor,
        reference: Reference,
        critic: Critic,
        reward_model: RewardModel,
        prompts: Sequence[str],
        config: PPOConfig | None = None,
        *,
        judge: Judge | None = None,
    ) -> None:
        super().__init__()
        self.config: PPOConfig = config or PPOConfig()
        self.total = self.config.iterations
        self.kl_coef = self.config.kl_coef
        self.actor, self.critic = actor, critic
        self.reference, self.reward_model = reference.freeze(), reward_model.freeze()
        check_same_vocabulary(actor, reference, critic, reward_model)
        if not prompts:
            raise ValueError("no prompts to answer")
        self.prompts, self.judge = list(prompts), judge
        self._prompt_ids = encode_prompts(actor.tokenizer, self.prompts)
        for model in (actor.model, critic.model):
            check_lengths(model, self._prompt_ids, self.config.max_response_tokens)
        self.roles = {"actor": actor, "critic": critic}
        self.optimizers = {
            "actor": adamw(actor, self.config.actor_lr),
            "critic": adamw(critic, self.config.critic_lr),
        }

    def train_step(self) -> StepRecord:
        """One PPO iteration: a rollout, then `ppo_epochs` passes over it."""
        rows = batch_rows(
            len(self.prompts), self.config.batch_size, seed=self.config.seed, batch=self.step
        )
        rollout = self.collect(rows)
        update = self.update(rollout)
        metrics = rollout_metrics(rollout) | update.averages()
        metrics |= {"kl_coef": self.kl_coef, "lr": self.config.actor_lr}
        texts = decode_responses(self.actor.tokenizer, rollout.response_ids, rollout.response_mask)
        if self.judge is not None:
            judged = map(self.judge, [self.prompts[i] for i in rows], texts, rollout.ended.tolist())
            metrics["gold"] = sum(judged) / len(rows)
        self.adapt_kl_coef(metrics["kl"])
        self.step += 1
        sample = f"{self.prompts[rows[0]]} {texts[0]}"
        return StepRecord(self.stage, self.step, self.total, metrics, sample, rollout)

    def collect(self, rows: Sequence[int]) -> Rollout:
        """Step 1: the rollout on these prompts."""
        return collect_rollout(
            self.actor,
            self.reference,
            self.critic,
            self.reward_model,
            pad_prompts([self._prompt_ids[i] for i in rows], self.actor.filler),
            self.config,
            iteration=self.step,
            kl_coef=self.kl_coef,
        )

    def update(self, rollout: Rollout) -> UpdateMetrics:
        """Step 2: `ppo_epochs` passes of minibatch steps over one rollout."""
        seen = UpdateMetrics(self.config)
        # whitened once for the whole rollout, after the returns were computed from the raw ones
        advantages = rollout.advantages
        if self.config.whiten_advantages:
            advantages = masked_whiten(advantages, rollout.response_mask)
        for rows in self.minibatches(rollout):
            if not self.update_minibatch(rollout, advantages, rows, seen):
                break
        return seen

    def minibatches(self, rollout: Rollout) -> Iterator[Tensor]:
        """Row numbers of each minibatch, reshuffled every epoch."""
        n = rollout.response_ids.shape[0]
        for epoch in range(self.config.ppo_epochs):
            order = permutation(n, self.config.seed, MINIBATCH_ORDER, self.step, epoch)
            yield from torch.tensor(order, device=self.actor.device).split(
                self.config.minibatch_size
            )

    def update_minibatch(
        self, rollout: Rollout, advantages: Tensor, rows: Tensor, seen: UpdateMetrics
    ) -> bool:
        """One step of Actor and Critic; False when `target_kl` says to stop before it."""
        step_tokens = int(rollout.response_mask[rows].sum())
        for part in rows.split(self.config.microbatch_size or len(rows)):
            batch = rollout.select(part)
            share = int(batch.response_mask.sum()) / max(1, step_tokens)
            self.accumulate(batch, advantages[part], share, seen)
        too_far = seen.close_step()
        if too_far:
            for optimizer in self.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            return False
        for name, role in self.roles.items():  # both gradients are good before either role steps
            norm = clip_gradient(role, self.config.grad_clip, self.step + 1)
            seen.add(f"{name}_grad_norm", norm)
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return True

    def accumulate(
        self, batch: Rollout, advantages: Tensor, share: float, seen: UpdateMetrics
    ) -> None:
        """Add the gradient of one microbatch, weighted by its share of the step's tokens."""
        config, mask = self.config, batch.response_mask
        prompts, ids = Prompts(batch.prompt_ids, batch.prompt_mask), batch.response_ids
        # one model after the other: the activations of both are never held at once
        with self.autocast():
            log_probs = self.actor.log_probs(prompts, ids, temperature=config.temperature)
        loss = actor_loss(
            log_probs, batch.old_log_probs, advantages, mask, clip_range=config.clip_range
        )
        self.backward("actor_loss", loss, share, seen)
        with self.autocast():
            values = self.critic.values(prompts, ids)
        targets = batch.td_target if config.critic_target == "td" else batch.returns
        loss = critic_loss(
            values, batch.old_values, targets, mask, value_clip_range=config.value_clip_range
        )
        self.backward("critic_loss", loss, share, seen)
        seen.add_batch(batch, log_probs.detach(), values.detach(), share)

    def backward(self, name: str, loss: Tensor, share: float, seen: UpdateMetrics) -> None:
        """Add the gradient of one loss, unless it is broken."""
        refuse_non_finite(name, loss, self.step + 1)
        (loss * share).backward()
        seen.add(name, share * float(loss.detach()))

    def autocast(self) -> torch.autocast:
        """Matrix products in bfloat16 where the configuration asks for it."""
        wanted = self.config.precision == "bfloat16"
        return torch.autocast(self.actor.device.type, torch.bfloat16, enabled=wanted)

    def adapt_kl_coef(self, kl: float) -> None:
        """Move β towards the KL target, where there is one."""
        if self.config.kl_target is not None:
            controller = AdaptiveKL(self.config.kl_target, self.config.kl_horizon)
            self.kl_coef = controller.update(self.kl_coef, kl, self.config.batch_size)

    def counters(self) -> dict[str, Any]:
        """The step, and β, which may have moved."""
        return {"step": self.step, "kl_coef": self.kl_coef}

    def restore_counters(self, counters: dict[str, Any]) -> None:
        """Take over step and β."""
        super().restore_counters(counters)
        self.kl_coef = float(counters["kl_coef"])
