"""Exercises of notebook 04: a β that adapts."""

from collections.abc import Iterator

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="04",
    title="A β that adapts",
    difficulty=2,
    importance=2,
    minutes=6,
    task="""
        Write one step of the controller: the relative error $e = KL/\\text{target} - 1$, limited
        to ±0.2, and then $\\beta \\leftarrow \\beta\\,(1 + e\\,n/\\text{horizon})$, where $n$ is
        the number of responses since the last step. All are plain numbers.
        """,
    hints=(
        "Which way must β go when the KL is above its target?",
        "`error = min(max(kl / target - 1, -0.2), 0.2)`",
    ),
    remark="`minirlhf.kl.AdaptiveKL` says the same (Ziegler et al. 2019, arXiv:1909.08593).",
)
def next_kl_coef(
    kl_coef: float, kl: float, *, target: float, n_responses: int, horizon: int
) -> float:
    """The next β, from this β and the KL per response that was measured (nats)."""
    error = min(max(kl / target - 1.0, -0.2), 0.2)
    return kl_coef * (1.0 + error * n_responses / horizon)


@next_kl_coef.cases
def _(draw: Draw) -> Iterator[Case]:
    for name, kl in (
        ("a little above the target", 2.2),
        ("on target", 2.0),
        ("a little below", 1.9),
        ("far above", 60.0),
        ("far below", 0.0),
    ):
        yield Case(name, 0.05, kl, target=2.0, n_responses=64, horizon=640)
    yield Case("a negative estimate of the KL", 0.1, -0.5, target=1.0, n_responses=64, horizon=128)


@next_kl_coef.wrong(
    "The sign is turned round: this leash gets looser when the Actor is too far away."
)
def _(kl_coef: float, kl: float, *, target: float, n_responses: int, horizon: int) -> float:
    error = min(max(1.0 - kl / target, -0.2), 0.2)
    return kl_coef * (1.0 + error * n_responses / horizon)


@next_kl_coef.wrong(
    "Right as long as the KL is near its target. One wild measurement must not change β by more "
    "than 20 % of n/horizon: limit the error."
)
def _(kl_coef: float, kl: float, *, target: float, n_responses: int, horizon: int) -> float:
    return kl_coef * (1.0 + (kl / target - 1.0) * n_responses / horizon)


@next_kl_coef.wrong(
    "Your error is a difference in nats. As a share of the target, the same setting works for a "
    "target of 2 nats and for one of 20."
)
def _(kl_coef: float, kl: float, *, target: float, n_responses: int, horizon: int) -> float:
    error = min(max(kl - target, -0.2), 0.2)
    return kl_coef * (1.0 + error * n_responses / horizon)


@next_kl_coef.wrong(
    "n_responses and horizon are missing: a whole step of 20 % after every batch, however small."
)
def _(kl_coef: float, kl: float, *, target: float, n_responses: int, horizon: int) -> float:
    error = min(max(kl / target - 1.0, -0.2), 0.2)
    return kl_coef * (1.0 + error)
