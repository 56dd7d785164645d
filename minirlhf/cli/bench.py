"""`minirlhf bench`: how long a PPO iteration takes, and how near that is to the least possible.

And how long a slider of TokenMicroscope takes in the browser, where there is one.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minirlhf.cli.bench_report import facts, times
from minirlhf.cli.show import console

if TYPE_CHECKING:
    from minirlhf.config import PPOConfig


def bench(
    model: Annotated[
        str, typer.Option(help="Shape (cafe, gpt2-small, qwen2.5-0.5b), folder or Hub name.")
    ] = "cafe",
    peer: Annotated[
        str | None, typer.Option(help="Also time trl, or trl-bf16 (its weights in bfloat16).")
    ] = None,
    runs: Annotated[int, typer.Option(help="Timed iterations of each; medians count.")] = 9,
    batch_size: Annotated[
        int | None, typer.Option(help="Responses in an iteration.", show_default="as in PPO")
    ] = None,
    prompt_tokens: Annotated[
        int, typer.Option(help="Longest prompt; the shortest has half of it.")
    ] = 7,
    response_tokens: Annotated[
        int | None, typer.Option(help="Length of every response.", show_default="as in PPO")
    ] = None,
    ppo_epochs: Annotated[
        int | None, typer.Option(help="Passes over each rollout.", show_default="as in PPO")
    ] = None,
    minibatch_size: Annotated[
        int | None, typer.Option(help="Responses in an optimiser step.", show_default="as in PPO")
    ] = None,
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 (autocast).")] = "float32",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; default: a GPU if any.")] = None,
    seed: Annotated[int, typer.Option(help="Decides weights and tokens.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write all numbers here.")
    ] = None,
) -> None:
    """Time a PPO iteration beside its floor, the unavoidable work alone, and a slider's repaint.

    --peer trl also times TRL's PPO on the same models and prompts, all in turn in one process.
    """
    from minirlhf.bench.measure import measure
    from minirlhf.bench.repaint import repaint

    if json_file is not None and not json_file.resolve().parent.is_dir():
        raise ValueError(f"cannot write {json_file}: its folder does not exist")
    config = ppo_config(
        batch_size=batch_size,
        minibatch_size=minibatch_size,
        ppo_epochs=ppo_epochs,
        max_response_tokens=response_tokens,
        precision=precision,
        seed=seed,
    )
    rival = "" if peer is None else f", {peer}"
    with console.status(f"measuring, ours{rival} and the floor in turn …"):
        result = measure(
            config,
            model=model,
            peer=peer,
            prompt_tokens=prompt_tokens,
            runs=runs,
            device=device,
        )
    console.print(times(result))
    console.print(facts(result), soft_wrap=True)
    if peer is None and model == "cafe":  # the slider has nothing to do with other models
        with console.status("measuring a slider in the browser …"):
            result["repaint"] = repaint(seed=seed)
        console.print(browser(result["repaint"]), soft_wrap=True)
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def ppo_config(**settings: Any) -> "PPOConfig":
    """PPO's own settings, but for those that are given (not None)."""
    from minirlhf.config import PPOConfig

    given = {name: value for name, value in settings.items() if value is not None}
    if "batch_size" in given:  # a small batch shrinks the minibatch
        given = {"minibatch_size": min(given["batch_size"], PPOConfig.minibatch_size)} | given
    return PPOConfig(**given)


def browser(repaint: dict[str, Any]) -> str:
    """One line: a slider's repaint against one frame, or why it was not measured."""
    if "left_out" in repaint:
        return f"browser       not measured: {repaint['left_out']}"
    return (
        f"browser       TokenMicroscope, {repaint['tokens']} tokens × {repaint['rows']} rows: "
        f"painted {repaint['median_ms']:.1f} ms after a slider's move, of a frame's "
        f"{repaint['budget_ms']} ms (median of {repaint['moves']} moves, longest "
        f"{repaint['longest_ms']:.1f} ms; {repaint['browser']})"
    )
