"""A recorded run: one small JSON file that says what was run, on what, and what came of it.

    run = load_recording("assets/runs/ppo-td.json")
    run.metrics["gold"], run.end["gold"], run.responses[30][0].text
    rollout = run.rollout(30)  # for the widgets: the responses kept of that step

Numbers keep five digits; null stands for what is not finite. Texts are data: nothing in them is
ever read as HTML or as code. `minirlhf record` makes the files (`minirlhf.recorder`).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minirlhf.atomic import write_text
from minirlhf.batch import Rollout, StepRecord
from minirlhf.data import pad_prompts, pad_responses

FORMAT = "minirlhf recording 1"
DIGITS = 5
AGAIN = "make it again with `minirlhf record`"
# numbers of each token, named as in `Rollout`; the first four are there for every algorithm
ALWAYS = ("old_log_probs", "ref_log_probs", "kl", "rewards")
PER_TOKEN = (*ALWAYS, "entropy", "old_values", "td_target", "advantages", "returns")


@dataclass(frozen=True)
class Response:
    """One response of a recorded run, with the numbers of each token."""

    prompt: str
    text: str
    prompt_ids: list[int]
    token_ids: list[int]  # counted tokens, the first EOS included
    tokens: list[str]  # their texts, one each
    ended: bool  # by itself
    score: float  # of the reward model, less the missing-EOS penalty, reward units
    gold: float | None  # the true reward, where a world has one
    per_token: dict[str, list[float]]  # names of `Rollout`'s: nats and reward units


@dataclass(frozen=True)
class Recording:
    """A run: its settings, where it was made, its metrics, some of its responses, its judgement."""

    name: str
    about: str  # one line for people
    algorithm: str  # the command: "ppo", "reinforce", "rloo", "grpo" or "dpo"
    config: dict[str, Any]  # every setting, as JSON
    seed: int
    commit: str | None  # of this package's repository; ends in "+" where files were changed
    made_with: dict[str, Any]  # versions, processor, threads, device
    weights: dict[str, str]  # SHA-256 of the weights that it began with
    seconds: float
    metrics: dict[str, list[float | None]]  # "step", then each metric of METRICS, one per step
    responses: dict[int, list[Response]]  # by step
    start: dict[str, float] = field(default_factory=dict)  # judged before training …
    end: dict[str, float] = field(default_factory=dict)  # … and after it, on fresh samples

    @property
    def steps(self) -> list[int]:
        """Recorded steps, rising."""
        return [int(step or 0) for step in self.metrics["step"]]

    def records(self) -> list[StepRecord]:
        """The run as a trainer yielded it, with one text a step where responses were kept."""
        rows = []
        for i, step in enumerate(self.steps):
            numbers = {name: column[i] for name, column in self.metrics.items() if name != "step"}
            metrics = {name: x for name, x in numbers.items() if x is not None}
            kept = self.responses.get(step)
            sample = f"{kept[0].prompt} {kept[0].text}" if kept else ""
            rows.append(StepRecord(self.algorithm, step, self.steps[-1], metrics, sample))
        return rows

    def rollout(self, step: int) -> Rollout:
        """The responses kept of a step as a `Rollout`, for widgets and formulas.

        Without a Critic, old_values are 0, and td_target, advantages and returns follow from that.

        Raises:
            ValueError: no responses were kept of that step.
        """
        if step not in self.responses:
            raise ValueError(
                f"{self.name} kept no responses of step {step}; it did of "
                f"{', '.join(map(str, self.responses))}"
            )
        kept = self.responses[step]
        prompts = pad_prompts([one.prompt_ids for one in kept], 0)
        ids, mask = pad_responses([one.token_ids for one in kept], 0)

        def numbers(name: str, otherwise: str = "") -> Tensor:
            table = torch.zeros(ids.shape)
            for row, one in enumerate(kept):
                found = one.per_token.get(name, one.per_token.get(otherwise, []))
                table[row, : len(found)] = torch.tensor(found)
            return table

        return Rollout(
            prompt_ids=prompts.prompt_ids,
            prompt_mask=prompts.prompt_mask,
            response_ids=ids,
            response_mask=mask,
            scores=torch.tensor([one.score for one in kept]),
            ended=torch.tensor([one.ended for one in kept]),
            td_target=numbers("td_target", "rewards"),
            advantages=numbers("advantages", "returns"),
            **{n: numbers(n) for n in (*ALWAYS, "entropy", "old_values", "returns")},
        )

    def save(self, file: Path) -> None:
        """Write the file: complete, or not at all; one line for each metric and response."""
        write_text(file, to_json(self))


def to_json(run: Recording) -> str:
    """The file's text."""
    rows = {"format": FORMAT, **asdict(run)}
    nested = {"metrics", "responses"}
    lines = [f"{_json(k)}: {_json(v)}" for k, v in rows.items() if k not in nested]
    metrics = ",\n  ".join(f"{_json(k)}: {_json(v)}" for k, v in run.metrics.items())
    lines.append(f'"metrics": {{\n  {metrics}\n}}')
    steps = []
    for step, kept in run.responses.items():
        texts = ",\n    ".join(_json(asdict(one)) for one in kept)
        steps.append(f'"{step}": [\n    {texts}\n  ]')
    lines.append('"responses": {\n  ' + ",\n  ".join(steps) + "\n}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _json(x: Any) -> str:
    return json.dumps(rounded(x), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def rounded(x: Any) -> Any:
    """Floats with five digits; what is not finite, as None."""
    if isinstance(x, float):
        return float(f"{x:.{DIGITS}g}") + 0.0 if math.isfinite(x) else None  # no −0
    if isinstance(x, Mapping):
        return {key: rounded(value) for key, value in x.items()}
    return [rounded(value) for value in x] if isinstance(x, list | tuple) else x


def load_recording(file: str | Path) -> Recording:
    """Read a recorded run.

    Raises:
        ValueError: there is no such file, or it is not a recorded run; says what is wrong.
    """
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(
            f"{file} is not JSON: {error}; make it again with `minirlhf record`"
        ) from None
    try:
        return _recording(found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{file} is not a recorded run: {error}; {AGAIN}") from None


def _recording(found: Any) -> Recording:
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        got = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"wanted the format {FORMAT!r}, got {got!r}")
    fields = {key: value for key, value in found.items() if key != "format"}
    responses = {
        int(step): [_response(one, step) for one in kept]
        for step, kept in fields.pop("responses").items()
    }
    run = Recording(**fields, responses=responses)
    lengths = {name: len(_numbers(name, column)) for name, column in run.metrics.items()}
    steps = run.steps
    if not steps or steps != sorted(set(steps)) or set(lengths.values()) != {len(steps)}:
        raise ValueError(f"wanted steps that rise and one number of each metric a step: {lengths}")
    if stray := set(responses) - set(steps):
        raise ValueError(f"responses of steps that were not recorded: {sorted(stray)}")
    return run


def _response(found: Any, step: str) -> Response:
    one = Response(**found)
    where = f"a response of step {step}"
    texts = [one.prompt, one.text, *one.tokens]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{where} has texts that are no texts")
    length = len(one.token_ids)
    sizes = {name: len(_numbers(name, row, null=False)) for name, row in one.per_token.items()}
    sizes["tokens"] = len(one.tokens)
    if missing := set(ALWAYS) - set(sizes):
        raise ValueError(f"{where} has no {', '.join(sorted(missing))}")
    if set(sizes.values()) != {length}:
        raise ValueError(f"{where} has {length} tokens, but {sizes}")
    _numbers("ids", [*one.prompt_ids, *one.token_ids, one.score], null=False)
    return one


def _numbers(name: str, row: Any, *, null: bool = True) -> list[float | None]:
    """The row, if it is a list of numbers (or null).

    Raises:
        ValueError: it is not.
    """
    if not isinstance(row, list):
        raise ValueError(f"{name} is no list")
    for x in row:
        if isinstance(x, bool) or not (isinstance(x, int | float) or (null and x is None)):
            raise ValueError(f"{name} has {x!r:.40} where a number should be")
    return row
