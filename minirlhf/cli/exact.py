"""`minirlhf exact`: the algorithms against the exact optimum, and what over-optimisation costs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minirlhf.cli.show import console

if TYPE_CHECKING:
    from minirlhf.actor import Actor
    from minirlhf.worlds.exact.frontier import Point
    from minirlhf.worlds.exact.overoptimisation import Curve

KLS = (0.5, 1.5, 3.0)  # nats that π* lies away from the reference; β follows
PAIRS = (100, 1000, 20_000)
REWARD_STEPS = 600  # of training each reward model


def exact(
    out: Annotated[Path, typer.Option(help="Folder for the two figures and their numbers.")],
    steps: Annotated[int, typer.Option(min=1, help="Iterations of each run.")] = 600,
    seeds: Annotated[int, typer.Option(min=1, help="Reward models for each number of pairs.")] = 3,
    seed: Annotated[int, typer.Option(help="Decides every random choice.")] = 0,
) -> None:
    """Run every algorithm in the exact world and draw how near it gets to the best policy.

    Writes frontier.png (each algorithm at three β, against the exact optimum) and
    overoptimisation.png (reward models of few and many pairs), each with its numbers as JSON.
    Prints how many updates a critic needs with R_t + γV_{t+1} and with GAE's returns.
    """
    from minirlhf.widgets.frontier import frontier_figure, overoptimisation_figure
    from minirlhf.worlds.exact import sft_actor
    from minirlhf.worlds.exact.frontier import goal_for
    from minirlhf.worlds.exact.overoptimisation import follow

    out.mkdir(parents=True, exist_ok=True)
    actor = sft_actor(seed=seed)
    goal = goal_for(actor, kl_coef=1.0)
    best = follow(goal.gold, goal.ref_log_pi, goal.gold)
    points, rest = race(actor, steps, seed)
    frontier_figure(best, points, rest).save(out / "frontier.png")
    numbers = {"best": best, "points": points, "grpo_fixed_points": rest}
    write(out / "frontier.json", steps=steps, seed=seed, **numbers)
    compare_targets()
    curves = compare_reward_models(actor, seeds, seed)
    overoptimisation_figure(best, curves).save(out / "overoptimisation.png")
    write(out / "overoptimisation.json", seed=seed, best=best, curves=curves)
    for name in ("frontier", "overoptimisation"):
        console.print(str(out / f"{name}.png"), markup=False, soft_wrap=True)


def race(actor: "Actor", steps: int, seed: int) -> "tuple[list[Point], list[Point]]":
    """Every algorithm at every β; and where theory says that GRPO comes to rest."""
    from minirlhf.config import OnlineConfig
    from minirlhf.worlds.exact import kl_coef_for
    from minirlhf.worlds.exact.fixed_points import grpo_fixed_point
    from minirlhf.worlds.exact.frontier import ALGORITHMS, goal_for, make_trainer, watch

    points, rest = [], []
    any_goal = goal_for(actor, kl_coef=1.0)
    for kl in KLS:
        kl_coef = kl_coef_for(kl, any_goal.ref_log_pi, any_goal.gold)
        goal = goal_for(actor, kl_coef)
        truth = grpo_fixed_point(goal.ref_log_pi, goal.gold, kl_coef=kl_coef)
        rest.append(goal.judge_policy("grpo", 0, truth.log_pi))
        for algorithm in ALGORITHMS:
            with console.status(f"{algorithm} at β = {kl_coef:.3f} …"):
                # DPO's pairs hold as many answers as the others sample
                pairs = steps * OnlineConfig.batch_size // 2
                trainer = make_trainer(
                    algorithm, actor, kl_coef, steps=steps, pairs=pairs, seed=seed
                )
                *_, end = watch(trainer, goal, every=steps)
            points.append(end)
            console.print(
                f"β {kl_coef:.3f}  {algorithm:<10} KL {end.kl:.2f} nats   gold {end.score:.2f}   "
                f"short of the optimum by {end.gap:.1%}",
                soft_wrap=True,
            )
    return points, rest


def compare_targets() -> None:
    """How many updates a critic needs with either target, on chains of so many tokens."""
    from minirlhf.worlds.exact.chains import td_against_gae

    for chain in td_against_gae((2, 4, 8, 16, 24)):
        console.print(
            f'chain of {chain.length:>2} tokens: V is learnt in {chain.td:>2} updates with "td", '
            f'in {chain.gae} with "gae": {chain.ratio:.1f} times as many',
            soft_wrap=True,
        )


def compare_reward_models(actor: "Actor", seeds: int, seed: int) -> "dict[int, list[Curve]]":
    """Follow reward models that were fitted to few pairs and to many."""
    from minirlhf.worlds.exact import final_scores, gold_table, score_table
    from minirlhf.worlds.exact.frontier import PENALTY, goal_for
    from minirlhf.worlds.exact.overoptimisation import fit_reward_model, follow

    goal = goal_for(actor, kl_coef=1.0)
    curves: dict[int, list[Curve]] = {}
    for pairs in PAIRS:
        for number in range(seed, seed + seeds):
            with console.status(f"a reward model of {pairs} pairs …"):
                reward_model = fit_reward_model(
                    actor, gold_table(), pairs, steps=REWARD_STEPS, seed=number
                )
                scores = score_table(reward_model).double()
                scores = final_scores(scores, missing_eos_penalty=PENALTY)
            curve = follow(scores, goal.ref_log_pi, goal.gold)
            curves.setdefault(pairs, []).append(curve)
            console.print(
                f"{pairs:>6} pairs  gold peaks at {curve.gold[curve.peak]:.2f} "
                f"(KL {curve.kl[curve.peak]:.1f}), ends at {curve.gold[-1]:.2f} "
                f"(KL {curve.kl[-1]:.1f}); proxy ends at {curve.proxy[-1]:.2f}",
                soft_wrap=True,
            )
    return curves


def write(path: Path, **numbers: Any) -> None:
    """Write what a figure shows, with the versions that made it."""
    from minirlhf.backbone import pick_device
    from minirlhf.provenance import environment

    made = {"made_with": environment(pick_device("cpu")), **numbers}
    path.write_text(json.dumps(made, default=asdict, indent=1) + "\n", encoding="utf-8")
