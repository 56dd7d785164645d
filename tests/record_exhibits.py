"""Record the dashboards of the museum's twelve exhibits: `python tests/record_exhibits.py`.

Each exhibit is a short run in the café with its bug switched on, beside the same run without it.
Notebook 09 shows them; it and `museum/test_exhibits` run some of them again and compare.
"""

import functools
import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from minirlhf import PPOConfig, museum
from minirlhf.backbone import pick_device
from minirlhf.config import as_dict
from minirlhf.provenance import environment
from minirlhf.worlds.cafe import recipe

ITERATIONS = 12
DIGITS = 5
FILE = Path(__file__).resolve().parents[1] / "assets" / "museum" / "exhibits.json"
Curves = dict[str, list[float | None]]


def run(settings: dict[str, Any], bug: str | None, iterations: int = ITERATIONS) -> Curves:
    """The metrics of one run, without timings; None for a metric that an iteration lacks."""
    torch.manual_seed(0)  # dropout, in the exhibit that has it, draws from the global generator
    actor, reward_model = recipe.load_shipped("cpu")
    config = PPOConfig(iterations=iterations, **settings)
    with museum.switched_on(bug) if bug else nullcontext():
        steps = [record.metrics for record in recipe.ppo_trainer(actor, reward_model, config)]
    names = [name for name in steps[0] if name != "seconds"]
    return {name: [_short(step.get(name)) for step in steps] for name in names}


@functools.cache
def healthy(settings: str) -> Curves:
    """The right run with these settings (JSON)."""
    return run(json.loads(settings), None)


def _short(x: float | None) -> float | None:
    return None if x is None or not math.isfinite(x) else float(f"{x:.{DIGITS}g}")


def main() -> None:
    """Make all runs, and write the file."""
    exhibits = []
    for number, bug in enumerate(museum.EXHIBITS, start=1):
        settings = dict(bug.settings)
        exhibits.append(
            {
                "exhibit": number,
                "config": as_dict(PPOConfig(iterations=ITERATIONS, **settings)),
                "settings": settings,
                "healthy": healthy(json.dumps(settings, sort_keys=True)),
                "broken": run(settings, bug.name),
            }
        )
        print(number, bug.name)  # noqa: T201
    made = {"made_with": environment(pick_device("cpu")), "exhibits": exhibits}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    # one line for each curve, so that a difference can be read
    text = json.dumps(made, ensure_ascii=False, indent=1)
    FILE.write_text(_one_line_lists(text) + "\n", encoding="utf-8")


def _one_line_lists(text: str) -> str:
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if inside:
            lines[-1] += line.strip() + (" " if line.endswith(",") else "")
        else:
            lines.append(line)
        if line.endswith("["):
            inside = '"exhibits"' not in line
        elif line.strip() in ("]", "],"):
            inside = False
    return "\n".join(lines)


if __name__ == "__main__":
    main()
