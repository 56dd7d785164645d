"""`minirlhf cafe`: the café's data as files, and its shipped models made anew."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minirlhf.cli.options import Device
from minirlhf.cli.show import console, follow

if TYPE_CHECKING:
    import torch


def cafe(
    out: Annotated[Path, typer.Option(help="Folder to write to; must be new or empty.")],
    train: Annotated[
        bool, typer.Option("--train", help="Make the models of stages 1 and 2 instead of data.")
    ] = False,
    rows: Annotated[int, typer.Option(min=1, help="SFT rows, and pairs, to write.")] = 4000,
    seed: Annotated[int, typer.Option(help="Decides every random choice.")] = 0,
    device: Device = None,
) -> None:
    """Write the café's data as JSONL, for sft, reward and ppo; with --train, its models.

    Data: sft.jsonl from the grammar; preferences.jsonl, pairs of the shipped SFT model's answers
    between which the gold reward chose, with noise; prompts.jsonl. Models: sft_actor and
    reward_model, as the course ships them in assets/cafe.
    """
    from minirlhf.backbone import pick_device

    target = pick_device(device)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder; name a new one")
    if train:
        write_models(out, seed, target)
    else:
        write_data(out, rows, seed, target)
    for path in sorted(out.iterdir()):
        console.print(str(path), markup=False, soft_wrap=True)


def write_data(out: Path, rows: int, seed: int, device: "torch.device") -> None:
    """Write the three JSONL files."""
    from minirlhf.actor import Actor
    from minirlhf.worlds import cafe as world
    from minirlhf.worlds.cafe import recipe

    actor = Actor.from_pretrained(recipe.shipped_folder() / "sft_actor", device=device)
    with console.status("The SFT model answers; the simulated human compares …"):
        pairs = recipe.compare_samples(actor, rows, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    world.write_jsonl(out / "sft.jsonl", world.sft_rows(rows, seed=seed))
    world.write_jsonl(out / "preferences.jsonl", pairs)
    world.write_jsonl(out / "prompts.jsonl", [{"prompt": prompt} for prompt in world.PROMPTS])


def write_models(out: Path, seed: int, device: "torch.device") -> None:
    """Train stages 1 and 2 by the thorough recipe and save them."""
    from minirlhf.worlds.cafe import recipe

    sft = recipe.sft_trainer(recipe.THOROUGH, seed=seed, device=device)
    follow(sft, "Stage 1, SFT", ("sft_loss",))
    with console.status("The SFT model answers; the simulated human compares …"):
        reward = recipe.reward_trainer(sft.actor, recipe.THOROUGH, seed=seed)
    follow(reward, "Stage 2, reward model", ("preference_loss", "held_out_accuracy"))
    out.mkdir(parents=True, exist_ok=True)
    sft.actor.save(out / "sft_actor")
    reward.reward_model.save(out / "reward_model")
