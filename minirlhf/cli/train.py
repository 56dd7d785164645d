"""`minirlhf sft`, `reward` and `ppo`: the three stages on models and data of your own.

Everything is checked before anything is written. Each run is a folder (`minirlhf.run_folder`), and
`--resume` goes on with it after Ctrl-C, a kill or a power cut as if nothing had happened.
"""

from typing import Annotated

import typer

from minirlhf.backbone import pick_device
from minirlhf.cli.options import Device, Model, Out, Resume, SaveEvery, Seed, setting
from minirlhf.cli.runs import plan, say_next, train
from minirlhf.config import PPOConfig, RewardModelConfig, SFTConfig
from minirlhf.run_folder import RunFolder


def sft(
    out: Out,
    model: Model = None,
    data: Annotated[
        str | None, typer.Option(help="JSONL or Hub data set with prompt and completion.")
    ] = None,
    resume: Resume = False,
    seed: Seed = None,
    device: Device = None,
    steps: Annotated[int | None, setting("Optimiser steps.", SFTConfig.steps)] = None,
    batch_size: Annotated[int | None, setting("Rows per step.", SFTConfig.batch_size)] = None,
    lr: Annotated[float | None, setting("Peak learning rate.", SFTConfig.lr)] = None,
    save_every: SaveEvery = 20,
) -> None:
    """Stage 1: teach a language model to write like the examples."""
    from minirlhf.actor import Actor
    from minirlhf.data import SFT_COLUMNS, read_rows
    from minirlhf.sft_trainer import SFTTrainer

    given = {"seed": seed, "steps": steps, "batch_size": batch_size, "lr": lr}
    config, sources = plan(SFTConfig, out, resume, {"model": model, "data": data}, given)
    target = pick_device(device)
    rows = read_rows(sources["data"], SFT_COLUMNS)
    trainer = SFTTrainer(Actor.from_pretrained(sources["model"], device=target), rows, config)
    run = RunFolder(out, resume=resume, sources=sources, rows=rows)
    train(run, trainer, ("sft_loss", "grad_norm"), save_every)
    say_next("reward", model=out / "actor", data="PAIRS.jsonl", out="runs/reward")


def reward(
    out: Out,
    model: Model = None,
    data: Annotated[
        str | None, typer.Option(help="JSONL or Hub data set with prompt, chosen and rejected.")
    ] = None,
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
    save_every: SaveEvery = 20,
) -> None:
    """Stage 2: train a reward model on preferences; --model is the Actor of stage 1."""
    from minirlhf.actor import Actor
    from minirlhf.data import PREFERENCE_COLUMNS, read_rows
    from minirlhf.reward_model import RewardModel
    from minirlhf.reward_trainer import RewardModelTrainer

    given = {"seed": seed, "steps": steps, "batch_size": batch_size, "lr": lr}
    given["max_response_tokens"] = max_response_tokens
    config, sources = plan(RewardModelConfig, out, resume, {"model": model, "data": data}, given)
    target = pick_device(device)
    rows = read_rows(sources["data"], PREFERENCE_COLUMNS)
    actor = Actor.from_pretrained(sources["model"], device=target)
    reward_model = RewardModel.from_actor(actor, seed=config.seed)
    trainer = RewardModelTrainer(reward_model, rows, config, sft_actor=actor.freeze())
    run = RunFolder(out, resume=resume, sources=sources, rows=rows)
    train(run, trainer, ("preference_loss", "accuracy", "held_out_accuracy"), save_every)
    reward_folder = out / "reward_model"
    say_next(
        "ppo", model=sources["model"], reward=reward_folder, data="PROMPTS.jsonl", out="runs/ppo"
    )


def ppo(
    out: Out,
    model: Model = None,
    reward: Annotated[
        str | None, typer.Option(help="The reward model of stage 2: a folder, or a Hub name.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="JSONL or Hub data set with prompt.")] = None,
    resume: Resume = False,
    seed: Seed = None,
    device: Device = None,
    iterations: Annotated[
        int | None, setting("Rollouts, each with its update.", PPOConfig.iterations)
    ] = None,
    kl_coef: Annotated[
        float | None, setting("β: what a nat of KL costs.", PPOConfig.kl_coef)
    ] = None,
    critic_target: Annotated[
        str | None, setting("td: R_t + γV_{t+1}; gae: Â_t + V_t.", PPOConfig.critic_target)
    ] = None,
    batch_size: Annotated[
        int | None, setting("Responses per rollout.", PPOConfig.batch_size)
    ] = None,
    minibatch_size: Annotated[
        int | None, setting("Responses per optimiser step.", "64, or the batch if smaller")
    ] = None,
    microbatch_size: Annotated[
        int | None, setting("Responses per forward pass, to save memory.", "the minibatch")
    ] = None,
    max_response_tokens: Annotated[
        int | None, setting("Longest response, EOS included.", PPOConfig.max_response_tokens)
    ] = None,
    actor_lr: Annotated[float | None, setting("Of the Actor.", PPOConfig.actor_lr)] = None,
    critic_lr: Annotated[float | None, setting("Of the Critic.", PPOConfig.critic_lr)] = None,
    precision: Annotated[
        str | None, setting("float32, or bfloat16 by autocast.", PPOConfig.precision)
    ] = None,
    save_every: SaveEvery = 1,
) -> None:
    """Stage 3: PPO; --model is the Actor of stage 1, --reward the model of stage 2."""
    from minirlhf.actor import Actor
    from minirlhf.critic import Critic
    from minirlhf.data import PROMPT_COLUMNS, read_rows
    from minirlhf.ppo_trainer import PPOTrainer
    from minirlhf.reference import Reference
    from minirlhf.reward_model import RewardModel

    if minibatch_size is None and batch_size is not None and not resume:
        minibatch_size = min(batch_size, PPOConfig.minibatch_size)
    given = {
        "seed": seed,
        "iterations": iterations,
        "kl_coef": kl_coef,
        "critic_target": critic_target,
        "batch_size": batch_size,
        "minibatch_size": minibatch_size,
        "microbatch_size": microbatch_size,
        "max_response_tokens": max_response_tokens,
        "actor_lr": actor_lr,
        "critic_lr": critic_lr,
        "precision": precision,
    }
    wanted = {"model": model, "reward": reward, "data": data}
    config, sources = plan(PPOConfig, out, resume, wanted, given)
    target = pick_device(device)
    rows = read_rows(sources["data"], PROMPT_COLUMNS)
    actor = Actor.from_pretrained(sources["model"], device=target)
    scorer = RewardModel.from_pretrained(sources["reward"], device=target)
    reference, critic = Reference.from_actor(actor), Critic.from_reward_model(scorer)
    prompts = [row["prompt"] for row in rows]
    trainer = PPOTrainer(actor, reference, critic, scorer, prompts, config)
    run = RunFolder(out, resume=resume, sources=sources, rows=rows)
    train(run, trainer, ("score", "kl", "length", "explained_variance"), save_every)
    say_next("chat", run=out)
