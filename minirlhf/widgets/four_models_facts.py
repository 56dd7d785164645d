"""What a real iteration says, for the live picture of the four models: shapes, means, some rows.

Everything is copied and detached: nothing here can change a run.
"""

from typing import Any

import torch
from torch import Tensor

from minirlhf.batch import Rollout, StepRecord
from minirlhf.config import PPOConfig
from minirlhf.masks import masked_mean, masked_whiten
from minirlhf.widgets.four_models_map import QUANTITIES
from minirlhf.widgets.wire import finite

ROWS = 8  # responses whose tokens are shown
Decode = Any  # a tokenizer, or None

# shown in the sentences: name of a metric -> decimals
METRIC_DIGITS = {
    "kl": 3, "reward": 3, "explained_variance": 3, "actor_loss": 4, "critic_loss": 4,
    "ratio_mean": 4, "ratio_max": 3, "clip_fraction": 3, "approx_kl": 4,
    "actor_grad_norm": 3, "critic_grad_norm": 3, "optimiser_steps": 0,
}  # fmt: skip


def facts_of(record: StepRecord | None, config: PPOConfig | None, tokenizer: Decode) -> Any:
    """Shapes, means and the first rows of a record's rollout.

    Args:
        record: of PPO, with its rollout; None = nothing is known.
        config: what the record was made with; None = not known, and nothing is guessed.
        tokenizer: turns ids into the tokens that are shown; None = numbers of places.

    Returns:
        Plain JSON: {} without a record, else "values" (name -> [number, decimals]),
        "fields" (name -> shape, mean, rows) and "rows" (prompt and tokens).

    Raises:
        ValueError: the record holds no rollout.
    """
    if record is None:
        return {}
    rollout = record.rollout
    if rollout is None:
        raise ValueError(
            f"wanted a record of stage 3 with its rollout, got one of stage {record.stage!r} "
            "without; records of `for record in PPOTrainer(...)` have it"
        )
    metrics = record.metrics
    values: dict[str, list[Any]] = {}
    values |= {name: [metrics[name], d] for name, d in METRIC_DIGITS.items() if name in metrics}
    values |= {
        "B": [len(rollout.scores), 0],
        "P": [rollout.prompt_ids.shape[1], 0],
        "R": [rollout.response_ids.shape[1], 0],
        "ended": [int(rollout.ended.sum()), 0],
        "length": [float(rollout.lengths.float().mean()), 2],
        "beta": [metrics.get("kl_coef"), 4],
        "gamma": [config.gamma if config else None, 2],
        "lambda": [config.lam if config else None, 2],
    }
    fields = {name: _field(rollout, name, config, record) for name in QUANTITIES}
    values |= {f"mean_{name}": [f["mean"], 3] for name, f in fields.items()}
    return {"values": _finite(values), "fields": fields, "rows": _rows(rollout, tokenizer)}


def _field(
    rollout: Rollout, name: str, config: PPOConfig | None, record: StepRecord
) -> dict[str, Any]:
    """Shape, mean over counted tokens, and the counted tokens of the first rows."""
    if name in ("actor_loss", "critic_loss"):
        return {"shape": [], "mean": record.metrics.get(name), "rows": []}
    x = _tensor(rollout, name, config)
    unknown = name == "used_advantages" and config is None
    if unknown or name in ("prompt_ids", "response_ids"):
        return {"shape": list(x.shape), "mean": None, "rows": []}
    if x.dim() == 1:
        return {
            "shape": list(x.shape),
            "mean": _number(x.double().mean()),
            "rows": [[_number(v)] for v in x[:ROWS]],
        }
    mean = masked_mean(x.double(), rollout.response_mask)
    lengths = rollout.lengths[:ROWS].tolist()
    rows = [[_number(v) for v in x[b, :n]] for b, n in enumerate(lengths)]
    return {"shape": list(x.shape), "mean": _number(mean), "rows": rows}


def _tensor(rollout: Rollout, name: str, config: PPOConfig | None) -> Tensor:
    """A quantity of the rollout; `used_advantages` are those that the loss gets."""
    if name != "used_advantages":
        found: Tensor = getattr(rollout, name)
    elif config is not None and config.whiten_advantages:
        found = masked_whiten(rollout.advantages, rollout.response_mask)
    else:
        found = rollout.advantages
    return found.detach().cpu()


def _rows(rollout: Rollout, tokenizer: Decode) -> list[dict[str, Any]]:
    rows = []
    for b, length in enumerate(rollout.lengths[:ROWS].tolist()):
        ids = rollout.response_ids[b, :length].tolist()
        prompt = rollout.prompt_ids[b][rollout.prompt_mask[b]].tolist()
        if tokenizer is None:
            rows.append({"prompt": "", "tokens": [str(t) for t in range(length)]})
            continue
        rows.append(
            {
                "prompt": str(tokenizer.decode(prompt)),
                "tokens": [str(tokenizer.decode([token])) for token in ids],
            }
        )
    return rows


def _number(x: Tensor) -> float | None:
    """JSON has no NaN and no infinity; both become "not known"."""
    value: float | None = finite(float(x.to(torch.float64)))
    return value


def _finite(values: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {k: [None if v is None else finite(v), d] for k, (v, d) in values.items()}
