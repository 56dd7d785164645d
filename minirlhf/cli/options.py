"""Options that several commands share; what each one means is said once, here."""

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from minirlhf.config import OnlineConfig, SFTConfig


def setting(text: str, default: object) -> Any:
    """An option that goes into the settings; left out, it is `default`, or on --resume the run's.

    Args:
        text: what it means.
        default: the settings' own default, only to be shown.
    """
    return typer.Option(help=text, show_default=str(default))


def need(who: str, *packages: str) -> None:
    """Refuse to go on without packages of the extra `course`.

    Args:
        who: begins the error, such as "slides need".
        packages: names to import.

    Raises:
        ValueError: one is missing.
    """
    if any(importlib.util.find_spec(name) is None for name in packages):
        raise ValueError(f"{who} more packages: pip install 'minirlhf[course]'")


def check_is_no_folder(file: Path, option: str = "--out") -> None:
    """Refuse a folder where a file is to be written.

    Raises:
        ValueError: it is one.
    """
    if file.is_dir():
        raise ValueError(f"{option} {file} is a folder; wanted the name of a file")


Model = Annotated[
    str | None, typer.Option(help="The model to start from: a folder, or a name on the Hub.")
]
Out = Annotated[Path, typer.Option(help="Folder of the run: settings, history, checkpoints.")]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with the run in --out; other options may be left out."),
]
Seed = Annotated[int | None, setting("Decides every random choice.", 0)]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, …", show_default="the GPU when there is one")
]
SaveEvery = Annotated[
    int, typer.Option(min=1, help="Steps between checkpoints; a kill loses these at most.")
]
GradientCheckpointing = Annotated[
    bool | None, setting("Compute blocks again in the backward pass: less memory.", False)
]
Track = Annotated[
    str | None, typer.Option(help="Also send metrics to tensorboard, wandb or trackio.")
]
LoraRank = Annotated[
    int | None,
    setting("Rank of LoRA adapters; 0: every weight is trained.", SFTConfig.lora_rank),
]

# data
DATA_HELP = "A file (JSONL, JSON, parquet, CSV), a folder, or a Hub data set, with {}."
Split = Annotated[
    str | None, setting("Of a folder or a Hub data set, such as train_prefs.", "train")
]
MaxRows = Annotated[
    int | None,
    typer.Option(
        min=1, help="Look at no more rows; the rest is not downloaded.", show_default="all"
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="Drop rows of more tokens, prompt and response.",
        show_default="what the model reads",
    ),
]
KeepDuplicates = Annotated[
    bool | None,
    typer.Option(
        "--keep-duplicates",
        help="Keep equal rows, and pairs labelled both ways: several people's labels.",
        show_default="they are dropped",
    ),
]

# stage 3
Reward = Annotated[
    str | None, typer.Option(help="The reward model of stage 2: a folder, or a Hub name.")
]
Data = Annotated[str | None, typer.Option(help=DATA_HELP.format("prompt"))]
Iterations = Annotated[
    int | None, setting("Rollouts, each with its update.", OnlineConfig.iterations)
]
KLCoef = Annotated[float | None, setting("β: what a nat of KL costs.", OnlineConfig.kl_coef)]
BatchSize = Annotated[int | None, setting("Responses per rollout.", OnlineConfig.batch_size)]
MicrobatchSize = Annotated[
    int | None, setting("Responses per forward pass, to save memory.", "the minibatch")
]
MaxResponseTokens = Annotated[
    int | None, setting("Longest response, EOS included.", OnlineConfig.max_response_tokens)
]
Precision = Annotated[
    str | None, setting("float32, or bfloat16 by autocast.", OnlineConfig.precision)
]
Offload = Annotated[
    bool | None,
    setting("Reference and reward model wait in CPU memory.", OnlineConfig.offload),
]
