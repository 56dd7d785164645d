"""Do several reward models resist over-optimisation better than one? Measured without sampling.

For each way of reading the models, the best policy for that score is followed as β falls, as in
`overoptimisation`. An ensemble of K models has seen K times as many pairs, so it stands beside one
model of as many pairs as all its members together.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.reward_ensemble import RewardEnsemble
from minirlhf.reward_model import RewardModel
from minirlhf.worlds.exact.frontier import PENALTY, goal_for
from minirlhf.worlds.exact.gold import gold_table
from minirlhf.worlds.exact.models import score_table
from minirlhf.worlds.exact.overoptimisation import Curve, fit_reward_model, follow
from minirlhf.worlds.exact.truth import final_scores

REWARD_STEPS = 600  # of training each reward model, whatever its pairs


def members_for(
    actor: Actor, pairs: int, members: int, *, seed: int = 0, steps: int = REWARD_STEPS
) -> list[RewardModel]:
    """Reward models of different pairs and different heads; another seed shares none of them."""
    return [
        fit_reward_model(actor, gold_table(), pairs, steps=steps, seed=1000 * seed + number)
        for number in range(members)
    ]


def follow_model(actor: Actor, reward_model: RewardModel) -> Curve:
    """Over-optimise one reward model, or an ensemble, standardised over the actor's answers."""
    goal = goal_for(actor, kl_coef=1.0)
    scores = score_table(reward_model).double()
    scores = standardised(scores, goal.truth(goal.ref_log_pi).answer_probability)
    scores = final_scores(scores, missing_eos_penalty=PENALTY)
    return follow(scores, goal.ref_log_pi, goal.gold)


def standardised(scores: Tensor, probability: Tensor) -> Tensor:
    """Scores (S, V) with mean 0 and std 1 under the answers' probability (S, V)."""
    mean = (probability * scores).sum()
    std = (probability * (scores - mean) ** 2).sum().sqrt()
    return (scores - mean) / std


def compare_ensembles(
    actor: Actor, pairs: int, members: int, *, seed: int = 0, steps: int = REWARD_STEPS
) -> dict[str, Curve]:
    """Four ways to learn a reward, from one seed; the last two from the same number of pairs.

    Args:
        actor: the SFT model; reference, and writer of the pairs.
        pairs: that each member sees.
        members: K.
        seed: of pairs and heads.
        steps: of training each reward model.

    Returns:
        curves of "one model" (the first member), "mean", "min", and "one model of all pairs".
    """
    models = members_for(actor, pairs, members, seed=seed, steps=steps)
    every = fit_reward_model(
        actor, gold_table(), members * pairs, steps=steps, seed=1000 * seed + 999
    )
    read = {
        "one model": models[0],
        "mean": RewardEnsemble(models, "mean"),
        "min": RewardEnsemble(models, "min"),
        "one model of all pairs": every,
    }
    return {name: follow_model(actor, model) for name, model in read.items()}


def gold_at(curve: Curve, kl: float) -> float:
    """Gold of the policy that lies this many nats away, between its neighbours on the curve.

    Raises:
        ValueError: the curve does not go that far.
    """
    away = torch.tensor(curve.kl)
    after = int((away < kl).sum())
    if not 0 < after < len(curve.kl):
        raise ValueError(f"the curve goes from {away[0]:.2f} to {away[-1]:.2f} nats, not to {kl}")
    share = (kl - curve.kl[after - 1]) / (curve.kl[after] - curve.kl[after - 1])
    return curve.gold[after - 1] + share * (curve.gold[after] - curve.gold[after - 1])


def summary(curves: Mapping[str, Sequence[Curve]]) -> dict[str, dict[str, list[float]]]:
    """Of each way and seed: gold at its peak, the peak's KL, and gold at the end, β smallest."""
    return {
        name: {
            "peak_gold": [curve.gold[curve.peak] for curve in seeds],
            "peak_kl": [curve.kl[curve.peak] for curve in seeds],
            "end_gold": [curve.gold[-1] for curve in seeds],
            "end_kl": [curve.kl[-1] for curve in seeds],
        }
        for name, seeds in curves.items()
    }
