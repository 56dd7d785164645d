"""README.md of a trained model: what it is, what it was made from, and what came of it.

With it a role's folder can be shared as it is: `hf upload NAME runs/ppo/actor`. Everything in it is
a function of the run, so a run that was resumed writes the same card. Texts of the run stand in
code spans: they are shown, never read as Markdown.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from minirlhf.loading import as_folder
from minirlhf.metrics import METRICS

HEADED = "AutoModelForSequenceClassification"  # a trunk with the linear head `score`
ROLES = {  # what it is for on the Hub, the class that opens it, and what it gives
    "actor": ("text-generation", "AutoModelForCausalLM", "writes responses"),
    "critic": (
        "text-classification",
        HEADED,
        "predicts the reward still to come; a value is the logit minus `config.score_shift`",
    ),
    "reward_model": (
        "text-classification",
        HEADED,
        "scores a whole response; a score is the logit minus `config.score_shift`",
    ),
}


def model_card(name: str, run: Mapping[str, Any], metrics: Mapping[str, float]) -> str:
    """The text of a card.

    Args:
        name: of the role, as in a trainer's `roles`.
        run: what config.json of its run says.
        metrics: of the last step.
    """
    task, auto_class, what = ROLES[name]
    sources = {k: str(v) for k, v in run.get("sources", {}).items()}
    base = sources.get("model", "")
    data = ModelCardData(
        base_model=base if base and as_folder(base) is None else None,
        library_name="transformers",
        pipeline_tag=task,
        tags=["rlhf", str(run["stage"]), "minirlhf"],
    )
    settings = {k: v for k, v in run["settings"].items() if v is not None}
    last = {
        f"{k} ({METRICS[k].unit})" if k in METRICS else k: f"{v:.4g}"
        for k, v in metrics.items()
        if k != "seconds"  # no two runs share it
    }
    made = {f"{k}, given as": _place(v) for k, v in sources.items()}
    made |= {f"weights of the {k} before, SHA-256": v for k, v in _hashes(run).items()}
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {name} of a run of `minirlhf {run['stage']}`",
        f"A model that {what}.",
        f"```python\nfrom transformers import {auto_class}\n\n"
        f"model = {auto_class}.from_pretrained(FOLDER)\n```",
        "## Made from\n\n" + _table(made),
        "## Settings\n\n" + _table(settings),
        "## At the last step\n\n" + _table(last),
        "## Made with\n\n" + _table(dict(run["environments"][-1]) if run["environments"] else {}),
    ]
    return "\n\n".join(parts) + "\n"


def _hashes(run: Mapping[str, Any]) -> dict[str, str]:
    data = run.get("rows_sha256")
    return dict(run.get("weights_sha256") or {}) | ({"data": data} if data else {})


def _place(source: str) -> str:
    """A Hub name as it is; of a folder or file only its name: paths are nobody's business."""
    return source if as_folder(source) is None else Path(source).name


def _table(rows: Mapping[str, Any]) -> str:
    lines = [f"| {_code(k)} | {_code(v)} |" for k, v in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _code(text: object) -> str:
    """A code span that holds any text, even backticks, bars and line breaks."""
    plain = " ".join(str(text).split()).replace("`", "'").replace("|", "¦")
    return f"`{plain}`"
