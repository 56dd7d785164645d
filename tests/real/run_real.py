"""All three stages on a real pretrained model and real text, through the command line.

    MINIRLHF_REAL=FOLDER python tests/real/run_real.py [--seeds 0 1 2] [--json FILE]

FOLDER holds `models/stories260K`, a Llama of 260 thousand parameters that tells children's stories,
and `data/movie-reviews.{pos,neg}.txt`. The model learns to write short movie reviews, a reward
model learns to prefer positive ones, and PPO makes the reviews kinder. Everything is measured on
sentences that no stage has seen. The exit code is 1 when a seed misses a goal.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measures import measure
from reviews import Reviews, read_reviews, real_folders

from minirlhf.cli import app

MAX_RESPONSE_TOKENS = 64  # all but a few of the sentences fit


@dataclass(frozen=True)
class Effort:
    """How long the stages train, and what has to come of it."""

    sft_steps: int
    reward_steps: int
    ppo_iterations: int
    ppo_batch: int  # responses per iteration
    actor_lr: float
    responses: int  # to held-out prompts, before and after PPO
    loss_fall: float  # nats per token, at least
    accuracy: float  # on held-out pairs, at least
    score_rise: float  # standard deviations of SFT samples, at least


FULL = Effort(
    sft_steps=250,
    reward_steps=80,
    ppo_iterations=20,
    ppo_batch=64,
    actor_lr=3e-4,
    responses=256,
    loss_fall=2.0,
    accuracy=0.6,
    score_rise=0.3,
)


def run(model: Path, rows: Reviews, folder: Path, effort: Effort, seed: int) -> dict[str, Any]:
    """Train in a folder, then measure; see `measure`, with `seconds` and `goals` added."""
    seconds = train(model, rows, folder, effort, seed)
    started = time.perf_counter()
    found = measure(
        model,
        folder,
        rows,
        responses=effort.responses,
        max_response_tokens=MAX_RESPONSE_TOKENS,
    )
    seconds["measure"] = round(time.perf_counter() - started, 1)
    return {"seed": seed, **found, "seconds": seconds, "goals": goals(found, effort)}


def train(model: Path, rows: Reviews, folder: Path, effort: Effort, seed: int) -> dict[str, float]:
    """The three commands, as a user types them; gives the seconds of each.

    Args:
        model: folder of the pretrained model.
        rows: written into the folder as JSONL.
        folder: also gets the runs `sft`, `reward` and `ppo`.
        effort: how long.
        seed: of every stage.
    """
    rows.write(folder)
    sft, reward = folder / "sft/actor", folder / "reward/reward_model"
    longest = f"--max-response-tokens {MAX_RESPONSE_TOKENS}"
    commands = {
        "sft": f"--steps {effort.sft_steps} --batch-size 32 --lr 3e-3",
        "reward": f"--steps {effort.reward_steps} --batch-size 32 --lr 1e-3 {longest}",
        "ppo": f"--iterations {effort.ppo_iterations} --batch-size {effort.ppo_batch} {longest} "
        f"--critic-target gae --kl-coef 0.2 --actor-lr {effort.actor_lr} --critic-lr 1e-3",
    }
    sources = {
        "sft": {"model": model, "data": folder / "sft.jsonl"},
        "reward": {"model": sft, "data": folder / "pairs.jsonl"},
        "ppo": {"model": sft, "reward": reward, "data": folder / "prompts.jsonl"},
    }
    seconds = {}
    for stage, options in commands.items():
        started = time.perf_counter()
        words = [stage, *options.split(), "--seed", str(seed), "--save-every", "100"]
        words.append("--keep-duplicates")  # some openings of sentences come more than once
        for name, path in (sources[stage] | {"out": folder / stage}).items():
            words += [f"--{name}", str(path)]
        if app(words, standalone_mode=False):
            raise RuntimeError(f"minirlhf {stage} failed; what it said is above")
        seconds[stage] = round(time.perf_counter() - started, 1)
    return seconds


def goals(found: dict[str, Any], effort: Effort) -> dict[str, bool]:
    """What is wanted of every seed, and whether it came."""
    loss_before, loss_after = found["sft_loss"]
    score_before, score_after = found["score"]
    return {
        f"SFT loss falls by {effort.loss_fall} nats": loss_before - loss_after >= effort.loss_fall,
        "at least 500 held-out pairs": found["pairs"] >= 500,
        "accuracy above chance": found["accuracy_interval"][0] > 0.5,
        f"accuracy at least {effort.accuracy}": found["accuracy"] >= effort.accuracy,
        f"score rises by {effort.score_rise}": score_after - score_before >= effort.score_rise,
        "KL between 0 and 12 nats": 0.0 < found["kl"] < 12.0,
        "at least 3 words a response": found["words"][1] >= 3.0,
        "at least 75 % of the responses differ": found["distinct"][1] >= 0.75,
    }


def report(found: dict[str, Any]) -> str:
    """The numbers of one seed, for people."""
    low, high = found["accuracy_interval"]
    lines = [
        f"seed {found['seed']}",
        "  SFT loss, nats per token  {:.3f} → {:.3f}".format(*found["sft_loss"]),
        f"  held-out accuracy         {found['accuracy']:.3f}, 95 % interval {low:.3f} to "
        f"{high:.3f}, {found['pairs']} pairs",
        "  score, standard deviations {:+.2f} → {:+.2f}".format(*found["score"])
        + "  (standard errors {:.2f}, {:.2f})".format(*found["score_error"]),
        f"  KL, nats per response     {found['kl']:.2f}",
        "  ended by itself           {:.2f} → {:.2f}".format(*found["eos_rate"]),
        "  words per response        {:.1f} → {:.1f}".format(*found["words"]),
        "  distinct responses        {:.2f} → {:.2f}".format(*found["distinct"]),
        f"  seconds                   {found['seconds']}",
        *(f"  {'reached' if ok else 'MISSED '}  {goal}" for goal, ok in found["goals"].items()),
        *(f"  {x['prompt']} | {x['sft']}\n    → {x['ppo']}" for x in found["samples"]),
    ]
    return "\n".join(lines)


def main() -> int:
    """Run all seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="also write what was measured here")
    options = parser.parse_args()
    model, data = real_folders()
    found = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            found.append(run(model, read_reviews(data, seed=seed), Path(folder), FULL, seed))
        print(report(found[-1]), flush=True)  # noqa: T201
    if options.json:
        text = json.dumps(found, indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0 if all(all(one["goals"].values()) for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
