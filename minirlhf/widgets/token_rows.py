"""One response of a rollout as plain lists, and a rollout computed anew with other settings."""

from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from minirlhf.advantages import gae, td_target
from minirlhf.batch import Rollout
from minirlhf.kl import KLEstimator, per_token_kl
from minirlhf.masks import check_same_shape
from minirlhf.monte_carlo import MonteCarloValues
from minirlhf.rewards import per_token_rewards

LONGEST_PROMPT = 400  # characters that are shown


class Settings(NamedTuple):
    """What the numbers below a rollout's raw log-probs, values and scores depend on."""

    kl_coef: float  # β, reward units per nat
    gamma: float  # γ
    lam: float  # λ
    kl_estimator: KLEstimator
    score_clip: float | None  # reward units


class Extras(NamedTuple):
    """What a rollout does not hold itself; all are optional."""

    truth: MonteCarloValues | Tensor | None  # (B, R) reward units
    log_probs: Tensor | None  # (B, R) nats, of the Actor now
    reference_top: tuple[Tensor, Tensor] | None  # (B, R, K) ids and nats


def recompute(rollout: Rollout, settings: Settings) -> Rollout:
    """The rollout as these settings would have made it from the same text, values and scores.

    Args:
        rollout: log-probs, values and scores are taken from it.
        settings: β, γ, λ, the KL estimator and the clip of the score.

    Returns:
        The same rollout, with float64 kl, rewards, td_target, advantages and returns.
    """
    mask, values = rollout.response_mask, rollout.old_values.double()
    kl = per_token_kl(
        rollout.old_log_probs.double(),
        rollout.ref_log_probs.double(),
        estimator=settings.kl_estimator,
    )
    rewards = per_token_rewards(
        rollout.scores.double(),
        kl,
        mask,
        kl_coef=settings.kl_coef,
        score_clip=settings.score_clip,
    )
    advantages, returns = gae(rewards, values, mask, gamma=settings.gamma, lam=settings.lam)
    targets = td_target(rewards, values, mask, gamma=settings.gamma)
    return replace(
        rollout, kl=kl, rewards=rewards, advantages=advantages, returns=returns, td_target=targets
    )


def difference(rollout: Rollout, row: int, settings: Settings) -> float:
    """How far R_t or Â_t of a row lie from what these settings give, reward units."""
    one = rollout.select(torch.tensor([row]))
    again, mask = recompute(one, settings), one.response_mask
    pairs = ((one.rewards, again.rewards), (one.advantages, again.advantages))
    gaps = [(a.double() - b)[mask].abs() for a, b in pairs]
    return max((float(g.max()) for g in gaps if g.numel()), default=0.0)


def detached(rollout: Rollout) -> Rollout:
    """A copy on the CPU that shares no memory with the rollout and has no gradient."""
    held = {f.name: getattr(rollout, f.name) for f in fields(rollout)}
    return replace(rollout, **{k: copy_of(v) for k, v in held.items() if v is not None})


def one_response(rollout: Rollout, row: int) -> Rollout:
    """A copy of one row of a rollout, on the CPU.

    Raises:
        ValueError: there is no such row.
    """
    size = rollout.response_ids.shape[0]
    if not -size <= row < size:
        raise ValueError(f"row {row} of a rollout that has {size} responses")
    rows = torch.tensor([row % size], device=rollout.response_ids.device)
    return detached(rollout.select(rows))


def copy_of(tensor: Tensor) -> Tensor:
    """A copy on the CPU without gradient."""
    return tensor.detach().to("cpu", copy=True)


