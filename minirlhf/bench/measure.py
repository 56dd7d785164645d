"""Our PPO iteration, the floor and a peer, timed in turn in one process, on the same work.

All do exactly the same number of tokens: the end of text is a token that the model has no output
for, so every response runs to its full length. Ours and the floor do the very same tokens.
"""

import datetime
from typing import Any

import torch

from minirlhf.backbone import autocast, pick_device
from minirlhf.bench import machine
from minirlhf.bench.compare import Seconds, compare, middle
from minirlhf.bench.floor import Floor
from minirlhf.bench.limits import kernels_per_step, launch_share, machine_limits
from minirlhf.bench.models import CAFE, new_trainer
from minirlhf.bench.peak import Work, peak_alone
from minirlhf.bench.peer_trl import TRLPeer
from minirlhf.bench.stopwatch import Stopwatch
from minirlhf.bench.trl_setup import check_name, load_trl
from minirlhf.bench.turns import run_floor, run_ours, watch_parts
from minirlhf.bench.work import decode_bytes, shares, sizes_of, train_flops
from minirlhf.config import PPOConfig
from minirlhf.data import pad_prompts
from minirlhf.ppo_trainer import PPOTrainer

WARM_UP = 2  # iterations of each before the clock counts
SETTINGS = ("batch_size", "minibatch_size", "ppo_epochs", "precision", "seed")


def measure(
    config: PPOConfig,
    *,
    model: str = CAFE,
    peer: str | None = None,
    prompt_tokens: int = 7,
    runs: int = 9,
    device: str | None = None,
) -> dict[str, Any]:
    """Time our iteration, the floor and a peer.

    Args:
        config: sizes, epochs, precision and seed are read.
        model: a shape's name, a folder or a name on the Hub; see `minirlhf.bench.models`.
        peer: one of PEERS, or None.
        prompt_tokens: longest prompt; lengths run from half of it to all of it.
        runs: timed iterations of each; medians are reported.
        device: None = the GPU when there is one.

    Returns:
        Plain JSON values: `ratio_to_floor` and `ratio_to_trl` (our seconds over theirs; below 1
        we are faster), the phases of each, tokens per second, shares of the machine's limits,
        memory, and what all this was measured on.

    Raises:
        ValueError: a size is not positive, prompt and response exceed the model's context, there
            is no such model, or the peer is not installed.
    """
    for name, size in {"prompt_tokens": prompt_tokens, "runs": runs}.items():
        if size < 1:
            raise ValueError(f"{name} must be a whole number ≥ 1, got {size}")
    if peer is not None:
        check_name(peer)
        load_trl()  # says so before the work if it is not there
    where = pick_device(device)
    found: dict[str, Any] = {"load": machine.load()}
    found["memory_before_mib"] = machine.peak_memory_mib(where)
    if peer is not None:  # before this process holds any model
        work = Work(config, model, prompt_tokens, str(where))
        found["memory_alone_mib"] = {
            program: peak_alone(program, work) for program in ("ours", "floor", peer)
        }
    trainer = new_trainer(config, prompt_tokens, where, model)
    rival = None if peer is None else TRLPeer(trainer, peer, WARM_UP + runs)
    floor = Floor(trainer)  # copies the weights before ours moves them
    seconds, more = take_turns(trainer, floor, rival, runs)
    return {
        **compare(seconds, more["tokens"]),
        **found,
        **more,
        **against_limits(trainer, seconds),
        **({} if rival is None else rival.describe()),
        "load_after": machine.load(),
        "date": datetime.date.today().isoformat(),
        "model": model,
        "runs": runs,
        "prompt_tokens": prompt_tokens,
        "response_tokens": config.max_response_tokens,
        **{name: getattr(config, name) for name in SETTINGS},
        **machine.describe(where),
    }


def take_turns(
    trainer: PPOTrainer, floor: Floor, rival: TRLPeer | None, runs: int
) -> tuple[Seconds, dict[str, Any]]:
    """Warm all up, then run them one after the other, again and again.

    Returns:
        Seconds of each run of "ours", "floor" and "trl", and what the warm-up showed.
    """
    device = trainer.actor.device
    watch = Stopwatch(device)
    watch_parts(trainer, watch)
    our_tokens = [run_ours(trainer, watch)[0] for _ in range(WARM_UP)]
    memory = machine.peak_memory_mib(device)
    floor_tokens = [run_floor(floor, trainer, step, watch)[0] for step in range(WARM_UP)]
    seconds: Seconds = {"ours": [], "floor": []}
    skipped = 0

    def turn(iteration: int) -> None:
        """Ours and the floor once, after an iteration of the peer's that counts."""
        nonlocal skipped
        if iteration < (0 if rival is None else WARM_UP):
            return
        if rival is not None and device.type == "cuda":
            # TRL has emptied the allocator's cache, for others too: get the memory back untimed
            run_ours(trainer, watch)
            skipped += 1
        seconds["ours"].append(run_ours(trainer, watch)[1])
        step = WARM_UP + skipped + len(seconds["floor"])
        seconds["floor"].append(run_floor(floor, trainer, step, watch)[1])

    if rival is None:
        for iteration in range(runs):
            turn(iteration)
    else:
        seconds["trl"] = rival.run(turn)[WARM_UP:]
    return seconds, {
        "tokens_equal": float((our_tokens[0] == floor_tokens[0]).double().mean()),
        "tokens": our_tokens[0].numel(),
        "peak_memory_mib": memory,
        "floor_decoding": floor.decoding,
    }


def against_limits(trainer: PPOTrainer, seconds: Seconds) -> dict[str, Any]:
    """What this machine can do, and how much of that each program uses.

    Args:
        trainer: ours.
        seconds: of every run, by program.
    """
    config, device, model = trainer.config, trainer.actor.device, trainer.actor.model
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    limits, sizes = machine_limits(device, dtype), sizes_of(model)
    ids = trainer.prompt_ids
    lengths, response = [len(row) for row in ids], config.max_response_tokens
    bytes_read = decode_bytes(sizes, lengths, response, dtype.itemsize)
    flops = train_flops(sizes, lengths, response, config.ppo_epochs)
    medians = {name: middle(runs) for name, runs in seconds.items()}
    found: dict[str, Any] = {
        "limits": limits,
        "work": {
            "parameters": sum(p.numel() for p in model.parameters()),
            "bytes_read_writing": bytes_read,
            "flops_learning": flops,
        },
        "of_limits": {
            name: shares(runs, bytes_read=bytes_read, flops=flops, limits=limits)
            for name, runs in medians.items()
        },
    }
    if device.type == "cuda":
        prompts = pad_prompts(ids, trainer.actor.filler).to(device)

        def generate(tokens: int) -> None:
            with autocast(device, config.precision):
                trainer.actor.generate(
                    prompts, max_response_tokens=tokens, temperature=config.temperature
                )

        kernels = kernels_per_step(generate)
        step = medians["ours"]["generate"] / response
        found["kernels_per_decode_step"] = kernels.count
        found["launch_share"] = launch_share(kernels, step)
    return found
