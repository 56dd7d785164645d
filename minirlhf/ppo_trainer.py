"""Stage 3, PPO: the Actor writes, is scored, and learns; the Critic learns to foresee the score.

One iteration:
    1. rollout: the Actor answers a batch of prompts; Reference, Reward model and Critic read it
    2. for each PPO epoch, for each minibatch:
           Actor:   log-probs now → ratio → clipped surrogate → step
           Critic:  values now → distance from the target → step

The loops over iterations, epochs and minibatches are those of every such algorithm and stand in
`minirlhf.online_trainer`; here is what makes it PPO.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.backbone import autocast
from minirlhf.batch import Prompts, Rollout
from minirlhf.config import PPOConfig
from minirlhf.critic import Critic
from minirlhf.data import TextOrIds
from minirlhf.evaluation import Judge
from minirlhf.kl import AdaptiveKL
from minirlhf.losses import actor_loss, critic_loss
from minirlhf.masks import masked_whiten
from minirlhf.online_metrics import UpdateMetrics, critic_metrics
from minirlhf.online_trainer import OnlineTrainer
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel
from minirlhf.trainer import adamw


class PPOTrainer(OnlineTrainer):
    """Iterate to train an Actor and a Critic; Reference and Reward model stay as they are.

    Args:
        actor: the SFT model; trained.
        reference: `Reference.from_actor(actor)`, made before training; frozen.
        critic: `Critic.from_reward_model(reward_model)`; trained.
        reward_model: from stage 2; frozen here if it is not yet.
        prompts: texts to answer, or their token ids.
        config: everything else.
        judge: the gold reward, where there is one; only reported, never learned from.

    Raises:
        ValueError: no prompts, one that leaves no room for a response, or roles whose
            vocabularies differ.
    """

    stage = "ppo"
    config_class = PPOConfig
    config: PPOConfig
    critic: Critic

    def __init__(
        self,
        actor: Actor,
        reference: Reference,
        critic: Critic,
        reward_model: RewardModel,
        prompts: Sequence[TextOrIds],
        config: PPOConfig | None = None,
        *,
        judge: Judge | None = None,
    ) -> None:
        super().__init__(
            actor, reference, reward_model, prompts, config, critic=critic, judge=judge
        )
        self.roles["critic"] = critic
        self.optimizers["critic"] = adamw(critic, self.config.critic_lr)

    @property
    def epochs(self) -> int:
        """Passes over each rollout."""
        return self.config.ppo_epochs

    def rollout_metrics(self, rollout: Rollout) -> dict[str, float]:
        """What the rollout says about Actor and Critic before this update."""
        return super().rollout_metrics(rollout) | critic_metrics(rollout)

    def advantages(self, rollout: Rollout) -> Tensor:
        """GAE's, whitened once for the whole rollout, after the returns came from the raw ones."""
        if not self.config.whiten_advantages:
            return rollout.advantages
        return masked_whiten(rollout.advantages, rollout.response_mask)

    def accumulate(
        self, batch: Rollout, advantages: Tensor, share: float, seen: UpdateMetrics
    ) -> None:
        """Add the gradients of one microbatch, weighted by its share of the step's tokens."""
        config, mask, device = self.config, batch.response_mask, self.actor.device
        prompts, ids = Prompts(batch.prompt_ids, batch.prompt_mask), batch.response_ids
        # one model after the other: the activations of both are never held at once
        with autocast(device, config.precision):
            log_probs = self.learner("actor")(prompts, ids, temperature=config.temperature)
        loss = actor_loss(
            log_probs, batch.old_log_probs, advantages, mask, clip_range=config.clip_range
        )
        self.backward("actor_loss", loss, share, seen)
        with autocast(device, config.precision):
            values = self.learner("critic")(prompts, ids)
        targets = batch.td_target if config.critic_target == "td" else batch.returns
        loss = critic_loss(
            values, batch.old_values, targets, mask, value_clip_range=config.value_clip_range
        )
        self.backward("critic_loss", loss, share, seen)
        seen.add_batch(batch, log_probs.detach(), values.detach(), share)

    def after_update(self, rollout: Rollout, metrics: dict[str, float]) -> None:
        """Move β towards the KL target, where there is one."""
        if self.config.kl_target is not None:
            controller = AdaptiveKL(self.config.kl_target, self.config.kl_horizon)
            self.kl_coef = controller.update(self.kl_coef, metrics["kl"], self.config.batch_size)

    def counters(self) -> dict[str, Any]:
        """The step, and β, which may have moved."""
        return {"step": self.step, "kl_coef": self.kl_coef}

    def restore_counters(self, counters: dict[str, Any]) -> None:
        """Take over step and β."""
        super().restore_counters(counters)
        self.kl_coef = float(counters["kl_coef"])
