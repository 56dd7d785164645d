"""Settings of every trainer: frozen dataclasses that refuse values which cannot work.

The defaults of the PPO quantities are those of the field (see each field's comment); learning rates
and sizes were measured on the café world and suit models below a million parameters. A model
of 100 M parameters or more wants learning rates of 1e-5 and less. With LoRA (`lora_rank` > 0) they
want to be several times larger: 4 times for PPO, 10 times for DPO, where rank 8 learns in the café.
That is not always as fast: on real text PPO with 4 times the rate raises score and KL as all
weights do with rank 16, and less in as many iterations with rank 8.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from minirlhf.config_rules import (
    BOOL,
    GROUP_SIZE,
    LORA_RANK,
    NOT_NEGATIVE,
    ONE,
    OPEN_UNIT,
    POSITIVE,
    POSITIVE_INT,
    SEED,
    UNIT,
    check,
    check_choice,
)
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
    gradient_checkpointing: bool = False  # blocks computed again in the backward pass: less memory
    lora_rank: int = 0  # r of LoRA adapters, which want a larger `lr`; 0 = every weight is trained
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, POSITIVE_INT, "steps", "batch_size")
        check(self, BOOL, "gradient_checkpointing")
        check(self, LORA_RANK, "lora_rank")
        check(self, SEED, "seed")
        check(self, POSITIVE, "lr", "grad_clip")


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
    gradient_checkpointing: bool = False  # blocks computed again in the backward pass: less memory
    lora_rank: int = 0  # as in SFTConfig; the head is always trained whole
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, POSITIVE_INT, "steps", "batch_size", "standardise_samples")
        check(self, POSITIVE_INT, "max_response_tokens")
        check(self, LORA_RANK, "lora_rank")
        check(self, POSITIVE, "lr", "grad_clip")
        check(self, OPEN_UNIT, "held_out")
        check(self, BOOL, "gradient_checkpointing")
        check(self, SEED, "seed")


@dataclass(frozen=True)
class OnlineConfig:
    """Stage 3, whatever the algorithm: the Actor learns from its own samples."""

    iterations: int = 30  # rollout + update, each
    batch_size: int = 64  # responses per rollout
    minibatch_size: int | None = None  # responses per optimiser step; None = the whole batch
    microbatch_size: int | None = None  # responses per forward pass; None = the whole minibatch
    max_response_tokens: int = 24  # tokens, EOS included
    actor_lr: float = 5e-4  # AdamW (0.9, 0.95), no weight decay
    grad_clip: float = 1.0
    kl_coef: float = 0.05  # β, reward units per nat
    kl_estimator: KLEstimator = "k1"
    gamma: float = 1.0  # γ
    score_clip: float | None = 5.0  # reward units
    missing_eos_penalty: float = 1.0  # subtracted from the score of a response that was cut
    temperature: float = 1.0  # of sampling, and of every log-prob
    precision: Precision = "float32"  # "bfloat16": autocast; log-probs and losses stay float32
    gradient_checkpointing: bool = False  # blocks computed again in the backward pass: less memory
    offload: bool = False  # Reference and Reward model wait in CPU memory while they do not read
    lora_rank: int = 0  # of Actor and Critic, as in SFTConfig
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, POSITIVE_INT, "iterations", "batch_size", "max_response_tokens")
        check(self, POSITIVE_INT, "minibatch_size", "microbatch_size", optional=True)
        check(self, POSITIVE, "actor_lr", "grad_clip", "temperature")
        check(self, POSITIVE, "score_clip", optional=True)
        check(self, NOT_NEGATIVE, "kl_coef", "missing_eos_penalty")
        check(self, UNIT, "gamma")
        check(self, BOOL, "gradient_checkpointing", "offload")
        check(self, LORA_RANK, "lora_rank")
        check(self, SEED, "seed")
        check_choice("kl_estimator", self.kl_estimator, KL_ESTIMATORS)
        check_choice("precision", self.precision, ("float32", "bfloat16"))
        if (self.minibatch_size or 1) > self.batch_size:
            raise ValueError(
                f"minibatch_size {self.minibatch_size} is larger than batch_size {self.batch_size}"
            )


@dataclass(frozen=True)
class PPOConfig(OnlineConfig):
    """PPO: several clipped steps on each rollout, and a Critic that learns beside the Actor."""

    minibatch_size: int = 32  # responses per optimiser step
    ppo_epochs: int = 2  # passes over each rollout
    critic_lr: float = 5e-4
    kl_target: float | None = None  # nats per response; set = β adapts (Ziegler et al. 2019)
    kl_horizon: int = 10_000  # responses over which an adapting β may move by about 20 %
    critic_target: CriticTarget = "td"  # "td": R_t + γV_{t+1}; "gae": Â_t + V_t
    lam: float = 0.95  # λ
    clip_range: float = 0.2  # ε; for no clip a large number, such as 1e6
    value_clip_range: float | None = 0.2  # ε_v, reward units; None = no clip
    whiten_advantages: bool = True  # once per rollout
    target_kl: float | None = None  # nats per token; above it the update stops, step skipped

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, POSITIVE_INT, "minibatch_size", "ppo_epochs", "kl_horizon")
        check(self, POSITIVE, "critic_lr", "clip_range")
        check(self, POSITIVE, "kl_target", "value_clip_range", "target_kl", optional=True)
        check(self, UNIT, "lam")
        check(self, BOOL, "whiten_advantages")
        check_choice("critic_target", self.critic_target, ("td", "gae"))
        super().__post_init__()


@dataclass(frozen=True)
class ReinforceConfig(OnlineConfig):
    """REINFORCE: one step on each rollout; the baseline is what earlier batches brought."""

    actor_lr: float = 1e-3  # larger than PPO's, which takes four steps on each rollout
    baseline_decay: float = 0.9  # how much of the baseline the next batch leaves as it was

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, UNIT, "baseline_decay")
        super().__post_init__()


@dataclass(frozen=True)
class GroupConfig(OnlineConfig):
    """Algorithms that answer each prompt several times and compare the answers."""

    group_size: int = 4  # responses to each prompt; batch_size is a multiple of it

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, GROUP_SIZE, "group_size")
        check(self, ONE, "gamma")
        super().__post_init__()
        if self.batch_size % self.group_size:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of group_size {self.group_size}; "
                "every prompt of a batch gets that many responses"
            )


@dataclass(frozen=True)
class RLOOConfig(GroupConfig):
    """RLOO: one step on each rollout; the baseline is what the other answers brought."""

    actor_lr: float = 1e-3  # larger than PPO's, which takes four steps on each rollout


@dataclass(frozen=True)
class GRPOConfig(GroupConfig):
    """GRPO: PPO's clipped steps; scores are compared within a group, the KL is in the loss."""

    minibatch_size: int | None = 32  # responses per optimiser step
    actor_lr: float = 2.5e-4
    # β; a score counts in standard deviations of its group here, so a nat costs as many of them
    kl_coef: float = 0.2
    kl_estimator: KLEstimator = "k3"
    group_size: int = 8
    divide_by_std: bool = True  # of the group's scores; False: the mean is subtracted, no more
    clip_range: float = 0.2  # ε; for no clip a large number, such as 1e6
    epochs: int = 2  # passes over each rollout

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, BOOL, "divide_by_std")
        check(self, POSITIVE, "clip_range")
        check(self, POSITIVE_INT, "epochs")
        super().__post_init__()


