"""All three stages on a real pretrained model and real text, through the command line.

    MINIRLHF_REAL=FOLDER python tests/real/run_real.py [--effort short] [--json FILE]

FOLDER holds `models/stories260K`, a Llama of 260 thousand parameters that tells children's stories,
and `data/movie-reviews.{pos,neg}.txt`. The model learns to write short movie reviews, a reward
model learns to prefer positive ones, and PPO makes the reviews kinder. Everything is measured on
sentences that no stage has seen. PPO runs twice from the same stages 1 and 2: on all weights, and
with LoRA, where the Reference reads with the Actor's weights and the Critic with the Reward
model's. The exit code is 1 when a seed misses a goal, or when LoRA misses the verdict of
`results.verdict` over all seeds.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from measures import measure
from results import ACTORS, conditions, goals, report, together, without_samples
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
    lora_rank: int  # of Actor and Critic, in the second run of PPO
    # with rank 16, 4 × actor_lr raises the KL about as fast as all weights (rank 8 wants 6 ×, at
    # 10 × and more responses shrink to 4 words and fewer; rank 32 goes too far with 4 ×)
    lora_actor_lr: float
    lora_critic_lr: float
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
    lora_rank=16,
    lora_actor_lr=1.2e-3,
    lora_critic_lr=3e-3,
    responses=256,
    loss_fall=2.0,
    accuracy=0.6,
    score_rise=0.3,
)
HALF = replace(
    FULL,
    sft_steps=60,
    reward_steps=40,
    ppo_iterations=8,
    actor_lr=4e-4,
    lora_actor_lr=1.6e-3,
    loss_fall=1.0,
    accuracy=0.55,
)
SHORT = Effort(
    sft_steps=50,
    reward_steps=40,
    ppo_iterations=8,
    ppo_batch=32,
    actor_lr=5e-4,
    lora_rank=16,
    lora_actor_lr=2e-3,
    lora_critic_lr=3e-3,
    responses=128,
    loss_fall=1.0,
    accuracy=0.55,
    score_rise=0.1,
)
EFFORTS = {"full": FULL, "half": HALF, "short": SHORT}


def run(model: Path, rows: Reviews, folder: Path, effort: Effort, seed: int) -> dict[str, Any]:
    """Train in a folder, then measure; see `measure`, with `seconds` and `goals` added."""
    seconds = train(model, rows, folder, effort, seed)
    started = time.perf_counter()
    found = measure(
        model,
        folder,
        rows,
        actors=ACTORS,
        responses=effort.responses,
        max_response_tokens=MAX_RESPONSE_TOKENS,
    )
    seconds["measure"] = round(time.perf_counter() - started, 1)
    return {"seed": seed, **found, "seconds": seconds, "goals": goals(found, effort)}


def train(model: Path, rows: Reviews, folder: Path, effort: Effort, seed: int) -> dict[str, float]:
    """The commands, as a user types them; gives the seconds of each.

    Args:
        model: folder of the pretrained model.
        rows: written into the folder as JSONL.
        folder: also gets the runs `sft`, `reward`, `ppo` and `ppo-lora`.
        effort: how long.
        seed: of every stage.
    """
    rows.write(folder)
    sft, reward = folder / "sft/actor", folder / "reward/reward_model"
    longest = f"--max-response-tokens {MAX_RESPONSE_TOKENS}"
    ppo = (
        f"--iterations {effort.ppo_iterations} --batch-size {effort.ppo_batch} {longest} "
        "--critic-target gae --kl-coef 0.2"
    )
    commands = {
        "sft": f"--steps {effort.sft_steps} --batch-size 32 --lr 3e-3",
        "reward": f"--steps {effort.reward_steps} --batch-size 32 --lr 1e-3 {longest}",
        "ppo": f"{ppo} --actor-lr {effort.actor_lr} --critic-lr 1e-3",
        "ppo-lora": f"{ppo} --lora-rank {effort.lora_rank} --actor-lr {effort.lora_actor_lr} "
        f"--critic-lr {effort.lora_critic_lr}",
    }
    sources = {
        "sft": {"model": model, "data": folder / "sft.jsonl"},
        "reward": {"model": sft, "data": folder / "pairs.jsonl"},
    }
    prompts = {"model": sft, "reward": reward, "data": folder / "prompts.jsonl"}
    sources |= dict.fromkeys(ACTORS, prompts)
    seconds = {}
    for stage, options in commands.items():
        started = time.perf_counter()
        words = [
            stage.partition("-")[0],
            *options.split(),
            "--seed",
            str(seed),
            "--save-every",
            "100",
            *(["--resume"] if (folder / stage).exists() else []),  # trains no step of it again
        ]
        words.append("--keep-duplicates")  # some openings of sentences come more than once
        for name, path in (sources[stage] | {"out": folder / stage}).items():
            words += [f"--{name}", str(path)]
        if app(words, standalone_mode=False):
            raise RuntimeError(f"minirlhf {stage} failed; what it said is above")
        seconds[stage] = round(time.perf_counter() - started, 1)
    return seconds


def main() -> int:
    """Run all seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--effort", choices=EFFORTS, default="full")
    parser.add_argument("--json", type=Path, help="also write what was measured here")
    parser.add_argument("--keep", type=Path, help="keep all runs here; what is there is not rerun")
    options = parser.parse_args()
    model, data = real_folders()
    effort = EFFORTS[options.effort]
    found = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as passing:
            folder = (options.keep or Path(passing)) / str(seed)
            folder.mkdir(parents=True, exist_ok=True)
            found.append(run(model, read_reviews(data, seed=seed), folder, effort, seed))
        print(report(found[-1]), flush=True)  # noqa: T201
    summary = together(found)
    print(json.dumps(summary, indent=1), flush=True)  # noqa: T201
    if options.json:
        seeds = [without_samples(one) for one in found]
        whole = {**conditions(options.effort, effort), "together": summary, "seeds": seeds}
        text = json.dumps(whole, indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    reached = all(all(one["goals"].values()) for one in found)
    return 0 if reached and summary["lora_reaches_it"] else 1


if __name__ == "__main__":
    sys.exit(main())
