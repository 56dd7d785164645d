"""`minirlhf ppo`, `reinforce`, `rloo` and `grpo`: stage 3 on models and prompts of your own.

Each command hands its options over as they are (`locals()`); `_online` turns those that are
settings into the algorithm's configuration, loads the models and trains in the run folder.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from minirlhf.actor import Actor
from minirlhf.backbone import pick_device
from minirlhf.cli.data import data_options, read, rows_for, run_folder
from minirlhf.cli.online_models import load_scorer, trainer_with
from minirlhf.cli.options import (
    BatchSize,
    Data,
    Device,
    GradientCheckpointing,
    Iterations,
    KeepDuplicates,
    KLCoef,
    LoraRank,
    MaxResponseTokens,
    MaxRows,
    MaxTokens,
    MicrobatchSize,
    Model,
    Offload,
    Out,
    Precision,
    Resume,
    Reward,
    SaveEvery,
    Seed,
    Split,
    Track,
    setting,
)
from minirlhf.cli.runs import plan, say_next, train
from minirlhf.config import GRPOConfig, PPOConfig, ReinforceConfig, RLOOConfig
from minirlhf.data import PROMPT_COLUMNS
from minirlhf.grpo_trainer import GRPOTrainer
from minirlhf.online_trainer import OnlineTrainer
from minirlhf.ppo_trainer import PPOTrainer
from minirlhf.reinforce_trainer import ReinforceTrainer
from minirlhf.rloo_trainer import RLOOTrainer

if TYPE_CHECKING:
    pass

SPLIT = "32, or the batch if smaller"
GROUP = "Responses to each prompt; the batch is a multiple of it."


def ppo(
    out: Out,
    model: Model = None,
    reward: Reward = None,
    data: Data = None,
    split: Split = None,
    max_rows: MaxRows = None,
    max_tokens: MaxTokens = None,
    keep_duplicates: KeepDuplicates = None,
    resume: Resume = False,
    seed: Seed = None,
    device: Device = None,
    iterations: Iterations = None,
    kl_coef: KLCoef = None,
    critic_target: Annotated[
        str | None, setting("td: R_t + γV_{t+1}; gae: Â_t + V_t.", PPOConfig.critic_target)
    ] = None,
    batch_size: BatchSize = None,
    minibatch_size: Annotated[int | None, setting("Responses per optimiser step.", SPLIT)] = None,
    microbatch_size: MicrobatchSize = None,
    max_response_tokens: MaxResponseTokens = None,
    actor_lr: Annotated[float | None, setting("Of the Actor.", PPOConfig.actor_lr)] = None,
    critic_lr: Annotated[float | None, setting("Of the Critic.", PPOConfig.critic_lr)] = None,
    precision: Precision = None,
    gradient_checkpointing: GradientCheckpointing = None,
    offload: Offload = None,
    lora_rank: LoraRank = None,
    save_every: SaveEvery = 1,
    track: Track = None,
) -> None:
    """Stage 3: PPO; --model is the Actor of stage 1, --reward the model of stage 2."""
    _online(PPOTrainer, ("score", "kl", "length", "explained_variance"), **locals())


def reinforce(
    out: Out,
    model: Model = None,
    reward: Reward = None,
    data: Data = None,
    split: Split = None,
    max_rows: MaxRows = None,
    max_tokens: MaxTokens = None,
    keep_duplicates: KeepDuplicates = None,
    resume: Resume = False,
    seed: Seed = None,
    device: Device = None,
    iterations: Iterations = None,
    kl_coef: KLCoef = None,
    baseline_decay: Annotated[
        float | None,
        setting("How much of the moving average stays.", ReinforceConfig.baseline_decay),
    ] = None,
    batch_size: BatchSize = None,
    microbatch_size: MicrobatchSize = None,
    max_response_tokens: MaxResponseTokens = None,
    actor_lr: Annotated[float | None, setting("Of the Actor.", ReinforceConfig.actor_lr)] = None,
    precision: Precision = None,
    gradient_checkpointing: GradientCheckpointing = None,
    offload: Offload = None,
    lora_rank: LoraRank = None,
    save_every: SaveEvery = 1,
    track: Track = None,
) -> None:
    """Stage 3 with REINFORCE: no Critic; what earlier batches brought is the baseline."""
    _online(ReinforceTrainer, ("score", "kl", "length", "baseline"), **locals())


def rloo(
    out: Out,
    model: Model = None,
    reward: Reward = None,
    data: Data = None,
    split: Split = None,
    max_rows: MaxRows = None,
    max_tokens: MaxTokens = None,
    keep_duplicates: KeepDuplicates = None,
    resume: Resume = False,
    seed: Seed = None,
    device: Device = None,
    iterations: Iterations = None,
    kl_coef: KLCoef = None,
    group_size: Annotated[int | None, setting(GROUP, RLOOConfig.group_size)] = None,
    batch_size: BatchSize = None,
    microbatch_size: MicrobatchSize = None,
    max_response_tokens: MaxResponseTokens = None,
    actor_lr: Annotated[float | None, setting("Of the Actor.", RLOOConfig.actor_lr)] = None,
    precision: Precision = None,
    gradient_checkpointing: GradientCheckpointing = None,
    offload: Offload = None,
    lora_rank: LoraRank = None,
    save_every: SaveEvery = 1,
    track: Track = None,
) -> None:
    """Stage 3 with RLOO: no Critic; the other answers to a prompt are the baseline."""
    _online(RLOOTrainer, ("score", "kl", "length"), **locals())


def grpo(
    out: Out,
    model: Model = None,
    reward: Reward = None,
    data: Data = None,
    split: Split = None,
    max_rows: MaxRows = None,
    max_tokens: MaxTokens = None,
    keep_duplicates: KeepDuplicates = None,
    resume: Resume = False,
    seed: Seed = None,
    device: Device = None,
    iterations: Iterations = None,
    kl_coef: Annotated[
        float | None, setting("β: what a nat of KL costs.", GRPOConfig.kl_coef)
    ] = None,
    group_size: Annotated[int | None, setting(GROUP, GRPOConfig.group_size)] = None,
    divide_by_std: Annotated[
        bool | None,
        setting("Divide by the spread of a group's scores.", GRPOConfig.divide_by_std),
    ] = None,
    epochs: Annotated[int | None, setting("Passes over each rollout.", GRPOConfig.epochs)] = None,
    batch_size: BatchSize = None,
    minibatch_size: Annotated[int | None, setting("Responses per optimiser step.", SPLIT)] = None,
    microbatch_size: MicrobatchSize = None,
    max_response_tokens: MaxResponseTokens = None,
    actor_lr: Annotated[float | None, setting("Of the Actor.", GRPOConfig.actor_lr)] = None,
    precision: Precision = None,
    gradient_checkpointing: GradientCheckpointing = None,
    offload: Offload = None,
    lora_rank: LoraRank = None,
    save_every: SaveEvery = 1,
    track: Track = None,
) -> None:
    """Stage 3 with GRPO: no Critic; scores are compared within a group, the KL is in the loss."""
    _online(GRPOTrainer, ("score", "kl", "length"), **locals())


def _online(
    trainer_class: type[OnlineTrainer],
    metrics: Sequence[str],
    *,
    out: Path,
    model: str | None,
    reward: str | None,
    data: str | None,
    split: str | None,
    max_rows: int | None,
    max_tokens: int | None,
    keep_duplicates: bool | None,
    resume: bool,
    device: str | None,
    save_every: int,
    track: str | None,
    **given: Any,
) -> None:
    """Train with one algorithm; what is not named here goes into its settings."""
    config_class, batch_size = trainer_class.config_class, given["batch_size"]
    usual = config_class.minibatch_size
    if usual and batch_size and given["minibatch_size"] is None and not resume:
        given["minibatch_size"] = min(batch_size, usual)
    wanted = {"model": model, "reward": reward, "data": data}
    config, sources = plan(config_class, out, resume, wanted, given)
    options = data_options(out, resume, split, max_rows, max_tokens, keep_duplicates)
    target = pick_device(device)
    examples = read(sources["data"], PROMPT_COLUMNS, options)
    actor = Actor.from_pretrained(sources["model"], device=target)
    scorer = load_scorer(actor, sources["reward"], config.lora_rank, target)
    rows = rows_for([actor, scorer], examples, options, response_room=config.max_response_tokens)
    prompts = [row["prompt"] for row in rows.rows]
    trainer = trainer_with(trainer_class, config, actor, scorer, prompts)
    run = run_folder(out, resume, sources, rows, options)
    train(run, trainer, metrics, save_every, track)
    say_next("chat", run=out)
