"""Our PPO iteration and the floor, timed in turn in one process, on the same work.

Both do exactly the same tokens: the end of text is a token that the model has no output for, so
every response runs to its full length.
"""

from statistics import median
from typing import Any

import torch
from torch import Tensor

from minirlhf.backbone import pick_device
from minirlhf.bench import machine
from minirlhf.bench.floor import Floor
from minirlhf.bench.stopwatch import Stopwatch
from minirlhf.config import PPOConfig
from minirlhf.critic import Critic
from minirlhf.data import batch_rows, encode_prompts, pad_prompts
from minirlhf.noise import SAMPLING, uniform_noise
from minirlhf.ppo_trainer import PPOTrainer
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel
from minirlhf.worlds.cafe import VOCABULARY, recipe

PHASES = ("generate", "score", "train", "other", "total")
WARM_UP = 2  # iterations of each before the clock counts
NEVER_DRAWN = "<never drawn>"  # the end of text here
SETTINGS = ("batch_size", "minibatch_size", "ppo_epochs", "precision", "seed")

Run = tuple[Tensor, dict[str, float]]  # the tokens (B, R), and seconds by phase


def measure(
    config: PPOConfig, *, prompt_tokens: int = 7, runs: int = 9, device: str | None = None
) -> dict[str, Any]:
    """Time our iteration and the floor on the café's shape.

    Args:
        config: sizes, epochs, precision and seed are read.
        prompt_tokens: longest prompt; lengths run from half of it to all of it.
        runs: timed iterations of each; medians are reported.
        device: None = the GPU when there is one.

    Returns:
        Plain JSON values: `ratio_to_floor` (ours over the floor's seconds), the phases of both,
        tokens per second, memory, and what all this was measured on.

    Raises:
        ValueError: a size is not positive, or prompt and response exceed the model's context.
    """
    for name, size in {"prompt_tokens": prompt_tokens, "runs": runs}.items():
        if size < 1:
            raise ValueError(f"{name} must be a whole number ≥ 1, got {size}")
    where = pick_device(device)
    before = {"load": machine.load(), "memory_before_mib": machine.peak_memory_mib(where)}
    trainer = new_trainer(config, prompt_tokens, where)
    floor = Floor(trainer)  # copies the weights before ours moves them
    watch = Stopwatch(where)
    watch_parts(trainer, watch)
    our_tokens = [run_ours(trainer, watch)[0] for _ in range(WARM_UP)]
    memory = machine.peak_memory_mib(where)
    floor_tokens = [run_floor(floor, trainer, step, watch)[0] for step in range(WARM_UP)]
    pairs = [
        (run_ours(trainer, watch)[1], run_floor(floor, trainer, WARM_UP + i, watch)[1])
        for i in range(runs)
    ]
    result = compare([ours for ours, _ in pairs], [least for _, least in pairs])
    return {
        **result,
        "tokens_per_second": our_tokens[0].numel() / result["seconds"]["total"],
        "floor_tokens_per_second": our_tokens[0].numel() / result["floor_seconds"]["total"],
        "tokens_equal": float((our_tokens[0] == floor_tokens[0]).double().mean()),
        "peak_memory_mib": memory,
        **before,
        "runs": runs,
        "prompt_tokens": prompt_tokens,
        "response_tokens": config.max_response_tokens,
        **{name: getattr(config, name) for name in SETTINGS},
        **machine.describe(where),
    }


def new_trainer(config: PPOConfig, prompt_tokens: int, device: torch.device) -> PPOTrainer:
    """The four roles in the café's shape with random weights; no response of theirs ever ends."""
    actor = recipe.new_actor(seed=config.seed, device=device)
    # the model has no output for this new token, so it is never sampled
    actor.tokenizer.add_special_tokens({"eos_token": NEVER_DRAWN})
    reward_model = RewardModel.from_actor(actor, seed=config.seed)
    words = VOCABULARY[3:]  # without <pad>, <eos> and <unk>
    shortest = (prompt_tokens + 1) // 2
    lengths = [prompt_tokens - i % (prompt_tokens - shortest + 1) for i in range(config.batch_size)]
    prompts = [
        " ".join(words[(7 * row + i) % len(words)] for i in range(length))
        for row, length in enumerate(lengths)
    ]
    return PPOTrainer(
        actor,
        Reference.from_actor(actor),
        Critic.from_reward_model(reward_model),
        reward_model,
        prompts,
        config,
    )


def watch_parts(trainer: PPOTrainer, watch: Stopwatch) -> None:
    """Take the times of generation, of the whole rollout and of the update from now on."""
    for owner, name in ((trainer.actor, "generate"), (trainer, "collect"), (trainer, "update")):
        setattr(owner, name, watch.timed(name, getattr(owner, name)))


def run_ours(trainer: PPOTrainer, watch: Stopwatch) -> Run:
    """One iteration of ours, just as a run does it."""
    watch.seconds = {}
    with watch("total"):
        rollout = trainer.train_step().rollout
    assert rollout is not None
    generate, collect, update = (watch.seconds[n] for n in ("generate", "collect", "update"))
    seconds = {
        "generate": generate,
        "score": collect - generate,
        "train": update,
        "other": watch.seconds["total"] - collect - update,
        "total": watch.seconds["total"],
    }
    return rollout.response_ids, seconds


def run_floor(floor: Floor, trainer: PPOTrainer, step: int, watch: Stopwatch) -> Run:
    """One iteration of the floor, on the prompts and the noise of our iteration `step`."""
    config, device = trainer.config, watch.device
    rows = batch_rows(len(trainer.prompts), config.batch_size, seed=config.seed, batch=step)
    ids = encode_prompts(trainer.actor.tokenizer, [trainer.prompts[row] for row in rows])
    prompts = pad_prompts(ids, trainer.actor.filler).to(device)
    steps = config.max_response_tokens
    noise = uniform_noise(config.seed, SAMPLING, step, rows=len(rows), steps=steps).to(device)
    watch.seconds = {}
    with watch("total"):
        tokens = floor.iterate(prompts.prompt_ids, prompts.prompt_mask, noise, step, watch)
    seconds = dict(watch.seconds)
    seconds["other"] = 0.0  # nothing else is unavoidable
    return tokens, seconds


def compare(ours: list[dict[str, float]], floor: list[dict[str, float]]) -> dict[str, Any]:
    """Medians by phase of both, and ours over the floor."""
    medians = [
        {name: median(run[name] for run in runs) for name in PHASES} for runs in (ours, floor)
    ]
    fastest = [min(run["total"] for run in runs) for runs in (ours, floor)]
    ratio = {name: medians[0][name] / medians[1][name] for name in PHASES if name != "other"}
    return {
        "ratio_to_floor": ratio["total"],
        "ratio_of_fastest": fastest[0] / fastest[1],
        "ratio": ratio,
        "seconds": medians[0],
        "floor_seconds": medians[1],
        "runs_seconds": [run["total"] for run in ours],
        "floor_runs_seconds": [run["total"] for run in floor],
    }
