"""PPO against one reward model and against several, with nothing to hold the Actor back.

Each member saw other pairs of the SFT model's answers. The runs share prompts and sampling noise,
so what differs is how the scores are read.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

from minirlhf.actor import Actor
from minirlhf.config import PPOConfig, RewardModelConfig, SFTConfig
from minirlhf.critic import Critic
from minirlhf.data import encode_prompts, pad_prompts
from minirlhf.ppo_trainer import PPOTrainer
from minirlhf.reference import Reference
from minirlhf.reward_ensemble import RewardEnsemble
from minirlhf.reward_model import RewardModel
from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import recipe

WAYS = ("one model", "mean", "min")
STANDARD_SAMPLES = 512  # of the SFT model, over which an ensemble's scores get mean 0 and std 1


@dataclass(frozen=True)
class Moment:
    """One iteration of one run: means over its responses."""

    step: int
    score: float  # of the reward that it trains on, reward units
    gold: float  # reward units
    kl: float  # KL(actor‖reference), nats


# stage 2 of each member: few pairs, as people's judgements are dear
RULES = recipe.Recipe(
    sft_rows=1, pairs=2000, sft=SFTConfig(), reward=RewardModelConfig(steps=100, lr=1e-3)
)


def member(actor: Actor, number: int, rules: recipe.Recipe = RULES) -> RewardModel:
    """One reward model: pairs, head and batches depend on its number."""
    trainer = recipe.reward_trainer(actor, rules, seed=number)
    for _ in trainer:
        pass
    return trainer.reward_model.freeze()


def as_reward(actor: Actor, members: list[RewardModel], way: str) -> RewardModel:
    """The members read in one of `WAYS`, with mean 0 and std 1 over the SFT model's answers.

    Raises:
        ValueError: there is no such way.
    """
    if way not in WAYS:
        raise ValueError(f"way must be one of {', '.join(WAYS)}; got {way!r}")
    if way == "one model":
        return members[0]
    ensemble = RewardEnsemble(members, "mean" if way == "mean" else "min")
    asked = encode_prompts(actor.tokenizer, recipe.repeat_prompts(STANDARD_SAMPLES))
    prompts = pad_prompts(asked, actor.filler).to(actor.device)
    written = actor.generate(prompts, max_response_tokens=cafe.MAX_RESPONSE_TOKENS)
    ensemble.standardise(ensemble.scores(prompts, written.response_ids, written.response_mask))
    return ensemble


def compare_ensembles(
    actor: Actor, members: int, *, iterations: int, kl_coef: float = 0.0, seed: int = 0
) -> dict[str, list[Moment]]:
    """PPO against the first member, their mean and their minimum, from one seed.

    Args:
        actor: the SFT model; stays as it is.
        members: K.
        iterations: of each run.
        kl_coef: β, reward units per nat.
        seed: of the runs, and of the members: another seed shares none of them.
    """
    models = [member(actor, 100 * seed + number) for number in range(members)]
    runs = {}
    for way in WAYS:
        learner = Actor(copy.deepcopy(actor.model), actor.tokenizer)
        learner.requires_grad_(True)
        reward = as_reward(actor, models, way)
        runs[way] = list(
            over_optimise(learner, reward, iterations=iterations, kl_coef=kl_coef, seed=seed)
        )
    return runs


def over_optimise(
    actor: Actor, reward_model: RewardModel, *, iterations: int, kl_coef: float, seed: int
) -> Iterator[Moment]:
    """PPO on this reward, iteration by iteration; the actor is trained."""
    trainer = PPOTrainer(
        actor,
        Reference.from_actor(actor),
        Critic.from_reward_model(reward_model),
        reward_model,
        cafe.PROMPTS,
        PPOConfig(iterations=iterations, kl_coef=kl_coef, seed=seed),
        judge=recipe.judge,
    )
    for record in trainer:
        m = record.metrics
        yield Moment(record.step, m["score"], m["gold"], m["kl"])
