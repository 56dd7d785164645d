"""One timed iteration of ours, or of the floor, on the same prompts and noise."""

import time

import torch
from torch import Tensor

from minirlhf.bench.floor import Floor
from minirlhf.bench.stopwatch import Stopwatch
from minirlhf.data import batch_rows, pad_prompts
from minirlhf.noise import SAMPLING, uniform_noise
from minirlhf.ppo_trainer import PPOTrainer

# the tokens (B, R), and seconds by phase; "cpu" is what all threads of the process computed in
# "total", which hardly changes when others use the machine too
Run = tuple[Tensor, dict[str, float]]


def watch_parts(trainer: PPOTrainer, watch: Stopwatch) -> None:
    """Take the times of generation, of the whole rollout and of the update from now on."""
    for owner, name in ((trainer.actor, "generate"), (trainer, "collect"), (trainer, "update")):
        setattr(owner, name, watch.timed(name, getattr(owner, name)))


def run_ours(trainer: PPOTrainer, watch: Stopwatch) -> Run:
    """One iteration of ours, just as a run does it."""
    watch.seconds, cpu = {}, time.process_time()
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
        "cpu": time.process_time() - cpu,
    }
    return rollout.response_ids, seconds


def run_floor(floor: Floor, trainer: PPOTrainer, step: int, watch: Stopwatch) -> Run:
    """One iteration of the floor, on the prompts and the noise of our iteration `step`."""
    config, device = trainer.config, watch.device
    rows = batch_rows(len(trainer.prompts), config.batch_size, seed=config.seed, batch=step)
    ids = [trainer.prompt_ids[row] for row in rows]
    prompts = pad_prompts(ids, trainer.actor.filler).to(device)
    steps = config.max_response_tokens
    noise = uniform_noise(config.seed, SAMPLING, step, rows=len(rows), steps=steps).to(device)
    watch.seconds, cpu = {}, time.process_time()
    with watch("total"):
        tokens = floor.iterate(prompts.prompt_ids, prompts.prompt_mask, noise, step, watch)
    seconds = {**watch.seconds, "cpu": time.process_time() - cpu}
    seconds["other"] = 0.0  # nothing else is unavoidable
    return tokens, seconds


def drop_models(trainer: PPOTrainer) -> None:
    """Give our Actor's and Critic's memory back, where only settings and prompts are wanted.

    The frozen ones stay: a peer or the floor may read the same memory.
    """
    for role in (trainer.actor, trainer.critic):
        role.to(torch.device("meta"))
