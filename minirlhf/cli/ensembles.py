"""`minirlhf ensembles`: whether several reward models are harder to deceive than one."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from minirlhf.cli.show import console

PAIRS = (100, 1000)  # that each member sees in the exact world
MEMBERS = {"exact": 5, "cafe": 3}
ITERATIONS = 30  # of PPO in the café


def ensembles(
    out: Annotated[Path, typer.Option(help="Folder for the figure and its numbers.")],
    seeds: Annotated[int, typer.Option(min=1, help="Sets of reward models.")] = 3,
) -> None:
    """Over-optimise one reward model, and the mean and the minimum of several.

    In the exact world the best policy for each is followed as β falls; in the café, PPO trains
    with β = 0. Writes ensembles.json and ensembles.png; some 15 minutes.
    """
    from minirlhf.worlds.cafe import ensembles as cafe
    from minirlhf.worlds.cafe import recipe
    from minirlhf.worlds.exact import ensembles as exact
    from minirlhf.worlds.exact import sft_actor

    actor = sft_actor(seed=0)
    curves: dict[str, dict[str, list[Any]]] = {}
    for pairs in PAIRS:
        for seed in range(seeds):
            with console.status(f"exact world, {pairs} pairs, seed {seed} …"):
                found = exact.compare_ensembles(actor, pairs, MEMBERS["exact"], seed=seed)
            for way, curve in found.items():
                curves.setdefault(str(pairs), {}).setdefault(way, []).append(asdict(curve))
    sft, _ = recipe.load_shipped("cpu")
    runs: dict[str, list[Any]] = {}
    for seed in range(seeds):
        with console.status(f"café, seed {seed} …"):
            learnt = cafe.compare_ensembles(
                sft, MEMBERS["cafe"], iterations=ITERATIONS, kl_coef=0.0, seed=seed
            )
        for way, moments in learnt.items():
            runs.setdefault(way, []).append([asdict(moment) for moment in moments])
    write(out, curves, runs)


def write(out: Path, curves: dict[str, dict[str, list[Any]]], runs: dict[str, list[Any]]) -> None:
    """Write numbers and figure, and say what they show."""
    from minirlhf.backbone import pick_device
    from minirlhf.provenance import environment
    from minirlhf.recording import rounded
    from minirlhf.widgets.ensembles import describe, ensembles_figure

    numbers = {
        "command": "minirlhf ensembles --out assets/exact",
        "made_with": environment(pick_device("cpu")),
        "members": MEMBERS,
        "exact": curves,
        "cafe": runs,
    }
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rounded(numbers), ensure_ascii=False) + "\n"
    (out / "ensembles.json").write_text(text, encoding="utf-8")
    ensembles_figure(numbers).save(out / "ensembles.png")
    for line in describe(numbers).split("; "):
        console.print(line, markup=False, soft_wrap=True)
    console.print(str(out / "ensembles.png"), markup=False, soft_wrap=True)
