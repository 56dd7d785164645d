"""What is wanted of the runs on real text, what came of them, and how sure that is."""

import os
import platform
import statistics
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from run_real import Effort

ACTORS = ("ppo", "ppo-lora")  # the runs of stage 3


def goals(found: dict[str, Any], effort: "Effort") -> dict[str, bool]:
    """What is wanted of every seed, and whether it came."""
    loss_before, loss_after = found["sft_loss"]
    wanted = {
        f"SFT loss falls by {effort.loss_fall} nats": loss_before - loss_after >= effort.loss_fall,
        "at least 500 held-out pairs": found["pairs"] >= 500,
        "accuracy above chance": found["accuracy_interval"][0] > 0.5,
        f"accuracy at least {effort.accuracy}": found["accuracy"] >= effort.accuracy,
    }
    for name in ACTORS:
        one = found[name]
        wanted |= {
            f"{name}: score rises by {effort.score_rise}": rise(one) >= effort.score_rise,
            f"{name}: KL between 0 and 12 nats": 0.0 < one["kl"] < 12.0,
            f"{name}: at least 3 words a response": one["words"][1] >= 3.0,
            f"{name}: at least 75 % of the responses differ": one["distinct"][1] >= 0.75,
        }
    return wanted


def rise(one: dict[str, Any]) -> float:
    """By how much the score rose, in standard deviations of SFT samples."""
    before, after = one["score"]
    return after - before


def together(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Rise, KL and rise per nat over the seeds, as mean and standard error, and the verdict."""
    lines: dict[str, Any] = {}
    rises = {}
    for name in ACTORS:
        rises[name] = [rise(one[name]) for one in found]
        kls = [one[name]["kl"] for one in found]
        lines[f"{name}_rise"] = mean_and_error(rises[name])
        lines[f"{name}_kl"] = mean_and_error(kls)
        lines[f"{name}_rise_per_nat"] = mean_and_error(
            [score / kl for score, kl in zip(rises[name], kls, strict=True)]
        )
    return lines | verdict(rises["ppo"], rises["ppo-lora"])


def verdict(whole: list[float], lora: list[float]) -> dict[str, Any]:
    """Whether LoRA reaches the score of all weights within noise; written before the runs.

    Both have to hold, σ̄ being the standard error of a mean over the seeds:

        |d̄| ≤ 2 σ̄(d)                          d = lora − whole, seed by seed
        |mean lora − mean whole| ≤ 2 σ̄(lora) + 2 σ̄(whole)          the intervals overlap

    The second follows from the first, as σ̄(d) ≤ σ̄(lora) + σ̄(whole); it is shown for those who look
    at the means alone. A few seeds give a coarse σ̄, and a large spread makes both easier.

    Args:
        whole: rise of each seed with all weights trained, standard deviations.
        lora: the same with LoRA, on the same seeds, which begin with the same models.
    """
    (_, whole_error), (_, lora_error) = mean_and_error(whole), mean_and_error(lora)
    difference, error = mean_and_error([b - a for a, b in zip(whole, lora, strict=True)])
    paired = abs(difference) <= 2 * error
    overlap = abs(difference) <= 2 * (lora_error + whole_error)
    return {
        "lora_minus_whole": [difference, error],
        "paired_within_2_errors": paired,
        "intervals_overlap": overlap,
        # of one seed nobody knows the spread
        "lora_reaches_it": len(whole) < 2 or (paired and overlap),
    }


def mean_and_error(values: list[float]) -> list[float]:
    """Mean, and its standard error; 0 for a single value."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return [statistics.mean(values), error]


def report(found: dict[str, Any]) -> str:
    """The numbers of one seed, for people."""
    low, high = found["accuracy_interval"]
    lines = [
        f"seed {found['seed']}",
        "  SFT loss, nats per token  {:.3f} → {:.3f}".format(*found["sft_loss"]),
        f"  held-out accuracy         {found['accuracy']:.3f}, 95 % interval {low:.3f} to "
        f"{high:.3f}, {found['pairs']} pairs",
    ]
    for name in ACTORS:
        one = found[name]
        lines += [
            f"  {name}",
            "    score, standard deviations {:+.2f} → {:+.2f}".format(*one["score"])
            + "  (standard errors {:.2f}, {:.2f})".format(*one["score_error"]),
            f"    KL, nats per response     {one['kl']:.2f}",
            "    ended by itself           {:.2f} → {:.2f}".format(*one["eos_rate"]),
            "    words per response        {:.1f} → {:.1f}".format(*one["words"]),
            "    distinct responses        {:.2f} → {:.2f}".format(*one["distinct"]),
            *(f"    {x['prompt']} | {x['sft']}\n      → {x['ppo']}" for x in one["samples"]),
        ]
    lines += [
        f"  seconds                   {found['seconds']}",
        *(f"  {'reached' if ok else 'MISSED '}  {goal}" for goal, ok in found["goals"].items()),
    ]
    return "\n".join(lines)


def without_samples(found: dict[str, Any]) -> dict[str, Any]:
    """The numbers of one seed: the data are nobody's to spread, and samples begin with them."""
    cut = {name: {k: v for k, v in found[name].items() if k != "samples"} for name in ACTORS}
    return found | cut


def conditions(name: str, effort: "Effort") -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    return {
        "date": date.today().isoformat(),
        "command": f"python tests/real/run_real.py --effort {name} --json tests/real/results.json",
        "effort": asdict(effort),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("minirlhf", "torch", "transformers", "peft")},
        },
        "hardware": f"CPU, {platform.machine()}, {torch.get_num_threads()} threads",
        "load_average": round(os.getloadavg()[0], 1),  # beside what else the machine did
    }