def response_data(
    rollout: Rollout, row: int, tokenizer: PreTrainedTokenizerBase, extras: Extras
) -> dict[str, Any]:
    """What the browser needs of one response, as JSON values; lists have one entry per token."""
    length = int(rollout.lengths[row])

    def numbers(tensor: Tensor) -> list[float | str | None]:
        return json_numbers(tensor[row, :length])

    prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
    ids = rollout.response_ids[row, :length].tolist()
    actor_top = None
    if rollout.top_ids is not None and rollout.top_log_probs is not None:
        actor_top = (rollout.top_ids, rollout.top_log_probs)
    truth, errors = extras.truth, None
    if isinstance(truth, MonteCarloValues):
        errors = truth.errors
        truth = truth.values
    old = rollout.old_log_probs
    return {
        "row": row,
        "prompt": str(tokenizer.decode(prompt))[:LONGEST_PROMPT],
        "ids": ids,
        "tokens": [str(tokenizer.decode([i])) for i in ids],
        "ended": bool(rollout.ended[row]),
        "score": json_numbers(rollout.scores[row : row + 1])[0],
        "moved": extras.log_probs is not None,
        "log_prob": numbers(old if extras.log_probs is None else extras.log_probs),
        "old_log_prob": numbers(old),
        "ref_log_prob": numbers(rollout.ref_log_probs),
        "value": numbers(rollout.old_values),
        "truth": None if truth is None else numbers(truth),
        "errors": None if errors is None else numbers(errors),
        "actor_top": _top(actor_top, row, length, tokenizer),
        "reference_top": _top(extras.reference_top, row, length, tokenizer),
    }


def json_numbers(tensor: Tensor) -> list[float | str | None]:
    """(n,) numbers for JSON: NaN as None, infinities as words that JavaScript reads."""
    words: dict[float, str] = {float("inf"): "Infinity", float("-inf"): "-Infinity"}
    return [None if x != x else words.get(x, x) for x in tensor.double().tolist()]


def _top(
    top: tuple[Tensor, Tensor] | None, row: int, length: int, tokenizer: PreTrainedTokenizerBase
) -> list[list[list[Any]]] | None:
    """For each token, the likeliest [text, id, log-prob] at its step."""
    if top is None:
        return None
    ids, log_probs = top[0][row, :length].tolist(), top[1][row, :length]
    words = {i: str(tokenizer.decode([i])) for step in ids for i in step}
    return [
        [[words[i], i, x] for i, x in zip(step, json_numbers(nats), strict=True)]
        for step, nats in zip(ids, log_probs, strict=True)
    ]


def copied(extras: Extras) -> Extras:
    """Copies of all tensors, so that nothing here holds on to a graph or a device."""
    truth, log_probs, top = extras
    if isinstance(truth, MonteCarloValues):
        truth = MonteCarloValues(copy_of(truth.values), copy_of(truth.errors), truth.n)
    elif truth is not None:
        truth = copy_of(truth)
    return Extras(
        truth,
        None if log_probs is None else copy_of(log_probs),
        None if top is None else (copy_of(top[0]), copy_of(top[1])),
    )


def check_extras(rollout: Rollout, extras: Extras) -> None:
    """Refuse tensors that belong to another rollout.

    Raises:
        ValueError: the first whose shape differs.
    """
    mask, (truth, log_probs, reference_top) = rollout.response_mask, extras
    given: dict[str, Tensor] = {}
    if isinstance(truth, MonteCarloValues):
        given |= {f"truth.{f.name}": getattr(truth, f.name) for f in fields(truth)[:2]}
    elif truth is not None:
        given["truth"] = truth
    if log_probs is not None:
        given["log_probs"] = log_probs
    check_same_shape(mask, **given)
    if reference_top is not None:
        ids, nats = reference_top
        if ids.dim() != 3 or ids.shape != nats.shape or ids.shape[:2] != mask.shape:
            raise ValueError(
                f"reference_top must be two tensors (B, R, K) with (B, R) = {tuple(mask.shape)}, "
                f"got {tuple(ids.shape)} and {tuple(nats.shape)}"
            )
        if not torch.is_floating_point(nats) or torch.is_floating_point(ids):
            raise ValueError("reference_top must be (ids, log-probs), in this order")
