"""`minirlhf handover`: a PPO run as a job for OpenRLHF or verl, in a folder for a cluster."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minirlhf.cli.four_models import run_sources
from minirlhf.cli.show import console

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from minirlhf.config import PPOConfig
    from minirlhf.data import TextOrIds
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
    from minirlhf.cli.data import data_options, read, rows_for
    from minirlhf.config import PPOConfig
    from minirlhf.data import PROMPT_COLUMNS, encode_prompts
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
    options, room = data_options(run, resume=True), config.max_response_tokens
    examples = read(saved["sources"]["data"], PROMPT_COLUMNS, options)
    rows = rows_for([reward_model], examples, options, response_room=room).rows
    prompts = encode_prompts(reward_model.tokenizer, [row["prompt"] for row in rows])
    texts = [as_text(row["prompt"], reward_model.tokenizer) for row in rows]
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
        lines_of_text = [json.dumps(row) + "\n" for row in prompt_rows(texts, config, to)]
        (new / "prompts.jsonl").write_text("".join(lines_of_text), encoding="utf-8")
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


def as_text(prompt: "TextOrIds", tokenizer: "PreTrainedTokenizerBase") -> str:
    """A prompt as text; one that came as a chat has its template's tokens written out."""
    return prompt if isinstance(prompt, str) else str(tokenizer.decode(list(prompt)))


def prompt_rows(prompts: list[str], config: "PPOConfig", to: str) -> Iterator[dict[str, Any]]:
    """The prompts of all iterations in their order, a row for each response, as `to` wants them."""
    from minirlhf.data import batch_rows

    for iteration in range(config.iterations):
        for i in batch_rows(len(prompts), config.batch_size, seed=config.seed, batch=iteration):
            if to == "verl":
                turn = {"role": "user", "content": prompts[i]}
                yield {"prompt": [turn], "data_source": "minirlhf"}
            else:
                yield {"prompt": prompts[i]}


def save_reward_model(reward_model: "RewardModel", folder: Path) -> None:
    """Save it with its shift in the words of OpenRLHF, too: score = (logit − mean) / std."""
    reward_model.model.config.mean = reward_model.score_shift
    reward_model.model.config.std = 1.0
    reward_model.save(folder)
