"""`minirlhf handover`: a PPO run as a job for OpenRLHF or verl, in a folder for a cluster."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minirlhf.cli.four_models import run_sources
from minirlhf.cli.show import console

if TYPE_CHECKING:
    from minirlhf.config import PPOConfig
    from minirlhf.data import Row
    from minirlhf.reward_model import RewardModel

TARGETS = ("openrlhf", "verl")


def handover(
    run: Annotated[Path, typer.Option(help="Folder of a finished run of ppo.")],
    to: Annotated[str, typer.Option(help="openrlhf (0.11.2) or verl (0.9.1).")],
    out: Annotated[Path, typer.Option(help="A new folder: run.sh, prompts, Reward model, notes.")],
    gpus: Annotated[int, typer.Option(min=1, help="GPUs of the one machine.")] = 8,
) -> None:
    """Write the same run for an engine that uses many GPUs: same models, prompts and settings."""
    from minirlhf.atomic import new_folder
    from minirlhf.config import PPOConfig
    from minirlhf.data import PROMPT_COLUMNS, encode_prompts, read_rows
    from minirlhf.handover import Job, command, remarks
    from minirlhf.handover_openrlhf import openrlhf
    from minirlhf.handover_verl import verl
    from minirlhf.reward_model import RewardModel
    from minirlhf.run_folder import RunFolder

    if to not in TARGETS:
        raise ValueError(f"--to must be {' or '.join(TARGETS)}, got {to!r}")
    if out.exists():
        raise ValueError(f"{out} exists already; choose another --out")
    stage, sources = run_sources(run)
    saved = RunFolder(run, resume=True).config() or {}
    if stage != "ppo" or "data" not in saved["sources"]:
        raise ValueError(f"{run} is no run of `minirlhf ppo`; only those can be handed over")
    config = PPOConfig(**saved["settings"])
    reward_model = RewardModel.from_pretrained(sources["reward"], device="cpu")
    rows = read_rows(saved["sources"]["data"], PROMPT_COLUMNS)
    prompts = encode_prompts(reward_model.tokenizer, [row["prompt"] for row in rows])
    job = Job(
        actor=sources["model"],
        reward_model="reward_model",
        prompts="prompts.jsonl",
        out="trained",
        gpus=gpus,
        prompt_tokens=max(map(len, prompts)),
    )
    lines = {"openrlhf": openrlhf, "verl": verl}[to](config, job)
    with new_folder(out) as new:
        save_reward_model(reward_model, new / "reward_model")
        texts = (json.dumps(row, ensure_ascii=False) for row in prompt_rows(rows, config, to))
        (new / "prompts.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
        script = f'set -eu\ncd "$(dirname "$0")"\n{command(to, lines)}'
        (new / "run.sh").write_text(script, encoding="utf-8")
        notes = "".join(f"- {remark}\n" for remark in remarks(lines))
        (new / "NOTES.md").write_text(NOTES.format(to=to, notes=notes), encoding="utf-8")
    console.print(
        f"{out / 'run.sh'}: {len(config.__dict__)} settings in the words of {to}", markup=False
    )
    for remark in remarks(lines):
        console.print(f"  {remark}", markup=False, soft_wrap=True)


NOTES = """# What is different there

`run.sh` starts {to} with the settings, prompts and models of this run. Where its settings mean
something else, or have no counterpart:

{notes}
A path in `run.sh` is that of this computer: change it if the model lies elsewhere on the cluster.
"""


def prompt_rows(rows: "list[Row]", config: "PPOConfig", to: str) -> Iterator[dict[str, Any]]:
    """The prompts of all iterations in their order, a row for each response, as `to` wants them."""
    from minirlhf.data import batch_rows

    for iteration in range(config.iterations):
        for i in batch_rows(len(rows), config.batch_size, seed=config.seed, batch=iteration):
            prompt = rows[i]["prompt"]
            if to == "verl":
                turn = {"role": "user", "content": prompt}
                yield {"prompt": [turn], "data_source": "minirlhf"}
            else:
                yield {"prompt": prompt}


def save_reward_model(reward_model: "RewardModel", folder: Path) -> None:
    """Save it with its shift in the words of OpenRLHF, too: score = (logit − mean) / std."""
    reward_model.model.config.mean = reward_model.score_shift
    reward_model.model.config.std = 1.0
    reward_model.save(folder)
