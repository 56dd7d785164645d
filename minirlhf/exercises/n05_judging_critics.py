"""Exercises of notebook 05: how good a Critic is, and what a bad one costs."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise, question


@exercise(
    notebook="05",
    title="Explained variance",
    difficulty=2,
    importance=4,
    minutes=7,
    task="""
        How much of what happened did the Critic foresee? Write $1 - \\text{Var}(\\text{returns} -
        V)/\\text{Var}(\\text{returns})$ over the counted tokens, with variances that divide by n. 1
        is perfect, 0 is no better than one constant number. All tensors are (B, R); the result is a
        scalar.
        """,
    hints=(
        "`returns[response_mask]` is a flat tensor of the counted ones.",
        "`x.var(unbiased=False)` divides by n. Which two tensors need it?",
    ),
    remark=(
        "It says nothing of a Critic that is off by the same amount everywhere: a "
        "variance does not "
        "see a constant. So look at `value_mean` and `return_mean` as well."
    ),
)
def explained_variance(values: Tensor, returns: Tensor, response_mask: Tensor) -> Tensor:
    """1 − Var(returns − V)/Var(returns) over counted tokens. All (B, R). Returns a scalar."""
    returns, values = returns[response_mask], values[response_mask]
    return 1 - (returns - values).var(unbiased=False) / returns.var(unbiased=False)


@explained_variance.cases
def _(draw: Draw) -> Iterator[Case]:
    row = torch.ones(1, 3, dtype=torch.bool)
    returns = torch.tensor([[0.0, 1.0, 2.0]])
    yield Case("a perfect Critic", returns, returns, row)
    yield Case("a Critic that always says 1", torch.ones(1, 3), returns, row)
    yield Case("off by 5 everywhere", returns + 5, returns, row)
    mask = draw.mask(4, 2, 0)
    values, later = draw.normal(3, 4), draw.normal(3, 4)
    yield Case("several lengths", values, later, mask)
    hidden = [x.where(mask, torch.nan) for x in (values, later)]
    yield Case("NaN where masked", *hidden, mask)


@explained_variance.wrong("Padding is in your variances: look at the counted tokens only.")
def _(values: Tensor, returns: Tensor, response_mask: Tensor) -> Tensor:
    return 1 - (returns - values).var(unbiased=False) / returns.var(unbiased=False)


@explained_variance.wrong(
    "You divided by the variance of V. What is to be explained are the returns: how much they vary "
    "does not depend on the Critic."
)
def _(values: Tensor, returns: Tensor, response_mask: Tensor) -> Tensor:
    returns, values = returns[response_mask], values[response_mask]
    return 1 - (returns - values).var(unbiased=False) / values.var(unbiased=False)


@explained_variance.wrong(
    "That is the share that is left unexplained: a perfect Critic would get 0."
)
def _(values: Tensor, returns: Tensor, response_mask: Tensor) -> Tensor:
    returns, values = returns[response_mask], values[response_mask]
    return (returns - values).var(unbiased=False) / returns.var(unbiased=False)


@explained_variance.wrong(
    "You took the mean square in place of a variance, which also counts being off by a constant."
)
def _(values: Tensor, returns: Tensor, response_mask: Tensor) -> Tensor:
    returns, values = returns[response_mask], values[response_mask]
    return 1 - ((returns - values) ** 2).mean() / returns.var(unbiased=False)


question(
    "reward_model_as_critic",
    notebook="05",
    title="The Reward model as Critic",
    difficulty=3,
    importance=4,
    minutes=6,
    task="""
        Suppose we never train the Critic: we go on reading the Reward model on every unfinished
        text and call that $V_t$. Advantages are $\\delta_t = R_t + \\gamma V_{t+1} - V_t$
        ($\\lambda = 0$). In the exact world the Reward model is perfect: it is gold itself, and
        takes 1 off a text that nobody would leave like that. **Predict the damage** to the Actor's
        gradient:

        - `"none"`: a perfect Reward model makes a perfect Critic;
        - `"noise"`: the expected gradient is still right, only single ones are noisier;
        - `"bent"`: even the expected gradient points somewhere else;
        - `"scaled"`: it points the right way, but is too short or too long.
        """,
    hints=(
        "With the true $V$, the expected $\\delta_t$ of a token is its true advantage. "
        "What is it if "
        "$V_{t+1}$ is wrong by an amount that depends on the token?",
        "For this Critic every word that *completes* a sentence brings 1, because the "
        "text could now "
        "stop there, and every word after which it could not (`and`, `very`) costs 1, however "
        "good what follows.",
    ),
    answer="bent",
    form='one of "none", "noise", "bent", "scaled"',
    wrong=[
        ("none", "It is perfect for finished texts. V asks what an unfinished one will become."),
        (
            "noise",
            "That is what an error in V_t does. An error in V_{t+1} depends on the token "
            "that was drawn, so it does not cancel: compare the two places of V in δ.",
        ),
        (
            "scaled",
            "Some tokens are praised too much and others too little, so the parts of the gradient "
            "change their proportions.",
        ),
    ],
    remark="The cell below measures it: the cosine with the exact gradient is 0.39.",
)
