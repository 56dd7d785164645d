"""`minirlhf doctor`: what is installed, which device will be used, what would fail."""

import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from rich.table import Table
from rich.text import Text

from minirlhf.cli.show import console

NEEDED = ("torch", "transformers", "safetensors", "typer", "rich")
EXTRAS = {
    "course": ("jupyterlab", "matplotlib", "ipywidgets", "anywidget"),
    "data": ("datasets",),
    "scale": ("accelerate", "peft"),
    "dev": ("nbval", "pytest", "hypothesis", "ruff", "mypy", "playwright"),
}

Line = tuple[str, str, str]  # what, what was found, advice ("" = fine)


def doctor() -> None:
    """Say what is installed, which device is used, and what would fail; exit code 1 if anything."""
    import typer

    table = Table("what", "found", "advice")
    broken = False
    for what, found, advice in [*packages(), *machine(), *course()]:
        table.add_row(*map(Text, (what, found, advice or "fine")))
        broken |= advice.startswith("needed")
    console.print(table)
    if broken:
        raise typer.Exit(1)


def packages() -> Iterator[Line]:
    """Versions of what is needed, and of the extras."""
    yield "Python", platform.python_version(), ""
    for name in ("minirlhf", *NEEDED):
        found = installed(name)
        yield name, found or "missing", "" if found else "needed: install minirlhf again"
    for extra, names in EXTRAS.items():
        for name in names:
            found = installed(name)
            advice = "" if found else f"only for the extra: pip install 'minirlhf[{extra}]'"
            yield name, found or "missing", advice


def machine() -> Iterator[Line]:
    """Cores, threads, device, bf16."""
    import torch

    from minirlhf.backbone import pick_device
    from minirlhf.threads import VARIABLE, waiting_policy

    yield "cores", str(os.cpu_count()), ""
    yield "torch threads", str(torch.get_num_threads()), ""
    passive = waiting_policy() == "PASSIVE"
    slow = f"beside other programs training may be 10 times slower: set {VARIABLE}=PASSIVE"
    yield "waiting threads", waiting_policy(), "" if passive else slow
    device = pick_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    yield "device", f"{device} ({name})", ""
    gpus = torch.cuda.device_count()
    unused = "one is used; all: accelerate launch -m minirlhf ppo …" if gpus > 1 else ""
    yield "GPUs", str(gpus), unused
    capability = torch.backends.cpu.get_cpu_capability()
    yield "CPU instructions", str(capability), ""


def course() -> Iterator[Line]:
    """Notebooks, shipped checkpoints, and whether they load."""
    from minirlhf.course_files import course_folder
    from minirlhf.worlds.cafe.recipe import load_shipped

    try:
        notebooks = sorted(course_folder("notebooks").glob("*.ipynb"))
        yield "notebooks", str(len(notebooks)), "" if notebooks else "needed: install again"
        for role in load_shipped("cpu"):
            yield f"shipped {type(role).__name__}", "loads", ""
    except ValueError as error:
        yield "course", "broken", f"needed: {error}"
    terminal = "yes" if sys.stdout.isatty() else "no"
    yield "terminal", terminal, ""


def installed(name: str) -> str | None:
    """The version of a package, or None; nothing is imported."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "in this folder" if importlib.util.find_spec(name) else None
