"""`minirlhf record`: the recorded runs that the course replays, made anew."""

from pathlib import Path
from typing import Annotated

import typer

from minirlhf.cli.show import console


def record(
    name: Annotated[
        str | None, typer.Argument(help="Which run; without it, the names are listed.")
    ] = None,
    every_one: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    out: Annotated[
        Path, typer.Option(help="Folder for the JSON files; a file of the same name is replaced.")
    ] = Path("assets/runs"),
) -> None:
    """Run the café's named runs on the CPU and record them: one small JSON file each.

    A file holds settings, seed, commit, versions, every metric of every step, some responses with
    the numbers of each token, and gold, score and KL of 384 fresh responses before and after.
    `minirlhf.recording.load_recording` opens it, and so does the widget RunReplay.
    """
    from minirlhf.worlds.cafe import recordings

    if name is not None and every_one:
        raise ValueError("name one run, or ask for --all, not both")
    if name is None and not every_one:
        for known, plan in recordings.RECORDINGS.items():
            console.print(f"{known:<14} {plan.about}", markup=False, soft_wrap=True)
        return
    names = list(recordings.RECORDINGS) if name is None else [name]
    recordings.plan_of(names[0])
    out.mkdir(parents=True, exist_ok=True)
    for one in names:
        with console.status(f"{one} …"):
            run = recordings.make(one)
        run.save(out / f"{one}.json")
        end, start = run.end, run.start
        console.print(
            f"{one:<14} gold {start['gold']:.2f} → {end['gold']:.2f}   score {end['score']:.2f}   "
            f"KL {end['kl']:.1f} nats   {run.seconds:.0f} s   {out / f'{one}.json'}",
            markup=False,
            soft_wrap=True,
        )
