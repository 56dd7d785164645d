"""Exercises of notebook 09: how far a policy may follow its reward model."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="09",
    title="The best policy there is",
    difficulty=2,
    importance=5,
    minutes=8,
    task="""
        A prompt has N answers. Write the policy that maximises $E[r] - \\beta\\,\\mathrm{KL}$:
        $\\pi^*(y) = \\pi_{ref}(y)\\exp(r(y)/\\beta)/Z$, where $Z$ makes the probabilities add up
        to 1. It has to work for small $\\beta$, too, where $\\exp(r/\\beta)$ is too large a number
        for a computer.
        """,
    hints=(
        "Work with logarithms: $\\log\\pi_{ref}(y) + r(y)/\\beta$, and normalise afterwards.",
        "`torch.softmax(x, dim=0)` is $\\exp(x)$ divided by its sum, and never overflows.",
    ),
    remark="""
        `minirlhf.worlds.exact.optimal_policy` does the same for a policy over tokens, from the last
        token backwards. An answer that the Reference never gives stays at probability 0, however
        much it would score: PPO can only make likelier what is sometimes written.
        """,
)
def best_policy(ref_probs: Tensor, scores: Tensor, *, kl_coef: float) -> Tensor:
    """π*(y) of each answer. All (N,): π_ref(y), r(y) in reward units, and the result."""
    return torch.softmax(ref_probs.log() + scores / kl_coef, dim=0)


@best_policy.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("two answers", torch.tensor([0.75, 0.25]), torch.tensor([0.0, 1.0]), kl_coef=0.5)
    yield Case("one answer", torch.ones(1), torch.tensor([3.0]), kl_coef=0.1)
    ref, scores = torch.softmax(draw.normal(6), dim=0), draw.normal(6)
    yield Case("six answers", ref, scores, kl_coef=0.3)
    yield Case("β large: hardly any pull", ref, scores, kl_coef=1000.0)
    yield Case("β tiny: exp overflows", ref, scores, kl_coef=0.002)
    never = torch.tensor([0.5, 0.5, 0.0])
    yield Case("an answer never given", never, torch.tensor([0.0, 1.0, 9.0]), kl_coef=1.0)


@best_policy.wrong(
    "You left out the reference: answers count by their score alone, so what it never writes "
    "becomes likely. Look at the case of an answer that is never given."
)
def _(ref_probs: Tensor, scores: Tensor, *, kl_coef: float) -> Tensor:
    return torch.softmax(scores / kl_coef, dim=0)


@best_policy.wrong(
    "You multiplied by β where r is divided by it: a large β is a short leash, so it must pull the "
    "policy less, not more."
)
def _(ref_probs: Tensor, scores: Tensor, *, kl_coef: float) -> Tensor:
    return torch.softmax(ref_probs.log() + scores * kl_coef, dim=0)


@best_policy.wrong(
    "Your probabilities do not add up to 1: normalising exp(r/β) alone does not normalise its "
    "product with the reference."
)
def _(ref_probs: Tensor, scores: Tensor, *, kl_coef: float) -> Tensor:
    return ref_probs * torch.softmax(scores / kl_coef, dim=0)


@best_policy.wrong(
    "The formula is right, but for small β the exponential is infinite, and infinite divided by "
    "infinite is NaN. Subtract before you exponentiate."
)
def _(ref_probs: Tensor, scores: Tensor, *, kl_coef: float) -> Tensor:
    weight = ref_probs * (scores / kl_coef).exp()
    return weight / weight.sum()


@exercise(
    notebook="09",
    title="The most sceptical of several reward models",
    difficulty=3,
    importance=4,
    minutes=7,
    task="""
        K reward models have scored B responses. Take the *lowest* of the K scores of each response,
        and then shift and scale, so that the same minimum has mean 0 and standard deviation 1 over
        the N samples of the SFT model (divided by N, not by N − 1). Otherwise $\\beta$ would mean
        something else than with one reward model.
        """,
    hints=(
        "Two steps: the minimum over members, for the responses and for the SFT samples; then "
        "(minimum − mean) / std with the mean and std *of the SFT samples' minima*.",
        "`lowest = sft_member_scores.amin(dim=0)` is (N,); `lowest.std(correction=0)` is its "
        "standard deviation.",
    ),
    remark="""
        `minirlhf.RewardEnsemble(members, reduce="min")` and its `standardise` do this. Each member
        has mean 0 over the SFT samples; the minimum of several has not.
        """,
)
def sceptical_scores(member_scores: Tensor, sft_member_scores: Tensor) -> Tensor:
    """Standardised minimum over members: (K, B) and (K, N) in, (B,) out, reward units."""
    lowest = sft_member_scores.amin(dim=0)
    return (member_scores.amin(dim=0) - lowest.mean()) / lowest.std(correction=0)


@sceptical_scores.cases
def _(draw: Draw) -> Iterator[Case]:
    sft = torch.tensor([[-1.0, 1.0, 0.0, 2.0], [1.0, -1.0, 0.5, 1.0]])
    yield Case("two members, one response", torch.tensor([[2.0], [-1.0]]), sft)
    yield Case("one member only", draw.normal(1, 3), draw.normal(1, 9) + 0.5)
    yield Case("three members", draw.normal(3, 5), draw.normal(3, 40))
    yield Case("as many members as responses", draw.normal(4, 4), draw.normal(4, 4))
    yield Case("members that agree", draw.normal(1, 5).repeat(3, 1), draw.normal(1, 9).repeat(3, 1))


@sceptical_scores.wrong(
    "You took the lowest of a member's responses. Wanted is the lowest of a response's members: "
    "rows are members, columns are responses."
)
def _(member_scores: Tensor, sft_member_scores: Tensor) -> Tensor:
    lowest = sft_member_scores.amin(dim=0)
    return (member_scores.amin(dim=1) - lowest.mean()) / lowest.std(correction=0)


@sceptical_scores.wrong(
    "The minima are there, but not standardised: over SFT samples their mean is below 0, so every "
    "response looks bad, and β means something else than before."
)
def _(member_scores: Tensor, sft_member_scores: Tensor) -> Tensor:
    return member_scores.amin(dim=0)


@sceptical_scores.wrong(
    "The deviation is divided by N − 1, as `std` does by default. Here it is divided by N."
)
def _(member_scores: Tensor, sft_member_scores: Tensor) -> Tensor:
    lowest = sft_member_scores.amin(dim=0)
    return (member_scores.amin(dim=0) - lowest.mean()) / lowest.std()


@sceptical_scores.wrong(
    "You standardised over the responses at hand. Then the mean of every batch is 0, however good "
    "it is, and nothing can ever improve. The yardstick is the SFT samples."
)
def _(member_scores: Tensor, sft_member_scores: Tensor) -> Tensor:
    lowest = member_scores.amin(dim=0)
    return (lowest - lowest.mean()) / lowest.std(correction=0)


@sceptical_scores.wrong(
    "You standardised each member and took the minimum afterwards; a minimum of several such "
    "scores lies below 0 again. Take the minimum first."
)
def _(member_scores: Tensor, sft_member_scores: Tensor) -> Tensor:
    mean = sft_member_scores.mean(dim=1, keepdim=True)
    return ((member_scores - mean) / sft_member_scores.std(dim=1, correction=0, keepdim=True)).amin(
        dim=0
    )


@sceptical_scores.wrong(
    "That is the mean of the members. It softens a mistake that one of them makes; the minimum "
    "refuses it."
)
def _(member_scores: Tensor, sft_member_scores: Tensor) -> Tensor:
    mean = sft_member_scores.mean(dim=0)
    return (member_scores.mean(dim=0) - mean.mean()) / mean.std(correction=0)
