"""The bug museum: twelve mistakes from public issue threads, to be switched into a run.

    with museum.switched_on("flipped_k3") as bug:
        trainer = PPOTrainer(*roles, prompts, PPOConfig(**bug.settings))
        dashboards = [step.metrics for step in trainer]

The right code is not touched: inside the block other functions stand in its place (one bug at
a time, for all threads of the process), after it everything is as before. A trainer that was built
before the block is affected, too. What your own code imported by name from `minirlhf` is not.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from minirlhf.museum.bug import Bug
from minirlhf.museum.formula_bugs import (
    FLIPPED_K3,
    REWARD_ON_A_PAD,
    UNMASKED_MEAN,
    WHITENED_BEFORE_RETURNS,
)
from minirlhf.museum.sampling_bugs import (
    EOS_SUPPRESSED,
    TOP_K_SAMPLING,
    UNFROZEN_REFERENCE,
    VALUE_ONE_TOKEN_LATE,
)
from minirlhf.museum.switch import replaced
from minirlhf.museum.update_bugs import (
    DROPOUT_IN_THE_RATIO,
    FROZEN_CRITIC,
    OLD_LOG_PROBS_RECOMPUTED,
    UNDETACHED_ADVANTAGES,
)

# The order is that of the exhibits' numbers, 1 to 12: mixed, so that a number gives nothing away.
EXHIBITS: tuple[Bug, ...] = (
    UNMASKED_MEAN,
    DROPOUT_IN_THE_RATIO,
    FROZEN_CRITIC,
    EOS_SUPPRESSED,
    WHITENED_BEFORE_RETURNS,
    UNFROZEN_REFERENCE,
    FLIPPED_K3,
    VALUE_ONE_TOKEN_LATE,
    OLD_LOG_PROBS_RECOMPUTED,
    REWARD_ON_A_PAD,
    UNDETACHED_ADVANTAGES,
    TOP_K_SAMPLING,
)
BUGS: dict[str, Bug] = {bug.name: bug for bug in sorted(EXHIBITS, key=lambda bug: bug.name)}

__all__ = ["BUGS", "EXHIBITS", "Bug", "find", "switched_on"]


def find(which: str | int) -> Bug:
    """The bug of this name, or the exhibit of this number (from 1).

    Raises:
        ValueError: there is none.
    """
    if isinstance(which, int) and 1 <= which <= len(EXHIBITS):
        return EXHIBITS[which - 1]
    if which in BUGS:
        return BUGS[str(which)]
    raise ValueError(
        f"no bug {which!r} in the museum; wanted a number from 1 to {len(EXHIBITS)}, or one of "
        + ", ".join(BUGS)
    )


@contextmanager
def switched_on(which: str | int) -> Iterator[Bug]:
    """Run the block with this bug in place; afterwards, whatever happened, all is right again.

    Args:
        which: a name in `BUGS`, or an exhibit's number from 1.

    Yields:
        The bug; its `settings` are those with which it shows.

    Raises:
        ValueError: there is no such bug, or one is switched on already.
    """
    with replaced(find(which)) as bug:
        yield bug
