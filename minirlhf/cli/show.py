"""How the command line shows a run: progress, the four roles, samples side by side."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from minirlhf.batch import StepRecord
    from minirlhf.evaluation import Evaluation
    from minirlhf.ppo_trainer import PPOTrainer
    from minirlhf.trainer import Trainer

console = Console(highlight=False)


def follow(
    trainer: "Trainer",
    title: str,
    metrics: Sequence[str],
    records: "Iterable[StepRecord] | None" = None,
) -> None:
    """Run a trainer to its end behind a progress bar with its main metrics.

    Args:
        trainer: what to run.
        title: of the bar.
        metrics: names of the metrics to show.
        records: the trainer's records when something else drives it (a run folder).
    """
    records = trainer if records is None else records
    if not console.is_terminal:
        _follow_in_lines(records, title, metrics)
        return
    with Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[numbers]}"),
        console=console,
    ) as progress:
        bar = progress.add_task(title, total=trainer.total, completed=trainer.step, numbers="")
        for record in records:
            progress.update(bar, completed=record.step, numbers=_numbers(record, metrics))


def _follow_in_lines(
    records: "Iterable[StepRecord]", title: str, metrics: Sequence[str], lines: int = 20
) -> None:
    """A file or a pipe gets about `lines` plain lines instead of a bar that redraws itself."""
    for record in records:
        if record.step % max(1, record.total // lines) == 0 or record.step == record.total:
            line = f"{title} {record.step}/{record.total}  {_numbers(record, metrics)}"
            console.print(line, markup=False, soft_wrap=True)


def _numbers(record: "StepRecord", metrics: Sequence[str]) -> str:
    return "  ".join(f"{m} {record.metrics[m]:.2f}" for m in metrics if m in record.metrics)


def role_lines(trainer: "PPOTrainer") -> Text:
    """The four models, one line each: which are trained and which are frozen."""
    roles = (trainer.actor, trainer.reference, trainer.critic, trainer.reward_model)
    return Text("\n".join(role.summary() for role in roles))


def side_by_side(
    prompts: Sequence[str], before: "Evaluation", after: "Evaluation", *, rows: int = 6
) -> Table:
    """The same prompts and the same noise, before and after PPO; gold in brackets."""
    table = Table(title="The same prompts, before and after", show_lines=True)
    for name in ("prompt", "SFT", "after PPO"):
        table.add_column(name, overflow="fold")
    for i in range(min(rows, len(prompts))):
        cells = [prompts[i]]
        for one in (before, after):
            gold = f"  [{one.golds[i]:+.1f}]" if one.golds else ""
            cells.append(one.responses[i] + gold)
        table.add_row(*map(as_text, cells))
    return table


def as_text(text: str) -> Text:
    """What a model or a file says: never markup, and control characters are shown, not obeyed."""
    # from U+00A0 on there are none; escape sequences that move the cursor begin with one
    shown = (c if c.isprintable() or c == "\n" or c >= "\xa0" else repr(c)[1:-1] for c in text)
    return Text("".join(shown))
