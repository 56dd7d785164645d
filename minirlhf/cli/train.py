"""`minirlhf sft`, `reward` and `dpo`: training on rows of your own, without sampling.

Everything is checked before anything is written. Each run is a folder (`minirlhf.run_folder`), and
`--resume` goes on with it after Ctrl-C, a kill or a power cut as if nothing had happened.
"""

from typing import Annotated

import typer

from minirlhf.backbone import pick_device
from minirlhf.cli.data import data_options, read, rows_for, run_folder
from minirlhf.cli.options import (
    DATA_HELP,
    Device,
    GradientCheckpointing,
    KeepDuplicates,
    LoraRank,
    MaxRows,
    MaxTokens,
    Model,
    Out,
    Resume,
    SaveEvery,
    Seed,
    Split,
    Track,
    setting,
)
from minirlhf.cli.runs import plan, say_next, train
from minirlhf.config import DPOConfig, RewardModelConfig, SFTConfig

SftData = Annotated[
    str | None, typer.Option(help=DATA_HELP.format("prompt and completion, or messages"))
]
PairData = Annotated[str | None, typer.Option(help=DATA_HELP.format("prompt, chosen and rejected"))]


def sft(
    out: Out,
    model: Model = None,
    data: SftData = None,
    split: Split = None,
    max_rows: MaxRows = None,
    max_tokens: MaxTokens = None,
    keep_duplicates: KeepDuplicates = None,
    resume: Resume = False,
    seed: Seed = None,
    device: Device = None,
    steps: Annotated[int | None, setting("Optimiser steps.", SFTConfig.steps)] = None,
    batch_size: Annotated[int | None, setting("Rows per step.", SFTConfig.batch_size)] = None,
    lr: Annotated[float | None, setting("Peak learning rate.", SFTConfig.lr)] = None,
    gradient_checkpointing: GradientCheckpointing = None,
    lora_rank: LoraRank = None,
    save_every: SaveEvery = 20,
    track: Track = None,
) -> None:
    """Stage 1: teach a language model to write like the examples."""
    from minirlhf.actor import Actor
    from minirlhf.data import SFT_COLUMNS
    from minirlhf.sft_trainer import SFTTrainer

    given = {"seed": seed, "steps": steps, "batch_size": batch_size, "lr": lr}
    given["gradient_checkpointing"] = gradient_checkpointing
    given["lora_rank"] = lora_rank
    config, sources = plan(SFTConfig, out, resume, {"model": model, "data": data}, given)
    options = data_options(out, resume, split, max_rows, max_tokens, keep_duplicates)
    target = pick_device(device)
    examples = read(sources["data"], SFT_COLUMNS, options)
    actor = Actor.from_pretrained(sources["model"], device=target)
    rows = rows_for([actor], examples, options)
    trainer = SFTTrainer(actor.add_adapter(config.lora_rank, seed=config.seed), rows.rows, config)
    run = run_folder(out, resume, sources, rows, options)
    train(run, trainer, ("sft_loss", "grad_norm"), save_every, track)
    say_next("reward", model=out / "actor", data="PAIRS.jsonl", out="runs/reward")


