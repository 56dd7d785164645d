"""How far each algorithm gets towards the best policy, measured without sampling error.

Every algorithm starts from the same SFT actor, sees gold through its own kind of data (scores of
its samples, or pairs), and is judged by the exact J = E[gold] − β·KL of the policy it ends with.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.config import (
    DPOConfig,
    GRPOConfig,
    OnlineConfig,
    PPOConfig,
    ReinforceConfig,
    RLOOConfig,
)
from minirlhf.critic import Critic
from minirlhf.dpo_trainer import DPOTrainer
from minirlhf.grpo_trainer import GRPOTrainer
from minirlhf.online_trainer import OnlineTrainer
from minirlhf.ppo_trainer import PPOTrainer
from minirlhf.reference import Reference
from minirlhf.reinforce_trainer import ReinforceTrainer
from minirlhf.rloo_trainer import RLOOTrainer
from minirlhf.trainer import Trainer
from minirlhf.worlds.exact.gold import gold_table
from minirlhf.worlds.exact.models import KnownReward, policy_table
from minirlhf.worlds.exact.optimum import Optimum, optimal_policy
from minirlhf.worlds.exact.preferences import preference_rows
from minirlhf.worlds.exact.truth import Truth, exact_truth, final_scores
from minirlhf.worlds.exact.words import PROMPT, STEPS

PENALTY = OnlineConfig.missing_eos_penalty
# what differs from the algorithms' defaults: learning rates, and how long they train
LEARNING_RATES: dict[str, dict[str, float]] = {
    "ppo": {"actor_lr": 1e-3, "critic_lr": 3e-3},
    "rloo": {"actor_lr": 1e-3},
    "reinforce": {"actor_lr": 1e-3},
    "grpo": {"actor_lr": 1e-3},
    "dpo": {"lr": 1e-3},
}
ONLINE: dict[str, tuple[type[OnlineTrainer], type[OnlineConfig]]] = {
    "ppo": (PPOTrainer, PPOConfig),
    "rloo": (RLOOTrainer, RLOOConfig),
    "reinforce": (ReinforceTrainer, ReinforceConfig),
    "grpo": (GRPOTrainer, GRPOConfig),
}
ALGORITHMS = (*ONLINE, "dpo")


@dataclass(frozen=True)
class Point:
    """Where one run stands: exact numbers of its actor."""

    algorithm: str
    kl_coef: float  # β, reward units per nat
    step: int
    kl: float  # KL(actor‖reference), nats
    score: float  # E[gold], penalty included
    objective: float  # J = score − β·kl
    gap: float  # (J* − J)/(J* − J of the reference): 1 at the start, 0 at the optimum


@dataclass(frozen=True)
class Goal:
    """The objective that a run is judged by."""

    ref_log_pi: Tensor  # (S, V) nats, float64
    gold: Tensor  # (S, V) reward units, penalty included
    optimum: Optimum
    start: float  # J of the reference: its E[gold]

    def judge(self, algorithm: str, step: int, actor: Actor) -> Point:
        """Measure an actor exactly."""
        return self.judge_policy(algorithm, step, policy_table(actor).detach().double())

    def judge_policy(self, algorithm: str, step: int, log_pi: Tensor) -> Point:
        """Measure a policy (S, V) exactly."""
        truth = self.truth(log_pi)
        best = float(self.optimum.objective)
        return Point(
            algorithm=algorithm,
            kl_coef=self.optimum.kl_coef,
            step=step,
            kl=float(truth.kl),
            score=float(truth.score),
            objective=float(truth.objective),
            gap=(best - float(truth.objective)) / (best - self.start),
        )

    def truth(self, log_pi: Tensor) -> Truth:
        """What is true of a policy under this goal's β."""
        return exact_truth(log_pi, self.ref_log_pi, self.gold, kl_coef=self.optimum.kl_coef)


def goal_for(actor: Actor, kl_coef: float) -> Goal:
    """The goal of a run that starts from this actor: gold, less β for each nat."""
    ref_log_pi = policy_table(actor).detach().double()
    gold = final_scores(gold_table(), missing_eos_penalty=PENALTY)
    optimum = optimal_policy(ref_log_pi, gold, kl_coef=kl_coef)
    start = exact_truth(ref_log_pi, ref_log_pi, gold, kl_coef=kl_coef).objective
    return Goal(ref_log_pi, gold, optimum, float(start))


def make_trainer(
    algorithm: str,
    sft_actor: Actor,
    kl_coef: float,
    *,
    steps: int,
    pairs: int = 10_000,
    seed: int = 0,
    **settings: Any,
) -> Trainer:
    """One algorithm on gold in the exact world, with its default settings but for learning rates.

    Args:
        algorithm: one of `ALGORITHMS`.
        sft_actor: where it starts; copied.
        kl_coef: β, reward units per nat.
        steps: iterations, of DPO optimiser steps.
        pairs: preferences that DPO sees (noise 1).
        seed: of the run.
        settings: more settings of the algorithm's configuration.

    Raises:
        ValueError: there is no such algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    actor = Actor(copy.deepcopy(sft_actor.model), sft_actor.tokenizer)
    actor.requires_grad_(True)
    reference = Reference.from_actor(actor)
    settings = {**LEARNING_RATES[algorithm], "kl_coef": kl_coef, "seed": seed, **settings}
    if algorithm == "dpo":
        goal = goal_for(actor, kl_coef)
        rows = preference_rows(goal.truth(goal.ref_log_pi), goal.gold, pairs, seed=seed)
        return DPOTrainer(actor, reference, rows, DPOConfig(steps=steps, **settings))
    settings |= {"iterations": steps, "max_response_tokens": STEPS}
    reward_model = KnownReward.from_table(actor, gold_table())
    if algorithm == "ppo":
        critic = Critic.from_reward_model(reward_model)
        config = PPOConfig(**settings)
        return PPOTrainer(actor, reference, critic, reward_model, [PROMPT], config)
    trainer_class, config_class = ONLINE[algorithm]
    return trainer_class(actor, reference, reward_model, [PROMPT], config_class(**settings))


def watch(trainer: Trainer, goal: Goal, *, every: int) -> Iterator[Point]:
    """Train, and judge the actor exactly at the start, every few steps and at the end."""
    actor = trainer.roles["actor"]
    assert isinstance(actor, Actor)
    yield goal.judge(trainer.stage, trainer.step, actor)
    for record in trainer:
        if record.step % every == 0 or record.step == record.total:
            yield goal.judge(trainer.stage, record.step, actor)
