"""What a critic says of one response, step after step of training, beside what is true of it.

    records = []
    for record in trainer:
        truth = monte_carlo_values(..., response_ids, response_mask, config)
        records.append(read_values(trainer, prompts, response_ids, response_mask, truth))
    ValueStrip.from_records(tokens, records)

Nothing here samples or writes weights, so a run with such records ends with the weights that it
would have had without.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from minirlhf.advantages import td_target
from minirlhf.backbone import autocast
from minirlhf.batch import Prompts, StepRecord
from minirlhf.kl import per_token_kl
from minirlhf.monte_carlo import MonteCarloValues
from minirlhf.offload import visiting
from minirlhf.ppo_trainer import PPOTrainer
from minirlhf.rewards import per_token_rewards
from minirlhf.worlds.exact.truth import Truth

AnyTruth = MonteCarloValues | Truth


@dataclass(frozen=True)
class ValueRecord:
    """One response at one step of training; all (R,), in reward units."""

    step: int
    values: Tensor  # V_t, the critic's
    targets: Tensor  # R_t + γ·V_{t+1}, with that critic's V_{t+1}
    truth: Tensor  # the actor's true V(S_t) at this step
    errors: Tensor  # its standard error; 0 where it was counted exactly


@torch.no_grad()
def read_values(
    trainer: PPOTrainer,
    prompts: Prompts,
    response_ids: Tensor,
    response_mask: Tensor,
    truth: AnyTruth,
    row: int = 0,
) -> ValueRecord:
    """Read one response with the models as they are now, and compare with the truth of now.

    Args:
        trainer: between two steps of its run.
        prompts: (B, P) ids and mask, left-padded.
        response_ids: (B, R) int; any responses, usually some of the actor's at the start.
        response_mask: (B, R) bool.
        truth: of the actor as it is now: `monte_carlo_values` of these responses, or `truth_of`
            in the exact world.
        row: which response to follow.

    Raises:
        ValueError: the response has no token, or the truth is of other responses.
    """
    config, actor = trainer.config, trainer.actor
    x, ids, mask = prompts.to(actor.device), response_ids.to(actor.device), response_mask
    mask = mask.to(actor.device)
    with autocast(actor.device, config.precision):
        log_probs = actor.log_probs(x, ids, temperature=config.temperature)
        with visiting(trainer.reference, trainer.actor.device):
            ref_log_probs = trainer.reference.log_probs(x, ids, temperature=config.temperature)
        with visiting(trainer.reward_model, trainer.actor.device):
            scores = trainer.reward_model.scores(x, ids, mask)
        values = trainer.critic.values(x, ids)
    last = (mask.sum(dim=1) - 1).clamp(min=0)[:, None]
    ended = ids.gather(1, last)[:, 0] == actor.tokenizer.eos_token_id
    scores = torch.where(ended, scores, scores - config.missing_eos_penalty)
    kl = per_token_kl(log_probs, ref_log_probs, estimator=config.kl_estimator)
    rewards = per_token_rewards(
        scores, kl, mask, kl_coef=trainer.kl_coef, score_clip=config.score_clip
    )
    targets = td_target(rewards, values, mask, gamma=config.gamma)
    return _record(trainer.step, ids, mask, values, targets, truth, row)


def values_of_record(record: StepRecord, truth: AnyTruth, row: int = 0) -> ValueRecord:
    """One response of a PPO step's own rollout: the V_t and targets that this update learnt from.

    Args:
        record: of a PPO trainer; its values were read *before* this step's update.
        truth: of the actor before this step's update, for the responses of the rollout.
        row: of the rollout.

    Raises:
        ValueError: the record has no rollout, the response no token, or the truth does not fit.
    """
    rollout = record.rollout
    if rollout is None:
        raise ValueError(f"the record of step {record.step} of {record.stage!r} has no rollout")
    ids, mask = rollout.response_ids, rollout.response_mask
    before = record.step - 1  # steps whose updates these values have seen
    return _record(before, ids, mask, rollout.old_values, rollout.td_target, truth, row)


def _record(
    step: int,
    ids: Tensor,
    mask: Tensor,
    values: Tensor,
    targets: Tensor,
    truth: AnyTruth,
    row: int,
) -> ValueRecord:
    length = int(mask[row].sum())
    if length == 0:
        raise ValueError(f"response {row} has no counted token, so there is no V to compare")
    if isinstance(truth, Truth):
        states = truth.tree.states_of(ids.cpu(), mask.cpu())[row]
        true, errors = truth.values.cpu()[states], torch.zeros(len(states))
    elif truth.values.shape != mask.shape:
        raise ValueError(
            f"wanted a truth of these {tuple(mask.shape)} responses, "
            f"got one of {tuple(truth.values.shape)}"
        )
    else:
        true, errors = truth.values[row], truth.errors[row]
    kept = (x[:length].detach().double().cpu() for x in (values[row], targets[row], true, errors))
    return ValueRecord(step, *kept)
