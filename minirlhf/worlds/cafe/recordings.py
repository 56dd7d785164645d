"""The café's recorded runs, by name: the algorithms at equal numbers of responses, and PPO's β.

    recordings.shipped("rloo").end["gold"]
    [recordings.shipped(name).end for name in recordings.SWEEP]

All begin with the shipped models and spend 30 × 64 responses; DPO's are the two sides of its 960
pairs. `minirlhf record` makes them anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from minirlhf.actor import Actor
from minirlhf.batch import StepRecord
from minirlhf.config import (
    DPOConfig,
    GRPOConfig,
    OnlineConfig,
    PPOConfig,
    ReinforceConfig,
    RLOOConfig,
)
from minirlhf.course_files import course_folder
from minirlhf.data import batch_rows, decode_responses, encode_prompts, pad_prompts
from minirlhf.dpo_trainer import DPOTrainer
from minirlhf.evaluation import evaluate
from minirlhf.online_metrics import rollout_metrics
from minirlhf.provenance import weights_sha256
from minirlhf.recorder import Recorder, judged
from minirlhf.recording import Recording, load_recording
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel
from minirlhf.rollout import collect_rollout
from minirlhf.trainer import Trainer
from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import recipe

SEED = 1
ITERATIONS, RESPONSES = 30, 64
JUDGED = 384  # fresh responses by which start and end are judged
DPO_EVERY = 4  # of its 120 steps: 30 of them are judged, as often as the others' are


@dataclass(frozen=True)
class Plan:
    """What a recording is of."""

    about: str
    config: OnlineConfig | DPOConfig


def _ppo(kl_coef: float = PPOConfig.kl_coef, **more: str) -> PPOConfig:
    settings = {"critic_target": "td", **more}
    return PPOConfig(iterations=ITERATIONS, kl_coef=kl_coef, seed=SEED, **settings)  # type: ignore[arg-type]


def _beta(kl_coef: float) -> Plan:
    return Plan(f"PPO with β = {kl_coef}", _ppo(kl_coef))


RECORDINGS: dict[str, Plan] = {
    "ppo-td": Plan("PPO, the Critic learns R_t + γV_{t+1}; β = 0.05", _ppo()),
    "ppo-gae": Plan("PPO, the Critic learns Â_t + V_t; β = 0.05", _ppo(critic_target="gae")),
    "reinforce": Plan(
        "REINFORCE: no Critic, a running mean as baseline",
        ReinforceConfig(iterations=ITERATIONS, seed=SEED),
    ),
    "rloo": Plan(
        "RLOO: no Critic, the other answers to a prompt as baseline",
        RLOOConfig(iterations=ITERATIONS, seed=SEED),
    ),
    "grpo": Plan(
        "GRPO: answers compared within a group, KL in the loss",
        GRPOConfig(iterations=ITERATIONS, seed=SEED),
    ),
    "dpo": Plan("DPO on 960 pairs: nothing sampled, nothing scored", DPOConfig(seed=SEED)),
    "ppo-beta-0": Plan("PPO with β = 0: nothing holds the Actor", _ppo(0.0)),
    **{f"ppo-beta-{b}": _beta(b) for b in (0.02, 0.1, 0.2, 0.5)},
}
# PPO from β = 0 to β = 0.5
SWEEP = ("ppo-beta-0", "ppo-beta-0.02", "ppo-td", "ppo-beta-0.1", "ppo-beta-0.2", "ppo-beta-0.5")
# at equal numbers of responses
ALGORITHMS = ("ppo-td", "reinforce", "rloo", "grpo", "dpo")


def shipped(name: str) -> Recording:
    """A recorded run that comes with the course.

    Raises:
        ValueError: there is no recording of this name, or its file is broken.
    """
    plan_of(name)
    return load_recording(course_folder("assets") / "runs" / f"{name}.json")


def plan_of(name: str) -> Plan:
    """What the recording of this name is of.

    Raises:
        ValueError: lists the names there are.
    """
    if name not in RECORDINGS:
        raise ValueError(f"no recording {name!r}; there are: {', '.join(RECORDINGS)}")
    return RECORDINGS[name]


def make(name: str, *, steps: int | None = None, device: str | None = "cpu") -> Recording:
    """Run it, and record it.

    Args:
        name: one of `RECORDINGS`.
        steps: stop after so many recorded steps, and do not judge start and end; None = all.
        device: the shipped ones were made on a CPU.

    Raises:
        ValueError: there is no recording of this name.
    """
    plan = plan_of(name)
    actor, reward_model = recipe.load_shipped(device)
    weights = weights_sha256({"actor": actor, "reward_model": reward_model})
    trainer = _trainer(plan.config, actor, reward_model)
    recorder = Recorder(name, plan.about, actor.tokenizer, recipe.judge)
    reference = Reference.from_actor(actor)
    if steps is None:
        recorder.start = _judge(actor, reference, reward_model)
    recorder.watch(islice(_records(trainer, reward_model), steps))
    if steps is None:
        recorder.end = _judge(actor, reference, reward_model)
    return recorder.recording(plan.config, trainer.stage, weights, actor.device)


def _trainer(config: OnlineConfig | DPOConfig, actor: Actor, reward_model: RewardModel) -> Trainer:
    if isinstance(config, DPOConfig):
        return recipe.dpo_trainer(actor, ITERATIONS * RESPONSES // 2, config)
    if isinstance(config, PPOConfig):
        return recipe.ppo_trainer(actor, reward_model, config)
    assert isinstance(config, ReinforceConfig | RLOOConfig | GRPOConfig)
    return recipe.critic_free_trainer(actor, reward_model, config)


def _judge(actor: Actor, reference: Reference, reward_model: RewardModel) -> dict[str, float]:
    """384 fresh responses; every run's with the same noise, so that ends can be compared."""
    seen = evaluate(
        actor,
        reference,
        reward_model,
        recipe.repeat_prompts(JUDGED),
        max_response_tokens=cafe.MAX_RESPONSE_TOKENS,
        seed=SEED,
        judge=recipe.judge,
    )
    return judged(seen)


def _records(trainer: Trainer, reward_model: RewardModel) -> Iterator[StepRecord]:
    """A trainer's records; DPO's, which samples nothing, with responses written for the record."""
    if not isinstance(trainer, DPOTrainer):
        yield from trainer
        return
    for record in trainer:
        if record.step % DPO_EVERY == 0:
            yield _with_responses(record, trainer, reward_model)


def _with_responses(
    record: StepRecord, trainer: DPOTrainer, reward_model: RewardModel
) -> StepRecord:
    """What the Actor writes after this step, scored as the others' responses are."""
    actor = trainer.actor
    rows = batch_rows(len(cafe.PROMPTS), RESPONSES, seed=SEED, batch=record.step)
    asked = [cafe.PROMPTS[i] for i in rows]
    prompts = pad_prompts(encode_prompts(actor.tokenizer, asked), actor.filler)
    config = OnlineConfig(kl_coef=trainer.config.kl_coef, seed=SEED)
    rollout = collect_rollout(
        actor, trainer.reference, None, reward_model, prompts, config, iteration=record.step
    )
    texts = decode_responses(actor.tokenizer, rollout.response_ids, rollout.response_mask)
    golds = map(recipe.judge, asked, texts, rollout.ended.tolist())
    seen = rollout_metrics(rollout) | {"gold": sum(golds) / len(rows)}
    return replace(record, metrics=record.metrics | seen, rollout=rollout)
