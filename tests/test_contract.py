"""The public contract: names, argument order, and a clear ValueError for every bad input."""

import inspect
import math
import re
from typing import Any

import pytest
import torch
from strategies import make_batch

import minirlhf

SIGNATURES = {
    "gather_log_probs": "logits, token_ids, *, temperature=1.0",
    "per_token_kl": "log_probs, ref_log_probs, *, estimator=k1",
    "per_token_rewards": "scores, kl, response_mask, *, kl_coef, score_clip=None",
    "td_target": "rewards, values, response_mask, *, gamma",
    "gae": "rewards, values, response_mask, *, gamma, lam",
    "masked_mean": "x, mask",
    "masked_whiten": "x, mask, *, shift_mean=True",
    "actor_loss": "log_probs, old_log_probs, advantages, response_mask, *, clip_range=0.2",
    "critic_loss": "values, old_values, targets, response_mask, *, value_clip_range=0.2",
    "preference_loss": "chosen_scores, rejected_scores, *, margin=None",
    "sft_loss": "logits, token_ids, mask",
    "reinforce_advantages": "returns, response_mask, *, baseline",
    "rloo_advantages": "rewards, response_mask, *, group_size",
    "grpo_advantages": "scores, response_mask, *, group_size, divide_by_std=True, score_clip=None",
    "implicit_rewards": "log_probs, ref_log_probs, response_mask, *, kl_coef",
    "dpo_loss": "chosen_scores, rejected_scores",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_each_function_has_the_signature_of_the_contract(name: str) -> None:
    words, keyword_only = [], False
    for parameter in inspect.signature(getattr(minirlhf, name)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            words.append("*")
            keyword_only = True
        default = "" if parameter.default is parameter.empty else f"={parameter.default}"
        words.append(parameter.name + default)
    assert ", ".join(words) == SIGNATURES[name]


BATCH = make_batch([2, 3], 3)
GAP = torch.tensor([[True, False, True], [True, True, True]])
LATE = torch.tensor([[False, True, True], [True, True, True]])  # starts late: a gap too


def good(name: str) -> dict[str, Any]:
    """Arguments that the function accepts, by the names of the contract."""
    extra = {
        "kl_coef": 0.1, "gamma": 0.9, "lam": 0.9, "x": BATCH.rewards, "mask": BATCH.response_mask,
        "chosen_scores": BATCH.scores, "rejected_scores": BATCH.scores + 1,
        "returns": BATCH.rewards, "baseline": 0.5, "group_size": 2,
    }  # fmt: skip
    names = re.findall(r"(\w+)(?:,|$)", re.sub(r"\w+=[^,]+", "", SIGNATURES[name]))
    return {key: extra[key] if key in extra else getattr(BATCH, key) for key in names}


@pytest.mark.parametrize("name", SIGNATURES)
def test_good_arguments_are_accepted_by_name(name: str) -> None:
    getattr(minirlhf, name)(**good(name))


def refused(name: str, **changes: Any) -> str:
    """The message of the ValueError that the changed arguments raise."""
    with pytest.raises(ValueError) as caught:
        getattr(minirlhf, name)(**{**good(name), **changes})
    return str(caught.value)


TENSORS = [
    (name, argument)
    for name in SIGNATURES
    for argument, value in good(name).items()
    if isinstance(value, torch.Tensor)
    if (name, argument) != ("grpo_advantages", "response_mask")  # any width goes with (B,) scores
]


@pytest.mark.parametrize(("name", "argument"), TENSORS)
@pytest.mark.parametrize("change", ["a column less", "a row less", "one dimension more"])
def test_shapes_that_differ_are_refused_with_both_shapes(
    name: str, argument: str, change: str
) -> None:
    tensor = good(name)[argument]
    if change == "a column less":
        wrong = tensor[:, :2] if tensor.dim() > 1 else tensor[:1]
    elif change == "a row less":
        wrong = tensor[:1]
    else:
        wrong = tensor[..., None]
    message = refused(name, **{argument: wrong})
    assert re.search(r"\b" + ", ".join(map(str, wrong.shape)), message), message
    assert argument in message or "shape" in message, message


WITH_RESPONSE_MASK = [name for name, text in SIGNATURES.items() if "response_mask" in text]


@pytest.mark.parametrize("name", WITH_RESPONSE_MASK)
@pytest.mark.parametrize("mask", [GAP, LATE], ids=["gap", "late start"])
def test_a_response_mask_with_a_gap_is_refused(name: str, mask: torch.Tensor) -> None:
    message = refused(name, response_mask=mask)
    assert "response_mask" in message and "0" in message, message  # names the mask and row 0


@pytest.mark.parametrize("name", ["masked_mean", "masked_whiten", "sft_loss"])
def test_other_masks_may_have_gaps(name: str) -> None:
    result = getattr(minirlhf, name)(**{**good(name), "mask": GAP})
    assert result.isfinite().all()


@pytest.mark.parametrize("name", [n for n, text in SIGNATURES.items() if "mask" in text])
def test_a_mask_that_is_not_bool_is_refused(name: str) -> None:
    """The contract says (B, R) bool; silence about other types is read as refusal.

    A float mask could hold weights, and an additive attention mask holds 0 for "counted".
    """
    argument = "response_mask" if "response_mask" in SIGNATURES[name] else "mask"
    message = refused(name, **{argument: BATCH.response_mask.float()})
    assert "bool" in message, message


# masked_mean and masked_whiten are not here: "masked_mean of nothing is 0" covers no rows too.
@pytest.mark.parametrize("name", [n for n in SIGNATURES if not n.startswith("masked_")])
def test_a_batch_of_no_rows_is_refused(name: str) -> None:
    empty = {k: v[:0] for k, v in good(name).items() if isinstance(v, torch.Tensor)}
    message = refused(name, **empty)
    assert re.search(r"empty|at least|\b0\b", message), message


BAD_NUMBERS = [
    *[(name, "gamma", bad) for name in ("td_target", "gae") for bad in (-0.1, 1.1, math.nan)],
    *[("gae", "lam", bad) for bad in (-0.1, 1.1, math.nan, math.inf)],
    *[("gather_log_probs", "temperature", bad) for bad in (0.0, -1.0, math.nan)],
    *[("actor_loss", "clip_range", bad) for bad in (0.0, -0.2, math.nan)],
    # The contract is silent about these; a careful reader expects them refused.
    *[("critic_loss", "value_clip_range", bad) for bad in (0.0, -0.2, math.nan)],
    *[("per_token_rewards", "kl_coef", bad) for bad in (-0.1, math.nan, math.inf)],
    *[("per_token_rewards", "score_clip", bad) for bad in (-5.0, math.nan)],
    *[("grpo_advantages", "score_clip", bad) for bad in (-5.0, math.nan)],
    *[("implicit_rewards", "kl_coef", bad) for bad in (0.0, -0.1, math.nan, math.inf)],
    *[(f"{name}_advantages", "group_size", bad) for name in ("rloo", "grpo") for bad in (1, 3, 0)],
]


@pytest.mark.parametrize(("name", "argument", "bad"), BAD_NUMBERS)
def test_a_number_out_of_range_is_refused_by_name_and_value(
    name: str, argument: str, bad: float
) -> None:
    message = refused(name, **{argument: bad})
    assert argument in message and str(bad) in message, message


def test_an_unknown_estimator_is_refused_with_the_known_ones() -> None:
    message = refused("per_token_kl", estimator="k4")
    assert all(word in message for word in ("k4", "k1", "k2", "k3")), message


def test_a_margin_of_another_length_is_refused() -> None:
    message = refused("preference_loss", margin=torch.zeros(3))
    assert "margin" in message and "3" in message, message


@pytest.mark.parametrize("token", [-1, -100, 5])
def test_a_token_id_outside_the_vocabulary_is_refused(token: int) -> None:
    """Silent in the contract: unchecked, −1 may score the last word, and −100 cost nothing."""
    ids = BATCH.token_ids.clone()
    ids[1, 2] = token
    for name in ("gather_log_probs", "sft_loss"):
        with pytest.raises((ValueError, IndexError, RuntimeError)):
            getattr(minirlhf, name)(**{**good(name), "token_ids": ids})
