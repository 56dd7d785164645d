"""`minirlhf demo`: before → SFT → reward model → PPO → after, in the café world."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minirlhf.cli.show import console, follow, role_lines, side_by_side

if TYPE_CHECKING:
    import torch

    from minirlhf import Actor, RewardModel


def demo(
    seed: Annotated[int, typer.Option(help="Decides every random choice.")] = 0,
    kl_coef: Annotated[float, typer.Option(help="β: what a nat of KL costs. Try 0.")] = 0.05,
    iterations: Annotated[int | None, typer.Option(help="PPO iterations.")] = None,
    critic_target: Annotated[
        str, typer.Option(help='"td": R_t + γV_{t+1}, or "gae": Â_t + V_t.')
    ] = "td",
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train stages 1 and 2 too, from nothing.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; default: a GPU if any.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Keep the run here, for inspect and chat --run.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the result here.")
    ] = None,
) -> None:
    """Watch a small language model learn to please, in the café world; no download needed."""
    from minirlhf.backbone import pick_device
    from minirlhf.config import PPOConfig
    from minirlhf.evaluation import Evaluation, evaluate
    from minirlhf.run_folder import RunFolder
    from minirlhf.worlds import cafe
    from minirlhf.worlds.cafe import recipe

    started = time.perf_counter()
    settings: dict[str, Any] = {} if iterations is None else {"iterations": iterations}
    settings |= {"seed": seed, "kl_coef": kl_coef, "critic_target": critic_target}
    config = PPOConfig(**settings)
    if json_file is not None and not json_file.resolve().parent.is_dir():
        raise ValueError(f"cannot write {json_file}: its folder does not exist")
    run = None if out is None else RunFolder(out, sources=sources(out, from_scratch))
    if from_scratch:
        actor, reward_model = train_first_stages(seed, pick_device(device))
    else:
        console.print("Stages 1 and 2: shipped checkpoints (--from-scratch trains them).")
        actor, reward_model = recipe.load_shipped(device)
    trainer = recipe.ppo_trainer(actor, reward_model, config)
    console.print(role_lines(trainer))
    prompts = recipe.repeat_prompts(8 * len(cafe.PROMPTS))

    def look() -> Evaluation:
        return evaluate(
            trainer.actor,
            trainer.reference,
            trainer.reward_model,
            prompts,
            max_response_tokens=config.max_response_tokens,
            seed=seed,
            judge=recipe.judge,
        )

    before = look()
    ppo_started = time.perf_counter()
    records = None if run is None else run.record(trainer, save_every=trainer.total)
    follow(trainer, "Stage 3, PPO", ("gold", "score", "kl", "length"), records)
    ppo_seconds = time.perf_counter() - ppo_started
    after = look()
    result = {
        "gold_before": before.gold,
        "gold_after": after.gold,
        "proxy_before": before.score,
        "proxy_after": after.score,
        "kl": after.kl,
        "eos_rate": after.eos_rate,
        "seconds": time.perf_counter() - started,
        "ppo_seconds": ppo_seconds,
        "iterations": config.iterations,
        "from_scratch": from_scratch,
        **settings,
    }
    if out is not None and from_scratch:
        trainer.reference.save(out / "sft_actor")
        trainer.reward_model.save(out / "reward_model")
    console.print(side_by_side(prompts, before, after))
    console.print(verdict(result))
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def sources(out: Path, from_scratch: bool) -> dict[str, str]:
    """Where the models of stages 1 and 2 are, or will be."""
    from minirlhf.worlds.cafe.recipe import shipped_folder

    folder = out.resolve() if from_scratch else shipped_folder()
    return {"model": str(folder / "sft_actor"), "reward": str(folder / "reward_model")}


def train_first_stages(seed: int, device: "torch.device") -> "tuple[Actor, RewardModel]":
    """Stages 1 and 2 from random weights."""
    from minirlhf.worlds.cafe import recipe

    sft = recipe.sft_trainer(seed=seed, device=device)
    follow(sft, "Stage 1, SFT", ("sft_loss",))
    with console.status("The SFT model answers; the simulated human compares …"):
        reward = recipe.reward_trainer(sft.actor, seed=seed)
    follow(reward, "Stage 2, reward model", ("preference_loss", "accuracy"))
    return sft.actor, reward.reward_model


def verdict(result: dict[str, Any]) -> str:
    """What happened, in plain words, from the numbers."""
    lines = (
        f"gold, the true reward:             {result['gold_before']:+.2f} → "
        f"{result['gold_after']:+.2f}\n"
        f"proxy, what the reward model says: {result['proxy_before']:+.2f} → "
        f"{result['proxy_after']:+.2f}\n"
        f"KL from the Reference:             {result['kl']:.1f} nats per response\n"
        f"time:                              {result['seconds']:.0f} s, "
        f"PPO {result['ppo_seconds']:.0f} s"
    )
    worse = result["gold_after"] < result["gold_before"]
    if worse and result["proxy_after"] > result["proxy_before"]:
        lines += (
            "\nThe reward model is delighted and the guests are not: the Actor found its mistakes. "
            "This is over-optimisation (Goodhart's law)."
        )
    elif result["kl_coef"] > 0:
        lines += "\nNow try:  minirlhf demo --kl-coef 0"
    return lines
