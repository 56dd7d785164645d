"""Settings of the three stages: frozen dataclasses that refuse values which cannot work.

The defaults of the PPO quantities are those of the field (see each field's comment); learning rates
and sizes were measured on the café world and suit models below a million parameters. A model
of 100 M parameters or more wants learning rates of 1e-5 and less.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from minirlhf.kl import KL_ESTIMATORS, KLEstimator

CriticTarget = Literal["td", "gae"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class SFTConfig:
    """Stage 1: supervised fine-tuning on prompt/completion rows."""

    steps: int = 200  # optimiser steps
    batch_size: int = 64  # rows per step
    lr: float = 3e-3  # peak learning rate, AdamW; short warm-up, then cosine to 0
    grad_clip: float = 1.0  # largest gradient norm
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        _check(self, _POSITIVE_INT, "steps", "batch_size")
        _check(self, _SEED, "seed")
        _check(self, _POSITIVE, "lr", "grad_clip")


@dataclass(frozen=True)
class RewardModelConfig:
    """Stage 2: Bradley–Terry on prompt/chosen/rejected rows."""

    steps: int = 120  # optimiser steps
    batch_size: int = 64  # pairs per step
    lr: float = 1e-3  # peak learning rate, AdamW; short warm-up, then cosine to 0
    grad_clip: float = 1.0
    # share of the pairs kept for the accuracy that is reported; it splits rows, so a text that
    # stands in several pairs leaks into it and makes the accuracy look too good
    held_out: float = 0.1
    standardise_samples: int = 512  # SFT samples over which scores get mean 0 and std 1
    max_response_tokens: int = 24  # of those samples
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        _check(self, _POSITIVE_INT, "steps", "batch_size", "standardise_samples")
        _check(self, _POSITIVE_INT, "max_response_tokens")
        _check(self, _POSITIVE, "lr", "grad_clip")
        _check(self, _OPEN_UNIT, "held_out")
        _check(self, _SEED, "seed")


@dataclass(frozen=True)
class PPOConfig:
    """Stage 3: the Actor and the Critic learn from the Actor's own samples."""

    iterations: int = 30  # rollout + update, each
    batch_size: int = 64  # responses per rollout
    minibatch_size: int = 32  # responses per optimiser step
    microbatch_size: int | None = None  # responses per forward pass; None = the whole minibatch
    ppo_epochs: int = 2  # passes over each rollout
    max_response_tokens: int = 24  # tokens, EOS included
    actor_lr: float = 5e-4  # AdamW (0.9, 0.95), no weight decay
    critic_lr: float = 5e-4
    grad_clip: float = 1.0
    kl_coef: float = 0.05  # β, reward units per nat
    kl_estimator: KLEstimator = "k1"
    kl_target: float | None = None  # nats per response; set = β adapts (Ziegler et al. 2019)
    kl_horizon: int = 10_000  # responses over which an adapting β may move by about 20 %
    critic_target: CriticTarget = "td"  # "td": R_t + γV_{t+1}; "gae": Â_t + V_t
    gamma: float = 1.0  # γ
    lam: float = 0.95  # λ
    clip_range: float = 0.2  # ε
    value_clip_range: float | None = 0.2  # ε_v, reward units; None = no clip
    score_clip: float | None = 5.0  # reward units
    missing_eos_penalty: float = 1.0  # subtracted from the score of a response that was cut
    whiten_advantages: bool = True  # once per rollout
    target_kl: float | None = None  # nats per token; above it the update stops, step skipped
    temperature: float = 1.0  # of sampling, and of every log-prob
    precision: Precision = "float32"  # "bfloat16": autocast; log-probs and losses stay float32
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        _check(self, _POSITIVE_INT, "iterations", "batch_size", "minibatch_size", "ppo_epochs")
        _check(self, _POSITIVE_INT, "max_response_tokens", "kl_horizon")
        _check(self, _POSITIVE, "actor_lr", "critic_lr", "grad_clip", "clip_range", "temperature")
        _check(self, _NOT_NEGATIVE, "kl_coef", "missing_eos_penalty")
        _check(self, _UNIT, "gamma", "lam")
        _check(self, _SEED, "seed")
        _check(self, _BOOL, "whiten_advantages")
        _check(self, _POSITIVE_INT, "microbatch_size", optional=True)
        _check(self, _POSITIVE, "kl_target", "value_clip_range", optional=True)
        _check(self, _POSITIVE, "score_clip", "target_kl", optional=True)
        _check_choice("kl_estimator", self.kl_estimator, KL_ESTIMATORS)
        _check_choice("critic_target", self.critic_target, ("td", "gae"))
        _check_choice("precision", self.precision, ("float32", "bfloat16"))
        if self.minibatch_size > self.batch_size:
            raise ValueError(
                f"minibatch_size {self.minibatch_size} is larger than batch_size {self.batch_size}"
            )


AnyConfig = SFTConfig | RewardModelConfig | PPOConfig


def as_dict(config: AnyConfig) -> dict[str, Any]:
    """The settings as plain JSON values."""
    return asdict(config)


def _is_number(x: object) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < float("inf")


Rule = tuple[str, Callable[[Any], bool]]
_POSITIVE_INT: Rule = (
    "a whole number ≥ 1",
    lambda x: isinstance(x, int) and not isinstance(x, bool) and x >= 1,
)
_SEED: Rule = (
    "a whole number of at most 64 bits",
    lambda x: isinstance(x, int) and not isinstance(x, bool) and -(2**63) <= x < 2**63,
)
_BOOL: Rule = ("True or False", lambda x: isinstance(x, bool))
_POSITIVE: Rule = ("a finite number > 0", lambda x: _is_number(x) and x > 0)
_NOT_NEGATIVE: Rule = ("a finite number ≥ 0", lambda x: _is_number(x) and x >= 0)
_UNIT: Rule = ("a number in [0, 1]", lambda x: _is_number(x) and 0 <= x <= 1)
_OPEN_UNIT: Rule = ("a number between 0 and 1", lambda x: _is_number(x) and 0 < x < 1)


def _check(config: AnyConfig, rule: Rule, *names: str, optional: bool = False) -> None:
    wanted, holds = rule
    for name in names:
        value = getattr(config, name)
        if not (optional and value is None) and not holds(value):
            raise ValueError(f"{name} must be {wanted}{' or None' * optional}, got {value!r}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