def reward(
    out: Out,
    model: Model = None,
    data: PairData = None,
    split: Split = None,
    max_rows: MaxRows = None,
    max_tokens: MaxTokens = None,
    keep_duplicates: KeepDuplicates = None,
    resume: Resume = False,
    seed: Seed = None,
    device: Device = None,
    steps: Annotated[int | None, setting("Optimiser steps.", RewardModelConfig.steps)] = None,
    batch_size: Annotated[
        int | None, setting("Pairs per step.", RewardModelConfig.batch_size)
    ] = None,
    lr: Annotated[float | None, setting("Peak learning rate.", RewardModelConfig.lr)] = None,
    max_response_tokens: Annotated[
        int | None,
        setting(
            "Length of the samples that fix the scores' scale, EOS included.",
            RewardModelConfig.max_response_tokens,
        ),
    ] = None,
    gradient_checkpointing: GradientCheckpointing = None,
    lora_rank: LoraRank = None,
    save_every: SaveEvery = 20,
    track: Track = None,
) -> None:
    """Stage 2: train a reward model on preferences; --model is the Actor of stage 1."""
    from minirlhf.actor import Actor
    from minirlhf.data import PREFERENCE_COLUMNS
    from minirlhf.reward_model import RewardModel
    from minirlhf.reward_trainer import RewardModelTrainer

    given = {"seed": seed, "steps": steps, "batch_size": batch_size, "lr": lr}
    given["max_response_tokens"] = max_response_tokens
    given["gradient_checkpointing"] = gradient_checkpointing
    given["lora_rank"] = lora_rank
    config, sources = plan(RewardModelConfig, out, resume, {"model": model, "data": data}, given)
    options = data_options(out, resume, split, max_rows, max_tokens, keep_duplicates)
    target = pick_device(device)
    examples = read(sources["data"], PREFERENCE_COLUMNS, options)
    actor = Actor.from_pretrained(sources["model"], device=target)
    rows = rows_for([actor], examples, options, response_room=config.max_response_tokens)
    reward_model = RewardModel.from_actor(actor, seed=config.seed, lora_rank=config.lora_rank)
    trainer = RewardModelTrainer(reward_model, rows.rows, config, sft_actor=actor.freeze())
    run = run_folder(out, resume, sources, rows, options)
    train(run, trainer, ("preference_loss", "accuracy", "held_out_accuracy"), save_every, track)
    reward_folder = out / "reward_model"
    say_next(
        "ppo", model=sources["model"], reward=reward_folder, data="PROMPTS.jsonl", out="runs/ppo"
    )


def dpo(
    out: Out,
    model: Model = None,
    data: PairData = None,
    split: Split = None,
    max_rows: MaxRows = None,
    max_tokens: MaxTokens = None,
    keep_duplicates: KeepDuplicates = None,
    resume: Resume = False,
    seed: Seed = None,
    device: Device = None,
    steps: Annotated[int | None, setting("Optimiser steps.", DPOConfig.steps)] = None,
    batch_size: Annotated[int | None, setting("Pairs per step.", DPOConfig.batch_size)] = None,
    kl_coef: Annotated[
        float | None, setting("β: what a nat of KL costs.", DPOConfig.kl_coef)
    ] = None,
    lr: Annotated[float | None, setting("Peak learning rate.", DPOConfig.lr)] = None,
    gradient_checkpointing: GradientCheckpointing = None,
    lora_rank: LoraRank = None,
    save_every: SaveEvery = 20,
    track: Track = None,
) -> None:
    """DPO instead of stages 2 and 3: preferences train the Actor; --model is that of stage 1."""
    from minirlhf.actor import Actor
    from minirlhf.data import PREFERENCE_COLUMNS
    from minirlhf.dpo_trainer import DPOTrainer
    from minirlhf.reference import Reference

    given = {"seed": seed, "steps": steps, "batch_size": batch_size, "kl_coef": kl_coef, "lr": lr}
    given["gradient_checkpointing"] = gradient_checkpointing
    given["lora_rank"] = lora_rank
    config, sources = plan(DPOConfig, out, resume, {"model": model, "data": data}, given)
    options = data_options(out, resume, split, max_rows, max_tokens, keep_duplicates)
    target = pick_device(device)
    examples = read(sources["data"], PREFERENCE_COLUMNS, options)
    actor = Actor.from_pretrained(sources["model"], device=target)
    rows = rows_for([actor], examples, options)
    actor.add_adapter(config.lora_rank, seed=config.seed)
    trainer = DPOTrainer(actor, Reference.from_actor(actor), rows.rows, config)
    run = run_folder(out, resume, sources, rows, options)
    train(run, trainer, ("dpo_loss", "accuracy", "reward_margin"), save_every, track)
    say_next("chat", run=out)
