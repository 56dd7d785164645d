"""A rollout in which nothing is sampled: every answer once, with its probability.

It goes through the same formulas as a sampled rollout, so a probability-weighted sum over its rows
is the *expectation* of whatever those formulas give; there is no noise left to hide a bias.
"""

from torch import Tensor

from minirlhf.advantages import gae, td_target
from minirlhf.batch import Rollout
from minirlhf.config import PPOConfig
from minirlhf.kl import per_token_kl
from minirlhf.rewards import per_token_rewards
from minirlhf.worlds.exact.tree import WORLD, Tree
from minirlhf.worlds.exact.truth import check_tables, final_scores


def every_answer(
    log_pi: Tensor,
    ref_log_pi: Tensor,
    scores: Tensor,
    values: Tensor,
    config: PPOConfig,
    tree: Tree = WORLD,
) -> tuple[Rollout, Tensor]:
    """The rollout of all answers, and how likely each is.

    Args:
        log_pi: (S, V) nats, the actor that "sampled"; no gradient is kept.
        ref_log_pi: (S, V) nats.
        scores: (S, V) reward units, without penalty.
        values: (S,) reward units, the critic; the true values, or any others.
        config: β, γ, λ, estimator, penalty and clip.
        tree: which answers there are.

    Returns:
        the rollout (N rows, R = steps) and probabilities (N,), which sum to 1. Its prompts are
        empty: (N, 0).
    """
    check_tables(tree, log_pi=log_pi, ref_log_pi=ref_log_pi, scores=scores)
    log_pi, ref_log_pi, values = log_pi.detach(), ref_log_pi.detach(), values.detach()
    ids, mask = tree.answers()
    states = tree.states_of(ids, mask)
    final = final_scores(scores, tree, missing_eos_penalty=config.missing_eos_penalty)
    old_log_probs, ref_log_probs = log_pi[states, ids], ref_log_pi[states, ids]
    kl = per_token_kl(old_log_probs, ref_log_probs, estimator=config.kl_estimator)
    rewards = per_token_rewards(
        final[tree.is_last], kl, mask, kl_coef=config.kl_coef, score_clip=config.score_clip
    )
    advantages, returns = gae(rewards, values[states], mask, gamma=config.gamma, lam=config.lam)
    rollout = Rollout(
        prompt_ids=ids[:, :0],
        prompt_mask=mask[:, :0],
        response_ids=ids,
        response_mask=mask,
        old_log_probs=old_log_probs,
        ref_log_probs=ref_log_probs,
        old_values=values[states],
        scores=final[tree.is_last],
        kl=kl,
        rewards=rewards,
        advantages=advantages,
        returns=returns,
        td_target=td_target(rewards, values[states], mask, gamma=config.gamma),
        ended=~tree.is_cut[tree.is_last],
        entropy=-(log_pi.exp() * log_pi).sum(dim=1)[states],
    )
    return rollout, old_log_probs.where(mask, 0.0).sum(dim=1).exp()
