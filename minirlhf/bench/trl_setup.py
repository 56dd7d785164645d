"""How TRL is set up as `minirlhf bench`'s peer: found, given our sizes, kept quiet."""

import contextlib
import importlib
import io
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from minirlhf.loading import quiet
from minirlhf.ppo_trainer import PPOTrainer

PEERS = ("trl", "trl-bf16")
NEVER_PADS = "<never a token>"  # the padding: no response may hold it


def load_trl() -> Any:
    """The module with TRL's PPO.

    Raises:
        ValueError: TRL is not installed, or it is a release without PPO.
    """
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    try:
        trl = importlib.import_module("trl")
    except ImportError:
        raise ValueError(
            "--peer trl compares with TRL, which is not installed: pip install 'minirlhf[peer]'"
        ) from None
    try:
        ppo = importlib.import_module("trl.experimental.ppo")
        _ = ppo.PPOTrainer, ppo.PPOConfig
    except (ImportError, AttributeError):
        raise ValueError(
            f"TRL {trl.__version__} has no trl.experimental.ppo.PPOTrainer; wanted a release that "
            "has it, such as 1.12: pip install 'minirlhf[peer]'"
        ) from None
    return ppo


def check_name(name: str) -> None:
    """Refuse an unknown peer.

    Raises:
        ValueError: says which there are.
    """
    if name not in PEERS:
        raise ValueError(f"--peer must be one of {', '.join(PEERS)}; got {name!r}")


def check_peer(trainer: PPOTrainer, name: str) -> None:
    """Refuse what TRL cannot do in the same way.

    Raises:
        ValueError: says what.
    """
    config = trainer.config
    check_name(name)
    if name == "trl-bf16" and config.precision != "bfloat16":
        raise ValueError("--peer trl-bf16 wants --precision bfloat16, or ours does other work")
    if config.batch_size % config.minibatch_size:
        raise ValueError(
            f"TRL wants minibatches of one size: batch_size {config.batch_size} is no multiple of "
            f"minibatch_size {config.minibatch_size}"
        )
    if trainer.actor.device.type not in ("cpu", "cuda") or trainer.actor.device.index:
        raise ValueError(f"TRL runs on cpu or the first GPU here, not on {trainer.actor.device}")


def settings(ppo: Any, trainer: PPOTrainer, iterations: int, folder: str) -> Any:
    """TRL's configuration for our sizes."""
    config = trainer.config
    return ppo.PPOConfig(
        output_dir=folder,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=1,  # more would make minibatches one step
        num_mini_batches=config.batch_size // config.minibatch_size,
        num_ppo_epochs=config.ppo_epochs,
        total_episodes=iterations * config.batch_size,
        local_rollout_forward_batch_size=config.batch_size,
        response_length=config.max_response_tokens,
        stop_token=None,
        missing_eos_penalty=config.missing_eos_penalty,
        temperature=config.temperature,
        kl_coef=config.kl_coef,
        gamma=config.gamma,
        lam=config.lam,
        cliprange=config.clip_range,
        cliprange_value=config.value_clip_range or 1e9,
        learning_rate=config.actor_lr,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        num_sample_generations=0,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        bf16=False,  # nothing reads it; accelerate is told in `fresh_accelerator`
        gradient_checkpointing=False,
        use_cpu=trainer.actor.device.type == "cpu",
        seed=config.seed,
    )


@contextlib.contextmanager
def fresh_accelerator(device: torch.device, autocast: bool) -> Iterator[None]:
    """Tell accelerate what `accelerate launch` would, for an Accelerator that is made inside."""
    state = importlib.import_module("accelerate.state").AcceleratorState
    wanted = {
        "ACCELERATE_MIXED_PRECISION": "bf16" if autocast else "no",
        "ACCELERATE_USE_CPU": str(device.type == "cpu").lower(),
    }
    before = {name: os.environ.get(name) for name in wanted}
    state._reset_state(reset_partial_state=True)  # an earlier one's settings would win
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """No output and no warning; the global generators as they were afterwards."""
    with (
        quiet(),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        torch.random.fork_rng(),
    ):
        warnings.simplefilter("ignore")
        yield
