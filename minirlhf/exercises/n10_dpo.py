"""Exercise of notebook 10: DPO's loss."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="10",
    title="DPO's loss",
    difficulty=3,
    importance=5,
    minutes=10,
    task="""
        Given the log-probs of whole responses (sums over their tokens) under Actor and Reference,
        write DPO's loss, the mean over pairs of
        $-\\log\\sigma\\big(\\beta\\log\\frac{\\pi(y_c)}{\\pi_{ref}(y_c)} -
        \\beta\\log\\frac{\\pi(y_r)}{\\pi_{ref}(y_r)}\\big)$ with $y_c$ chosen and $y_r$ rejected.
        The gradient is checked, too, and large differences must not overflow.
        """,
    hints=(
        "$\\log(\\pi/\\pi_{ref})$ is a difference of log-probs. First build both implicit rewards.",
        "`-torch.nn.functional.logsigmoid(x)` is $-\\log\\sigma(x)$ without overflow.",
    ),
    gradient_of=("chosen", "rejected"),
    remark="""
        It is the preference loss of notebook 02, with $\\beta\\log(\\pi/\\pi_{ref})$ in place of a
        reward model's score: `minirlhf.dpo_loss(*minirlhf.implicit_rewards(…))`. The Actor is its
        own reward model.
        """,
)
def dpo_from_log_probs(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, *, kl_coef: float
) -> Tensor:
    """Mean −log σ(r_c − r_r), r = β·(log π − log π_ref); all (B,) nats, a scalar comes out."""
    margin = kl_coef * ((chosen - ref_chosen) - (rejected - ref_rejected))
    return -torch.nn.functional.logsigmoid(margin).mean()


@dpo_from_log_probs.cases
def _(draw: Draw) -> Iterator[Case]:
    one = torch.tensor([-5.0]), torch.tensor([-7.0]), torch.tensor([-6.0]), torch.tensor([-6.5])
    yield Case("one pair", *one, kl_coef=0.1)
    same = draw.log_probs(3), draw.log_probs(3)
    yield Case("Actor = Reference", same[0], same[1], same[0].clone(), same[1].clone(), kl_coef=0.3)
    four = [5 * draw.log_probs(6) for _ in range(4)]
    yield Case("six pairs", *four, kl_coef=0.3)
    yield Case("a larger β", *four, kl_coef=2.0)
    yield Case(
        "far apart: exp overflows",
        torch.tensor([-300.0]),
        torch.tensor([-10.0]),
        torch.tensor([-20.0]),
        torch.tensor([-20.0]),
        kl_coef=1.0,
    )


@dpo_from_log_probs.wrong(
    "You left the Reference out: then likely texts count as good ones, whatever people chose. What "
    "matters is how much likelier than under the Reference a response has become."
)
def _(chosen, rejected, ref_chosen, ref_rejected, *, kl_coef):  # type: ignore[no-untyped-def]
    return -torch.nn.functional.logsigmoid(kl_coef * (chosen - rejected)).mean()


@dpo_from_log_probs.wrong(
    "The sign is turned round: this makes the rejected response likelier. Chosen minus rejected."
)
def _(chosen, rejected, ref_chosen, ref_rejected, *, kl_coef):  # type: ignore[no-untyped-def]
    margin = kl_coef * ((chosen - ref_chosen) - (rejected - ref_rejected))
    return -torch.nn.functional.logsigmoid(-margin).mean()


@dpo_from_log_probs.wrong(
    "β is missing: without it the loss asks for the same certainty whatever leash you wanted."
)
def _(chosen, rejected, ref_chosen, ref_rejected, *, kl_coef):  # type: ignore[no-untyped-def]
    margin = (chosen - ref_chosen) - (rejected - ref_rejected)
    return -torch.nn.functional.logsigmoid(margin).mean()


@dpo_from_log_probs.wrong(
    "The logarithm is missing: a mean of −σ has hardly any gradient where the Actor is most wrong."
)
def _(chosen, rejected, ref_chosen, ref_rejected, *, kl_coef):  # type: ignore[no-untyped-def]
    margin = kl_coef * ((chosen - ref_chosen) - (rejected - ref_rejected))
    return -torch.sigmoid(margin).mean()


@dpo_from_log_probs.wrong(
    "Right as a formula, but log(σ) taken in two steps is log(0) where a pair is far apart. There "
    "is a function for both steps at once."
)
def _(chosen, rejected, ref_chosen, ref_rejected, *, kl_coef):  # type: ignore[no-untyped-def]
    margin = kl_coef * ((chosen - ref_chosen) - (rejected - ref_rejected))
    return -torch.sigmoid(margin).log().mean()


@dpo_from_log_probs.wrong(
    "You detached the Actor's log-probs or lost their gradient on the way: the number is right, "
    "but nothing would be learnt."
)
def _(chosen, rejected, ref_chosen, ref_rejected, *, kl_coef):  # type: ignore[no-untyped-def]
    margin = kl_coef * ((chosen - ref_chosen) - (rejected - ref_rejected)).detach()
    return -torch.nn.functional.logsigmoid(margin).mean()