@dataclass(frozen=True)
class DPOConfig:
    """DPO: the Actor learns from preference pairs at once; nothing is sampled or scored."""

    steps: int = 120  # optimiser steps
    batch_size: int = 64  # pairs per step
    lr: float = 2e-4  # peak learning rate, AdamW; short warm-up, then cosine to 0
    # β: π* ∝ π_ref·exp(r/β), as in stage 3; r is measured by how sure people are of their choices
    # (log-odds of a preference), so its unit is not that of a standardised reward model
    kl_coef: float = 0.3
    grad_clip: float = 1.0
    held_out: float = 0.1  # share of the pairs kept for the accuracy that is reported
    gradient_checkpointing: bool = False  # blocks computed again in the backward pass: less memory
    lora_rank: int = 0  # as in SFTConfig
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, POSITIVE_INT, "steps", "batch_size")
        check(self, LORA_RANK, "lora_rank")
        check(self, POSITIVE, "lr", "kl_coef", "grad_clip")
        check(self, OPEN_UNIT, "held_out")
        check(self, BOOL, "gradient_checkpointing")
        check(self, SEED, "seed")


AnyConfig = SFTConfig | RewardModelConfig | OnlineConfig | DPOConfig


def as_dict(config: AnyConfig) -> dict[str, Any]:
    """The settings as plain JSON values."""
    return asdict(config)
