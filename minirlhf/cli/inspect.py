"""`minirlhf inspect`: one prompt, one response, and every number of every token."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from minirlhf.cli.four_models import load_four_models
from minirlhf.cli.options import Device
from minirlhf.cli.show import console

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from minirlhf.batch import Rollout
    from minirlhf.config import PPOConfig

COLUMNS = ("token", "log π", "log π_ref", "kl_t", "R_t", "V_t", "R_t + γV_{t+1}", "Â_t")


def inspect(
    prompt: Annotated[str, typer.Argument(help="What the Actor is to answer.")] = (
        "review the soup and the waiter :"
    ),
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a run of ppo, reinforce, rloo, grpo or demo.",
            show_default="the café before PPO",
        ),
    ] = None,
    kl_coef: Annotated[float, typer.Option(help="β, reward units per nat.")] = 0.05,
    gamma: Annotated[float, typer.Option(help="γ, the discount.")] = 1.0,
    lam: Annotated[float, typer.Option(help="λ of GAE.")] = 0.95,
    max_response_tokens: Annotated[int, typer.Option(help="Longest response.")] = 24,
    seed: Annotated[int, typer.Option(help="Decides what is sampled.")] = 0,
    device: Device = None,
) -> None:
    """Show the log-probs, KL, R_t, V_t, R_t + γV_{t+1} and Â_t of each token of one response."""
    from minirlhf.backbone import pick_device
    from minirlhf.config import PPOConfig
    from minirlhf.data import check_lengths, encode_prompts, pad_prompts
    from minirlhf.rollout import collect_rollout

    config = PPOConfig(
        kl_coef=kl_coef, gamma=gamma, lam=lam, max_response_tokens=max_response_tokens, seed=seed
    )
    four = load_four_models(run, pick_device(device))
    if four.reward_model is None:
        raise ValueError(f"the run in {run} is of DPO, which has no Reward model to look at")
    tokenizer = four.actor.tokenizer
    ids = encode_prompts(tokenizer, [prompt])
    check_lengths(four.actor.model, ids, max_response_tokens)
    rollout = collect_rollout(
        four.actor,
        four.reference,
        four.critic,
        four.reward_model,
        pad_prompts(ids, four.actor.filler),
        config,
    )
    console.print(Text(prompt))
    console.print(token_table(rollout, tokenizer))
    console.print(Text(sums(rollout, config)))
    if four.critic is None:
        console.print("no Critic here: V_t = 0, so that Â_t is all the reward still to come")


def token_table(rollout: "Rollout", tokenizer: "PreTrainedTokenizerBase", row: int = 0) -> Table:
    """One line for each counted token of one response."""
    table = Table("t", *COLUMNS, padding=0)  # fits 80 columns
    for column in table.columns[2:]:
        column.justify = "right"
    numbers = (
        rollout.old_log_probs,
        rollout.ref_log_probs,
        rollout.kl,
        rollout.rewards,
        rollout.old_values,
        rollout.td_target,
        rollout.advantages,
    )
    for t in range(int(rollout.lengths[row])):
        token = str(tokenizer.decode([int(rollout.response_ids[row, t])]))
        # Text, and control characters escaped: what a model writes is never markup
        cells = [str(t), token if token.isprintable() else repr(token)]
        table.add_row(*map(Text, cells), *(f"{float(x[row, t]):+z.3f}" for x in numbers))
    return table


def sums(rollout: "Rollout", config: "PPOConfig", row: int = 0) -> str:
    """The whole response: its score, its KL, and what the rewards add up to."""
    score, kl = float(rollout.scores[row]), float(rollout.kl[row][rollout.response_mask[row]].sum())
    total, clip = float(rollout.rewards[row].sum()), config.score_clip or float("inf")
    ended = "" if rollout.ended[row] else f" (cut off: {config.missing_eos_penalty:g} less)"
    return (
        f"score {score:+.3f}{ended}, KL {kl:+.3f} nats; Σ R_t = clip(score, ±{clip:g}) − β·KL = "
        f"{max(-clip, min(clip, score)):+.3f} − {config.kl_coef:g} × {kl:+.3f} = {total:+.3f}"
    )
