"""Four mistakes made while Actor and Critic learn."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.backbone import autocast
from minirlhf.batch import Prompts, Rollout
from minirlhf.masks import masked, masked_mean
from minirlhf.museum.bug import Bug, Wrong


def dropout_in_the_ratio(right: Wrong, actor: Actor, *args: Any, **options: Any) -> Any:
    """Switch dropout on whenever the Actor learns."""
    actor.model.train(torch.is_grad_enabled())  # WRONG
    # right: no such line; the model stays in evaluation mode
    try:
        return right(actor, *args, **options)
    finally:
        actor.model.eval()


DROPOUT_IN_THE_RATIO = Bug(
    name="dropout_in_the_ratio",
    title="dropout in the ratio",
    story=(
        "model.eval() before the rollout, model.train() before the update, as in supervised "
        "learning. With dropout on, the new log-probs are those of a randomly thinned network, "
        "and the ratio measures the thinning as well as the learning; the clip then cuts tokens "
        "at random. Keep evaluation mode (or dropout 0) at rollout and at update."
    ),
    symptom=(
        "ratio_error_first is about 1 where rounding would give 1e-6: the ratio differs from 1 "
        "before any step was taken. clip_fraction and approx_kl are high from the start. The "
        "score still rises. (The model's configuration must have dropout; the café's has 0.1.)"
    ),
    watch=("ratio_error_first", "clip_fraction", "approx_kl"),
    sources=(
        "https://github.com/CarperAI/trlx/issues/107",
        "https://github.com/huggingface/trl/pull/3234",
        "https://github.com/huggingface/trl/issues/4",
    ),
    replaces={"minirlhf.actor:Actor.log_probs": dropout_in_the_ratio},
)


def frozen_critic(right: Wrong, *args: Any) -> Tensor:
    """Read values through which no gradient flows back."""
    values: Tensor = right(*args)
    return values.detach() + 0.0 * values  # WRONG (the 0.0 keeps `backward` from refusing it)
    # right: return values


FROZEN_CRITIC = Bug(
    name="frozen_critic",
    title="frozen Critic",
    story=(
        "The Critic was copied from the Reward model, which was frozen, and nobody unfroze the "
        "copy. Where both losses are added before one backward, nothing complains. So the "
        "baseline stays the Reward model's opinion of half-finished texts of the first day, "
        "while the Actor gets better and better. Unfreeze the copy. In the threads the Critic "
        "is not updated, or its loss does not fall; no cause is agreed on in the last."
    ),
    symptom=(
        "critic_grad_norm and value_clip_fraction are exactly 0. critic_loss stays near 0.2, where "
        "the right one falls to 0.02; return_mean walks away from value_mean, and "
        "explained_variance goes below −1. The score rises all the same, with more noise."
    ),
    watch=("critic_grad_norm", "critic_loss", "value_mean", "explained_variance"),
    sources=(
        "https://github.com/huggingface/trl/issues/769",
        "https://github.com/hiyouga/LlamaFactory/issues/124",
        "https://github.com/deepspeedai/DeepSpeedExamples/issues/556",
    ),
    replaces={"minirlhf.critic:Critic.values": frozen_critic},
)


def advantages_with_a_graph(
    right: Wrong, trainer: Any, batch: Rollout, advantages: Tensor, share: float, seen: Any
) -> Any:
    """Hand on advantages that still hang on V_t: the same numbers, but with a gradient."""
    with autocast(trainer.actor.device, trainer.config.precision):
        prompts = Prompts(batch.prompt_ids, batch.prompt_mask)
        values = trainer.critic.values(prompts, batch.response_ids)
    return right(trainer, batch, advantages - (values - values.detach()), share, seen)


def actor_loss_without_detach(
    right: Wrong,
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    *,
    clip_range: float = 0.2,
) -> Tensor:
    """The clipped surrogate, through which a gradient also reaches the advantages."""
    ratio = masked(log_probs - old_log_probs, response_mask).exp()
    clipped_ratio = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    advantages = masked(advantages, response_mask)  # WRONG
    # right: masked(advantages, response_mask).detach()
    loss = torch.maximum(-advantages * ratio, -advantages * clipped_ratio)
    return masked_mean(loss, response_mask)


UNDETACHED_ADVANTAGES = Bug(
    name="undetached_advantages",
    title="undetached advantages",
    story=(
        "advantages = returns − values, computed with the live Critic and never detached. The "
        "Actor's loss −Â·ρ then has a gradient in V, and the cheapest way to lower the loss is to "
        "lower every value: the Critic is asked to be pessimistic, not right. Through "
        "R_t + γV_{t+1} the pessimism is handed on from token to token. Detach. The threads are "
        "about other actor–critic code with this line; the numbers are right, the gradient is not."
    ),
    symptom=(
        "value_mean sinks steadily, far below return_mean; critic_loss rises and critic_grad_norm "
        "is several times what it should be, though nothing in the Actor's metrics looks wrong. "
        "Later the score falls and responses get shorter and shorter."
    ),
    watch=("value_mean", "return_mean", "critic_loss", "length"),
    sources=(
        "https://github.com/astariul/encode-attend-navigate-pytorch/issues/2",
        "https://github.com/keras-team/keras-io/issues/194",
        "https://github.com/coreylynch/async-rl/issues/8",
    ),
    replaces={
        "minirlhf.ppo_trainer:PPOTrainer.accumulate": advantages_with_a_graph,
        "minirlhf.losses:actor_loss": actor_loss_without_detach,
    },
)


def old_log_probs_recomputed(right: Wrong, trainer: Any, rollout: Rollout) -> Iterator[Tensor]:
    """Begin every epoch with fresh "old" log-probs."""
    prompts, taken = Prompts(rollout.prompt_ids, rollout.prompt_mask), 0
    for rows in right(trainer, rollout):
        if taken % len(rollout.scores) == 0:  # an epoch begins
            with torch.no_grad(), autocast(trainer.actor.device, trainer.config.precision):
                now = trainer.actor.log_probs(
                    prompts, rollout.response_ids, temperature=trainer.config.temperature
                )
            rollout.old_log_probs.copy_(now)  # WRONG
            # right: no such line; "old" means at rollout, for all epochs
        taken += len(rows)
        yield rows


OLD_LOG_PROBS_RECOMPUTED = Bug(
    name="old_log_probs_recomputed",
    title="old log-probs recomputed each epoch",
    story=(
        "The old log-probs were computed inside the loop over epochs instead of once, before it. "
        "Old and new policy are then the same at every epoch's start, so the clip never sees how "
        "far the epochs have gone together, and π may leave the policy that sampled by any "
        "distance. Compute them once, at rollout. In the threads they were computed with every "
        "step."
    ),
    symptom=(
        "With one minibatch an epoch, as below: ratio_max is 1, clip_fraction and approx_kl are 0 "
        "in all epochs of all iterations, and actor_loss is 0 but for rounding, while kl "
        "shows that the weights move. (With two minibatches the second of each epoch differs.)"
    ),
    watch=("ratio_max", "clip_fraction", "approx_kl", "actor_loss"),
    sources=(
        "https://github.com/tensorforce/tensorforce/issues/312",
        "https://github.com/abhisheksuran/Reinforcement_Learning/issues/4",
        "https://github.com/openai/baselines/issues/87",
    ),
    replaces={"minirlhf.ppo_trainer:PPOTrainer.minibatches": old_log_probs_recomputed},
    settings={"minibatch_size": 64, "ppo_epochs": 4},
)
