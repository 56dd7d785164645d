"""Goodhart's law without sampling: what happens to gold as a policy follows its reward model.

For every β the best policy *for the reward model* is known in closed form, so its proxy score, its
gold score and its distance from the reference are exact. As β falls the policy goes further: the
proxy can only rise, gold rises with it, and then falls where the reward model's mistakes are.
"""

from dataclasses import dataclass

from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.config import RewardModelConfig
from minirlhf.reward_model import RewardModel
from minirlhf.reward_trainer import RewardModelTrainer
from minirlhf.worlds.exact.models import policy_table
from minirlhf.worlds.exact.optimum import optimal_policy
from minirlhf.worlds.exact.preferences import preference_rows
from minirlhf.worlds.exact.truth import exact_truth
from minirlhf.worlds.exact.words import STEPS

# β from where the policy hardly moves to where the reward model alone decides
KL_COEFS = tuple(10.0 ** (0.5 - 0.05 * i) for i in range(45))


@dataclass(frozen=True)
class Curve:
    """One reward model's best policies, one for each β, from near the reference to far away."""

    kl_coef: list[float]  # β, reward units per nat
    kl: list[float]  # KL(policy‖reference), nats
    proxy: list[float]  # E[reward model's score], penalty included
    gold: list[float]  # E[gold], penalty included

    @property
    def peak(self) -> int:
        """The place of the largest gold."""
        return max(range(len(self.gold)), key=self.gold.__getitem__)


def follow(scores: Tensor, ref_log_pi: Tensor, gold: Tensor) -> Curve:
    """Follow a reward model further and further, and watch gold.

    Args:
        scores: (S, V) reward units, as `final_scores` gives them: what the policy is optimised for.
        ref_log_pi: (S, V) nats.
        gold: (S, V) reward units, as `final_scores` gives them: what people want.
    """
    curve = Curve([], [], [], [])
    for kl_coef in KL_COEFS:
        best = optimal_policy(ref_log_pi, scores, kl_coef=kl_coef)
        judged = exact_truth(best.log_pi, ref_log_pi, gold, kl_coef=kl_coef)
        curve.kl_coef.append(kl_coef)
        curve.kl.append(float(best.kl))
        curve.proxy.append(float(best.score))
        curve.gold.append(float(judged.score))
    return curve


def fit_reward_model(
    actor: Actor, gold: Tensor, pairs: int, *, noise: float = 1.0, steps: int, seed: int = 0
) -> RewardModel:
    """Stage 2 on some pairs of the actor's answers.

    Args:
        actor: the SFT model.
        gold: (S, V) reward units, without penalty; the people who compare go by it.
        pairs: how many comparisons there are.
        noise: of these people, reward units.
        steps: of training; the same for few pairs and for many.
        seed: of pairs, head and batches.
    """
    log_pi = policy_table(actor).detach().double()
    truth = exact_truth(log_pi, log_pi, gold, kl_coef=0.0)
    config = RewardModelConfig(
        steps=steps,
        batch_size=min(64, pairs),
        lr=3e-3,
        max_response_tokens=STEPS,
        seed=seed,
    )
    rows = preference_rows(truth, gold, pairs, noise=noise, seed=seed)
    reward_model = RewardModel.from_actor(actor, seed=seed)
    for _ in RewardModelTrainer(reward_model, rows, config, sft_actor=actor):
        pass
    return reward_model.freeze()
