"""Makes recorded runs: watches a trainer's records and keeps what `minirlhf.recording` can hold."""

import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from minirlhf.batch import Rollout, StepRecord
from minirlhf.config import AnyConfig, as_dict
from minirlhf.data import decode_responses
from minirlhf.evaluation import Evaluation, Judge
from minirlhf.provenance import environment
from minirlhf.recording import PER_TOKEN, Recording, Response

PACKAGE = Path(__file__).resolve().parent
CRITIC_ONLY = ("old_values", "td_target", "advantages")  # without one they say nothing new
NOT_RECORDED = {"seconds"}  # no two runs share it; the recording has the sum


@dataclass
class Recorder:
    """Fill it while a run goes on, then ask for `recording`.

    Args:
        name: of the recording; its file is called so.
        about: one line for people.
        tokenizer: of all models.
        judge: gold, where there is one.
        every: responses of the first step and of every so many steps are kept.
        keep: how many responses of such a step.
    """

    name: str
    about: str
    tokenizer: PreTrainedTokenizerBase
    judge: Judge | None = None
    every: int = 5
    keep: int = 4
    rows: list[dict[str, float]] = field(default_factory=list)
    responses: dict[int, list[Response]] = field(default_factory=dict)
    start: dict[str, float] = field(default_factory=dict)
    end: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def watch(self, records: Iterable[StepRecord]) -> None:
        """Let a run go on to its end, and keep what is to be kept of it."""
        for record in records:
            kept = {k: v for k, v in record.metrics.items() if k not in NOT_RECORDED}
            self.rows.append({"step": record.step, **kept})
            number = len(self.rows)
            if record.rollout is not None and (number == 1 or number % self.every == 0):
                self.responses[record.step] = self.of_rollout(record.rollout, record.stage)

    def of_rollout(self, rollout: Rollout, stage: str) -> list[Response]:
        """The first responses of a rollout."""
        rows = torch.arange(min(self.keep, len(rollout.scores)), device=rollout.scores.device)
        some = rollout.select(rows)
        texts = decode_responses(self.tokenizer, some.response_ids, some.response_mask)
        prompts = decode_responses(self.tokenizer, some.prompt_ids, some.prompt_mask)
        names = [n for n in PER_TOKEN if stage == "ppo" or n not in CRITIC_ONLY]
        kept = []
        for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
            ids = some.response_ids[row][some.response_mask[row]].tolist()
            ended = bool(some.ended[row])
            numbers = {n: getattr(some, n)[row, : len(ids)].tolist() for n in names}
            kept.append(
                Response(
                    prompt=prompt,
                    text=text,
                    prompt_ids=some.prompt_ids[row][some.prompt_mask[row]].tolist(),
                    token_ids=ids,
                    tokens=[str(self.tokenizer.decode([i])) for i in ids],
                    ended=ended,
                    score=float(some.scores[row]),
                    gold=None if self.judge is None else self.judge(prompt, text, ended),
                    per_token=numbers,
                )
            )
        return kept

    def recording(
        self,
        config: AnyConfig,
        algorithm: str,
        weights: Mapping[str, str],
        device: torch.device,
    ) -> Recording:
        """What was seen so far.

        Args:
            config: of the run.
            algorithm: its command.
            weights: SHA-256 of the models that it began with (`weights_sha256`).
            device: it ran on.
        """
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        return Recording(
            name=self.name,
            about=self.about,
            algorithm=algorithm,
            config=as_dict(config),
            seed=config.seed,
            commit=commit(),
            made_with=environment(device),
            weights=dict(weights),
            seconds=time.perf_counter() - self.began,
            metrics={name: [row.get(name) for row in self.rows] for name in names},
            responses=self.responses,
            start=self.start,
            end=self.end,
        )


def judged(seen: Evaluation) -> dict[str, float]:
    """An evaluation's means and their standard errors, without its texts."""
    n = len(seen.responses)
    numbers: dict[str, float] = {
        "samples": n,
        "score": seen.score,
        "score_error": seen.score_error,
        "kl": seen.kl,
        "eos_rate": seen.eos_rate,
    }
    if seen.gold is not None:
        spread = sum((g - seen.gold) ** 2 for g in seen.golds) / n
        numbers |= {"gold": seen.gold, "gold_error": (spread / n) ** 0.5}
    return numbers


def commit() -> str | None:
    """The commit of the repository around this package; None without one.

    It ends in "+" where files of the package differ from that commit.
    """
    git: dict[str, Any] = {"cwd": PACKAGE, "capture_output": True, "text": True, "timeout": 20}
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], **git)
        changed = subprocess.run(["git", "status", "--porcelain", "--", "."], **git)
    except (OSError, subprocess.SubprocessError):
        return None
    if found.returncode:
        return None
    return str(found.stdout.strip()) + ("+" if changed.stdout.strip() else "")
