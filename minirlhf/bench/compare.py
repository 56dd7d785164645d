"""From the seconds of every run to medians and ratios."""

from statistics import median
from typing import Any

PHASES = ("generate", "score", "train", "other", "total")

# of each program, "ours", "floor" and perhaps "trl": of each run, seconds by phase
Seconds = dict[str, list[dict[str, float]]]


def compare(seconds: Seconds, tokens: int) -> dict[str, Any]:
    """Medians by phase, and ours over the others.

    Args:
        seconds: of the programs' runs, of the same work each.
        tokens: response tokens of an iteration.

    Returns:
        `ratio_to_NAME`, ours over NAME's median; `ratio` and `trl_ratio` by phase; the seconds
        behind them, ours without a prefix.
    """
    medians = {name: middle(runs) for name, runs in seconds.items()}
    fastest = {name: min(run["total"] for run in runs) for name, runs in seconds.items()}
    ours = medians["ours"]
    result: dict[str, Any] = {}
    for name in seconds:
        prefix = {"ours": "", "floor": "floor_"}.get(name, name + "_")
        result[prefix + "seconds"] = {phase: medians[name][phase] for phase in PHASES}
        result[prefix + "cpu_seconds"] = medians[name]["cpu"]
        result[prefix + "runs_seconds"] = [run["total"] for run in seconds[name]]
        result[prefix + "tokens_per_second"] = tokens / medians[name]["total"]
        result[prefix + "decode_tokens_per_second"] = tokens / medians[name]["generate"]
        if name != "ours":
            ratio = {p: ours[p] / medians[name][p] for p in PHASES if p != "other"}
            result["ratio" if name == "floor" else prefix + "ratio"] = ratio
            result["ratio_to_" + name] = ratio["total"]
            # what the processors did: the same on a busy machine, but of little use with a GPU
            result["cpu_ratio_to_" + name] = ours["cpu"] / medians[name]["cpu"]
    result["ratio_of_fastest"] = fastest["ours"] / fastest["floor"]
    if "garbage" in medians.get("trl", {}):
        # Python's collector looks through every object of the process, ours too
        result["trl_garbage_seconds"] = medians["trl"]["garbage"]
        alone = median(run["total"] - run["garbage"] for run in seconds["trl"])
        result["ratio_to_trl_without_garbage"] = ours["total"] / alone
    return result


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each phase."""
    return {phase: median(run[phase] for run in runs) for phase in runs[0]}
