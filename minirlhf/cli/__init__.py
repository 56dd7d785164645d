"""The command `minirlhf`. Each command is a function of its own module; this file lists them.

A new command is one line here. It may raise ValueError or OSError for whatever its user got wrong:
`minirlhf.cli.errors` turns that into one line and exit code 2.
"""

import sys
from typing import Annotated

import typer

from minirlhf import processes
from minirlhf.cli import (
    bench,
    cafe,
    chat,
    classroom,
    demo,
    doctor,
    ensembles,
    exact,
    export,
    handover,
    inspect,
    lab,
    online,
    progress,
    record,
    slides,
    train,
)
from minirlhf.cli.errors import OneLineErrors
from minirlhf.cli.show import console

app = typer.Typer(
    name="minirlhf",
    help="RLHF with PPO: four models, three stages. Each command explains itself with --help.",
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo.demo)
app.command()(train.sft)
app.command()(train.reward)
app.command()(online.ppo)
app.command()(online.reinforce)
app.command()(online.rloo)
app.command()(online.grpo)
app.command()(train.dpo)
app.command()(inspect.inspect)
app.command()(chat.chat)
app.command()(cafe.cafe)
app.command()(exact.exact)
app.command()(ensembles.ensembles)
app.command()(record.record)
# what lab does not know goes to JupyterLab
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(lab.lab)
app.command()(export.export)
app.command()(slides.slides)
app.command()(progress.progress)
app.command()(classroom.student)
app.command()(classroom.key)
app.command()(classroom.grade)
app.command()(doctor.doctor)
app.command()(bench.bench)
app.command()(handover.handover)


@app.callback()
def _options(
    traceback: Annotated[
        bool, typer.Option("--traceback", envvar="MINIRLHF_TRACEBACK", hidden=True)
    ] = False,
) -> None:
    """For developers: --traceback shows where an error came from (read by `OneLineErrors`)."""


def main() -> None:
    """The entry point of `minirlhf`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # an old Windows console has no β
            stream.reconfigure(errors="replace")
    console.quiet = processes.launched_rank() != 0  # of several processes the main one speaks
    try:
        app()
    except SystemExit as end:
        if not end.code:
            processes.leave()
        raise
