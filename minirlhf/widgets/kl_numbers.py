"""One decision, exactly: k1, k2, k3, their expectations, and their gradients by the actor's logits.

Two ways to use an estimate k of KL(π‖ref) at a token A ~ π, what each gives on average, and the
gradient of the KL itself beside them:

    in the reward (a fixed number)    E[k·∇log π(A)]
    in the loss (differentiated)      E[∇k]          the sample A stays fixed
    the exact KL                      ∇KL
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from minirlhf.kl import KL_ESTIMATORS, per_token_kl


def kl_numbers(actor: Sequence[float], reference: Sequence[float]) -> dict[str, list[float]]:
    """Everything that the explorer shows, by `per_token_kl` and autograd, in float64.

    Args:
        actor: logits of π, one for each token.
        reference: logits of π_ref.

    Returns:
        Lists over the tokens: "actor", "reference" (probabilities); "k1", "k2", "k3" (nats); and
        gradients by the actor's logits: "kl", "reverse_kl", "reward_k1", …, "loss_k3". Besides,
        "expected": [E k1, E k2, E k3, KL(π‖ref), KL(ref‖π)], nats.

    Raises:
        ValueError: fewer than two tokens, or lists of different lengths.
    """
    if len(actor) != len(reference) or len(actor) < 2:
        raise ValueError(
            f"wanted two policies over the same two or more tokens, got {len(actor)} and "
            f"{len(reference)} logits"
        )
    with torch.enable_grad():
        return _numbers(actor, reference)


def _numbers(actor: Sequence[float], reference: Sequence[float]) -> dict[str, list[float]]:
    logits = torch.tensor([actor], dtype=torch.float64, requires_grad=True)
    log_pi = logits.log_softmax(-1)
    ref_log_pi = torch.tensor([reference], dtype=torch.float64).log_softmax(-1)
    pi, ref = log_pi.exp(), ref_log_pi.exp()
    fixed = pi.detach()

    def gradient(x: Tensor) -> list[float]:
        (found,) = torch.autograd.grad(x, logits, retain_graph=True)
        return _list(found)

    kl = (pi * (log_pi - ref_log_pi)).sum()
    reverse_kl = (ref * (ref_log_pi - log_pi)).sum()
    found = {"actor": _list(pi), "reference": _list(ref)}
    found |= {"kl": gradient(kl), "reverse_kl": gradient(reverse_kl)}
    expected = []
    for name in KL_ESTIMATORS:
        k = per_token_kl(log_pi, ref_log_pi, estimator=name)
        found[name] = _list(k)
        expected.append(float((fixed * k).sum().detach()))
        found[f"reward_{name}"] = gradient((fixed * k.detach() * log_pi).sum())
        found[f"loss_{name}"] = gradient((fixed * k).sum())
    found["expected"] = [*expected, float(kl.detach()), float(reverse_kl.detach())]
    return found


def _list(x: Tensor) -> list[float]:
    return [float(v) for v in x.detach()[0]]
