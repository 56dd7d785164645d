"""Everything that is asked of a GPU, in one command; prints it and writes it down.

    python tests/gpu/run_gpu.py --json gpu.json

1. `minirlhf bench` in the shape of Qwen2.5-0.5B (four models, random weights), batch 64, prompts of
   up to 128 tokens, responses of 256, bfloat16, against TRL's PPO: as accelerate runs it, and with
   all its weights in bfloat16; the faster of the two counts.
2. `minirlhf demo`, a whole PPO run of the café, on the GPU and on the CPU.

The goals are 3 × TRL's speed, 25 % of the memory's bandwidth while writing, 40 % of the matrix rate
while learning, a gold reward above 2 and that of the CPU within 0.3. Exit code 1: one was missed.

    python tests/gpu/run_gpu.py --dry-run

runs all of it at tiny sizes on any machine, in about a minute, to see that it works; its goals mean
nothing. Needs the extra `peer`. About 80 GB of GPU memory: three programs hold four models each.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import Qwen2Config

from minirlhf.backbone import pick_device
from minirlhf.bench.models import random_actor
from minirlhf.cli import app

SPEED, BANDWIDTH, MATRIX_RATE, GOLD, GOLD_NEAR = 3.0, 0.25, 0.40, 2.0, 0.3
PEERS = ("trl", "trl-bf16")


@dataclass(frozen=True)
class Effort:
    """How large the work is."""

    bench: str  # options of `minirlhf bench`
    demo: str  # options of `minirlhf demo`


FULL = Effort(
    bench="--batch-size 64 --minibatch-size 16 --prompt-tokens 128 --response-tokens 256 --runs 5",
    demo="",
)
TINY = Effort(
    bench="--batch-size 4 --minibatch-size 2 --prompt-tokens 6 --response-tokens 4 --runs 1 "
    "--ppo-epochs 1",
    demo="--iterations 1",
)


def run(model: str, device: str, effort: Effort, folder: Path) -> dict[str, Any]:
    """Run the commands as a user types them.

    Args:
        model: shape or folder for the bench.
        device: the one that is judged; the demo also runs on the CPU.
        effort: sizes.
        folder: for what the commands write.

    Returns:
        `commands`, the bench's numbers for each of PEERS, and the demo's for each device.
    """
    found: dict[str, Any] = {"commands": [], "bench": {}, "demo": {}}
    options = f"--model {model} --device {device} --precision bfloat16 {effort.bench}"
    for peer in PEERS:
        found["bench"][peer] = call(f"bench {options} --peer {peer}", folder, found["commands"])
    for where in dict.fromkeys((device, "cpu")):
        command = f"demo --device {where} {effort.demo}"
        found["demo"][where] = call(command, folder, found["commands"])
    return found


def call(command: str, folder: Path, said: list[str]) -> dict[str, Any]:
    """Run one command; what it writes as JSON."""
    said.append("minirlhf " + command.strip())
    file = folder / "result.json"
    if app([*command.split(), "--json", str(file)], standalone_mode=False):
        raise RuntimeError(f"minirlhf {command} failed; what it said is above")
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


def goals(found: dict[str, Any], device: str) -> list[dict[str, Any]]:
    """What is wanted, what came, and whether that is enough.

    Args:
        found: see `run`.
        device: the one that is judged.
    """
    ours = found["bench"]["trl"]["of_limits"]["ours"]
    # against the faster of TRL's two ways
    speed = min(1.0 / bench["ratio_to_trl"] for bench in found["bench"].values())
    gold, on_cpu = (found["demo"][where]["gold_after"] for where in (device, "cpu"))
    rows = (
        ("times TRL's speed, at least", SPEED, speed, speed >= SPEED),
        (
            "share of the bandwidth, writing, at least",
            BANDWIDTH,
            share := ours["decode_of_bandwidth"],
            share >= BANDWIDTH,
        ),
        (
            "share of the matrix rate, learning, at least",
            MATRIX_RATE,
            share := ours["train_of_matrix_rate"],
            share >= MATRIX_RATE,
        ),
        ("gold reward of the café, above", GOLD, gold, gold > GOLD),
        (
            "and its distance from the CPU's, at most",
            GOLD_NEAR,
            far := abs(gold - on_cpu),
            far <= GOLD_NEAR,
        ),
    )
    return [
        {"goal": goal, "wanted": wanted, "found": value, "met": bool(met)}
        for goal, wanted, value, met in rows
    ]


def report(judged: list[dict[str, Any]], *, dry: bool) -> Table:
    """The goals as a table."""
    table = Table(title="Goals" + (" (a dry run: they mean nothing)" if dry else ""))
    for column in ("", "wanted", "found", ""):
        table.add_column(column)
    for one in judged:
        verdict = "met" if one["met"] else "NOT MET"
        table.add_row(one["goal"], f"{one['wanted']:.2f}", f"{one['found']:.2f}", verdict)
    return table


def save_tiny(folder: Path) -> str:
    """A Qwen2 of 30 thousand parameters."""
    config = Qwen2Config(
        vocab_size=101,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    random_actor(config, seed=0, device=torch.device("cpu")).save(folder)
    return str(folder)


def main(arguments: list[str] | None = None) -> int:
    """Run everything; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write what was measured here")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes, on any machine")
    options = parser.parse_args(arguments)
    device, dry = pick_device().type, options.dry_run
    if device != "cuda" and not dry:
        parser.error("there is no GPU here; --dry-run tries the script without one")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = save_tiny(folder / "qwen2") if dry else "qwen2.5-0.5b"
        found = run(model, device, TINY if dry else FULL, folder)
    judged = goals(found, device)
    Console().print(report(judged, dry=dry))
    if options.json:
        result = {"date": date.today().isoformat(), "dry_run": dry, "goals": judged, **found}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if dry or all(one["met"] for one in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
