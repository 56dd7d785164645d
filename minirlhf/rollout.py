"""The rollout: the Actor writes, the other three models read what it wrote.

prompts ──Actor──▶ responses ──┬─Actor──────▶ old_log_probs ─┐
                               ├─Reference──▶ ref_log_probs ─┴▶ kl ─┐
                               ├─Reward model▶ scores ──────────────┴▶ rewards R_t ─┐
                               └─Critic─────▶ old_values V_t ───────────────────────┴▶ Â_t, targets

Algorithms without a Critic take V_t = 0 and λ = 1, which makes Â_t all the reward still to come.
"""

import torch

from minirlhf.actor import Actor
from minirlhf.advantages import gae, td_target
from minirlhf.backbone import autocast
from minirlhf.batch import Prompts, Rollout
from minirlhf.config import OnlineConfig
from minirlhf.critic import Critic
from minirlhf.kl import per_token_kl
from minirlhf.offload import visiting
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel
from minirlhf.rewards import per_token_rewards


@torch.no_grad()
def collect_rollout(
    actor: Actor,
    reference: Reference,
    critic: Critic | None,
    reward_model: RewardModel,
    prompts: Prompts,
    config: OnlineConfig,
    *,
    iteration: int = 0,
    kl_coef: float | None = None,
    alternatives: int = 0,
    first_row: int = 0,
) -> Rollout:
    """Sample responses and compute every quantity that an update needs, without gradient.

    Args:
        actor: π; writes the responses and gives their old log-probs.
        reference: π_ref, frozen.
        critic: V, read before each token; None = there is none.
        reward_model: r, frozen; read once, at the last counted token.
        prompts: (B, P) ids and mask, left-padded.
        config: temperature, β, γ, λ (where the algorithm has one), clips and the seed.
        iteration: a counter; with the seed it decides the sampling noise.
        kl_coef: β where it differs from the config's (an adapting β).
        alternatives: K > 0 also records the K likeliest tokens at each step.
        first_row: number of the first row, where these are part of a larger batch.

    Returns:
        A `Rollout`, with raw (not whitened) advantages.
    """
    with autocast(actor.device, config.precision):
        prompts = prompts.to(actor.device)
        responses = actor.generate(
            prompts,
            max_response_tokens=config.max_response_tokens,
            temperature=config.temperature,
            seed=config.seed,
            iteration=iteration,
            alternatives=alternatives,
            first_row=first_row,
        )
        ids, mask = responses.response_ids, responses.response_mask
        # once more through the code path of the update, so that its first ratio is exactly 1
        old_log_probs, entropy = actor.log_probs_and_entropy(
            prompts, ids, temperature=config.temperature
        )
        with visiting(reference, actor.device):
            ref_log_probs = reference.log_probs(prompts, ids, temperature=config.temperature)
        with visiting(reward_model, actor.device):
            scores = reward_model.scores(prompts, ids, mask)
        old_values = torch.zeros_like(old_log_probs)
        if critic is not None:
            old_values = critic.values(prompts, ids)

    scores = torch.where(responses.ended, scores, scores - config.missing_eos_penalty)
    kl = per_token_kl(old_log_probs, ref_log_probs, estimator=config.kl_estimator)
    rewards = per_token_rewards(
        scores,
        kl,
        mask,
        kl_coef=config.kl_coef if kl_coef is None else kl_coef,
        score_clip=config.score_clip,
    )
    lam = 1.0 if critic is None else getattr(config, "lam", 1.0)
    advantages, returns = gae(rewards, old_values, mask, gamma=config.gamma, lam=lam)
    return Rollout(
        prompt_ids=prompts.prompt_ids,
        prompt_mask=prompts.prompt_mask,
        response_ids=ids,
        response_mask=mask,
        old_log_probs=old_log_probs,
        ref_log_probs=ref_log_probs,
        old_values=old_values,
        scores=scores,
        kl=kl,
        rewards=rewards,
        advantages=advantages,
        returns=returns,
        td_target=td_target(rewards, old_values, mask, gamma=config.gamma),
        ended=responses.ended,
        entropy=entropy,
        top_ids=responses.top_ids,
        top_log_probs=responses.top_log_probs,
    )
