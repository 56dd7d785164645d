"""A run on disk: how it was made, what happened, and a state from which it can go on.

    runs/ppo/
      config.json          stage, settings, where model and data came from, versions, device
      data_report.json     which rows of the data were dropped, and why
      history.jsonl        one line a step, see `minirlhf.history`
      checkpoints/
        step-000012/       the two newest states, see `minirlhf.checkpoint`
      actor/  critic/      at the end: the trained roles, for `--model runs/ppo/actor`

    run = RunFolder("runs/ppo")                     # resume=True goes on with a run
    for record in run.record(trainer, save_every=1):
        ...

A run that was stopped and resumed ends with the same bytes as one that never stopped, on the same
machine with the same threads and versions; only the metric `seconds` tells them apart.

Of several processes (`minirlhf.processes`) the main one writes, the same files as if it were alone,
so a run may be resumed with more or fewer of them; all read, so all have to see the folder.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from minirlhf.atomic import (
    NEW,
    OLD,
    discard,
    new_folder,
    only_process,
    recover,
    remove,
    sync_file,
    write_text,
)
from minirlhf.backbone import Role
from minirlhf.batch import StepRecord
from minirlhf.checkpoint import load_checkpoint, save_checkpoint
from minirlhf.config import AnyConfig, as_dict
from minirlhf.history import append_record, last_metrics, trim_history
from minirlhf.model_card import model_card
from minirlhf.processes import here
from minirlhf.provenance import environment, rows_sha256, weights_sha256
from minirlhf.resume import check_inputs, check_settings, read_config, warn_of_changes
from minirlhf.trainer import Trainer

KEEP = 2  # checkpoints
CONFIG, HISTORY, CHECKPOINTS, LOCK = "config.json", "history.jsonl", "checkpoints", ".lock"
DATA_REPORT = "data_report.json"


class RunFolder:
    """One folder, one run of one stage.

    Args:
        path: the folder; `record` makes it, so nothing is written before training starts.
        resume: go on with the run that is there.
        sources: where model and data came from; written down as given.
        rows: the data; its hash is written down, and compared on resume.
        data_report: what became of the data's rows, and how they were chosen; written down.

    Raises:
        ValueError: there is a run already, or none to resume, or the folder holds other things.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        resume: bool = False,
        sources: Mapping[str, str] | None = None,
        rows: Iterable[Mapping[str, object]] | None = None,
        data_report: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.resume = Path(path), resume
        self.sources = dict(sources or {})
        self.rows_sha256 = None if rows is None else rows_sha256(rows)
        self._data_report = data_report
        self._check_path()

    def config(self) -> dict[str, Any] | None:
        """What config.json says; None where there is no run.

        Raises:
            ValueError: the file cannot be read.
        """
        return read_config(self.path / CONFIG)

    def checkpoints(self) -> list[Path]:
        """The complete checkpoints, oldest first."""
        return sorted((self.path / CHECKPOINTS).glob("step-*"), key=_step_of)

    def check_settings(self, stage: str, config: AnyConfig) -> None:
        """Refuse to resume with other settings; needs no model, so it can be asked early.

        Raises:
            ValueError: names each setting that differs, then and now.
        """
        saved = self.config()
        if self.resume and saved is not None:
            done = max(map(_step_of, self.checkpoints()), default=0)
            check_settings(saved, stage, config, done=done, where=self.path)

    def record(self, trainer: Trainer, *, save_every: int = 1) -> Iterator[StepRecord]:
        """Train, writing down every step and saving the state; yield the records.

        A step is on disk before its record is yielded, so the consumer may stop at any time. An
        error before the first checkpoint leaves nothing behind.

        Args:
            trainer: as made from the sources; on resume it is put into the saved state first.
            save_every: steps between checkpoints; a kill loses these at most. The last is saved.

        Raises:
            ValueError: settings, weights or data are not those of the run that is resumed, a
                checkpoint is damaged, or another process is training in this folder.
            OSError: the disk is full or not writable; the last checkpoint is intact.
        """
        if save_every < 1:
            raise ValueError(f"save_every must be a whole number ≥ 1, got {save_every}")
        inputs: dict[str, Any] = {}
        if here().is_main:
            self._check_path()
            self.check_settings(trainer.stage, trainer.config)
            inputs = self._inputs(trainer)
        with self._locked() if here().is_main else contextlib.nullcontext():
            self._begin(trainer, inputs)
            for record in trainer:
                if here().is_main:
                    append_record(self.path / HISTORY, record)
                if record.step % save_every == 0 or record.step == record.total:
                    with trainer.gathered():
                        self._save(trainer)
                yield record
            with trainer.gathered():
                self._save_roles(trainer)
            here().wait()  # then every process may count on what is there

    def _begin(self, trainer: Trainer, inputs: dict[str, Any]) -> None:
        """Load the newest checkpoint, if any, and bring the other files in line with it."""
        if here().is_main:
            recover(self.path)
            recover(self.path / CHECKPOINTS)
        here().wait()  # by now all have found the folder as it was, and may read it as it is
        for checkpoint in self.checkpoints()[-1:]:
            load_checkpoint(checkpoint, trainer)
        if here().is_main:
            self._begin_files(trainer, inputs)

    def _begin_files(self, trainer: Trainer, inputs: dict[str, Any]) -> None:
        """Cut the history at the trainer's step, and write config.json."""
        saved = self.config() or {}
        now = environment(next(iter(trainer.roles.values())).device) | {"processes": here().count}
        environments = saved.get("environments", [])
        then = {"processes": 1, **environments[-1]} if environments else now
        last = {name: then.get(name) for name in now}
        warn_of_changes(last, now)
        trim_history(self.path / HISTORY, trainer.step)
        if not environments or now != last:
            environments.append({"from_step": trainer.step, **now})
        config = {
            "stage": trainer.stage,
            "settings": as_dict(trainer.config),
            "sources": self.sources or saved.get("sources", {}),
            **inputs,
            "environments": environments,
        }
        _write_json(self.path / CONFIG, config)
        if self._data_report is not None:
            _write_json(self.path / DATA_REPORT, self._data_report)

    def _save(self, trainer: Trainer) -> None:
        """Save the state, then remove the checkpoints that are no longer needed."""
        if not here().is_main:
            return
        sync_file(self.path / HISTORY)
        save_checkpoint(self.path / CHECKPOINTS / f"step-{trainer.step:06}", trainer)
        for old in self.checkpoints()[:-KEEP]:
            discard(old)

    def _save_roles(self, trainer: Trainer) -> None:
        """Save the trained roles, for whoever uses them next."""
        if here().is_main:
            for name, role in trainer.roles.items():
                with new_folder(self.path / name) as new:
                    role.save(new)
                    card = model_card(name, self.config() or {}, last_metrics(self.path / HISTORY))
                    (new / "README.md").write_text(card, encoding="utf-8")

    def _inputs(self, trainer: Trainer) -> dict[str, Any]:
        """Hashes of data and weights, after comparing them with those of the run to resume."""
        held = {name: role for name, role in vars(trainer).items() if isinstance(role, Role)}
        if trainer.step > 0:  # goes on in the same process: its trained roles have moved
            held = {name: role for name, role in held.items() if name not in trainer.roles}
        inputs = {"rows_sha256": self.rows_sha256, "weights_sha256": weights_sha256(held)}
        saved = self.config() if self.resume else None
        if saved is None:
            return inputs
        check_inputs(saved, inputs, where=self.path)
        return {name: saved.get(name) for name in inputs}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes out; on an error before the first checkpoint leave no trace."""
        is_new = not self.path.exists()
        with only_process(self.path, LOCK):
            try:
                self._check_path()  # again, now that nobody else can begin
                yield
            except (Exception, KeyboardInterrupt):
                if not self.resume and not self.checkpoints():
                    for name in (CONFIG, DATA_REPORT, HISTORY, CHECKPOINTS, LOCK):
                        remove(self.path / name)
                    if is_new:
                        with contextlib.suppress(OSError):
                            self.path.rmdir()
                raise

    def _check_path(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path} is a file; wanted a folder for the run")
        has_run = self.config() is not None
        if self.resume and not has_run:
            raise ValueError(
                f"there is no run in {self.path} to resume; leave out --resume to start one"
            )
        if self.resume:
            return
        if has_run:
            raise ValueError(
                f"there is a run in {self.path} already; add --resume to go on with it, "
                "or choose another --out"
            )
        found = [path.name for path in self.path.iterdir()] if self.path.exists() else []
        if any(name != LOCK and not name.startswith((NEW, OLD)) for name in found):
            raise ValueError(
                f"the folder {self.path} is not empty and holds no run; choose another --out"
            )


def _write_json(target: Path, content: object) -> None:
    write_text(target, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _step_of(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix("step-")
    return int(number) if number.isdecimal() else 0
