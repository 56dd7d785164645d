"""Preference pairs drawn from the gold reward, and rows on disk.

The simulated human compares two responses to the same prompt as Bradley and Terry (1952, "Rank
analysis of incomplete block designs", Biometrika 39) describe it: the better one usually wins, and
the closer the two, the more it is a matter of chance.

Left out: "I cannot tell" as an answer, and a human who is always wrong on some point.
"""

import json
import math
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .gold import gold_reward


def preference_probability(first_gold: float, second_gold: float, *, noise: float = 1.0) -> float:
    """How likely the first of two responses is preferred.

        P(first ≻ second) = σ((g₁ − g₂) / noise)

    Args:
        first_gold: g₁, gold reward of the first response, reward units.
        second_gold: g₂, of the second.
        noise: reward units, at least 0; 0 always prefers the better one and tosses a coin for a
            tie, infinity always tosses a coin.

    Returns:
        A probability in [0, 1].

    Raises:
        ValueError: noise is negative or not a number.

    Example:
        >>> round(preference_probability(1.2, 0.0), 3)
        0.769
        >>> preference_probability(1.2, 0.0, noise=0.0)
        1.0
    """
    if not noise >= 0:
        raise ValueError(f"noise is {noise}, but a number of at least 0 is wanted")
    difference = first_gold - second_gold
    if noise == 0:
        return 0.5 if difference == 0 else float(difference > 0)
    # σ(z) = ½·(1 + tanh(z/2)), which cannot overflow
    return 0.5 * (1 + math.tanh(difference / noise / 2))


def prefer(
    prompt: str,
    first: str,
    second: str,
    *,
    rng: random.Random,
    noise: float = 1.0,
    first_ended: bool = True,
    second_ended: bool = True,
) -> dict[str, str]:
    """Asks the simulated human which of two responses is better.

    Args:
        prompt: what both answer.
        first: a response, without <eos>.
        second: another one.
        rng: source of randomness; each call draws exactly one number from it.
        noise: as in `preference_probability`.
        first_ended: False when the first response was cut off before <eos>.
        second_ended: the same of the second.

    Returns:
        A row {"prompt": ..., "chosen": ..., "rejected": ...}.

    Raises:
        ValueError: noise is negative or not a number.
    """
    first_gold = gold_reward(prompt, first, ended=first_ended)
    second_gold = gold_reward(prompt, second, ended=second_ended)
    first_wins = rng.random() < preference_probability(first_gold, second_gold, noise=noise)
    chosen, rejected = (first, second) if first_wins else (second, first)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def preference_rows(
    prompts: Sequence[str],
    firsts: Sequence[str],
    seconds: Sequence[str],
    *,
    seed: int,
    noise: float = 1.0,
    first_ended: Sequence[bool] | None = None,
    second_ended: Sequence[bool] | None = None,
) -> list[dict[str, str]]:
    """Preference rows for a reward model: one pair for each prompt.

    Args:
        prompts: N prompts.
        firsts: N responses, without <eos>.
        seconds: N other responses.
        seed: the same seed gives the same rows.
        noise: as in `preference_probability`.
        first_ended: N flags, False where a response was cut off before <eos>; None: all ended.
        second_ended: the same of the second responses.

    Returns:
        N rows {"prompt": ..., "chosen": ..., "rejected": ...}, in the order of the prompts.

    Raises:
        ValueError: the lengths differ, or noise is negative or not a number.
    """
    count = len(prompts)
    first_ended = [True] * count if first_ended is None else first_ended
    second_ended = [True] * count if second_ended is None else second_ended
    columns = {
        "firsts": firsts,
        "seconds": seconds,
        "first_ended": first_ended,
        "second_ended": second_ended,
    }
    for name, column in columns.items():
        if len(column) != count:
            raise ValueError(f"{name} has {len(column)} entries, but there are {count} prompts")
    preference_probability(0.0, 0.0, noise=noise)  # complains about noise even without prompts
    rng = random.Random(seed)
    return [
        prefer(
            prompt, first, second, rng=rng, noise=noise, first_ended=ended, second_ended=other_ended
        )
        for prompt, first, second, ended, other_ended in zip(
            prompts, firsts, seconds, first_ended, second_ended, strict=True
        )
    ]


def write_jsonl(path: str | os.PathLike[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Writes rows as JSON lines: one object on each line, all ASCII.

    `datasets.load_dataset("json", data_files=str(path), split="train")` reads the file. It appears
    complete or not at all: the rows go to a neighbouring file first, which then takes the name.

    Args:
        path: the file; an old one is replaced.
        rows: dicts of JSON values, such as those of `sft_rows` and `preference_rows`.

    Raises:
        ValueError: there are no rows, or a row holds NaN or infinity, which JSON cannot say.
        OSError: the folder is missing or cannot be written.
    """
    lines = [json.dumps(dict(row), allow_nan=False) + "\n" for row in rows]
    if not lines:
        raise ValueError(f"no rows to write to {os.fspath(path)}, but at least 1 is needed")
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_text("".join(lines), encoding="ascii", newline="\n")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
