"""The rules that settings are checked with: what a value must be, in words and as a test."""

from collections.abc import Callable
from typing import Any


def _is_number(x: object) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < float("inf")


Rule = tuple[str, Callable[[Any], bool]]
POSITIVE_INT: Rule = (
    "a whole number ≥ 1",
    lambda x: isinstance(x, int) and not isinstance(x, bool) and x >= 1,
)
LORA_RANK: Rule = (
    "a whole number ≥ 0",
    lambda x: isinstance(x, int) and not isinstance(x, bool) and x >= 0,
)
GROUP_SIZE: Rule = (
    "a whole number ≥ 2",
    lambda x: isinstance(x, int) and not isinstance(x, bool) and x >= 2,
)
SEED: Rule = (
    "a whole number of at most 64 bits",
    lambda x: isinstance(x, int) and not isinstance(x, bool) and -(2**63) <= x < 2**63,
)
BOOL: Rule = ("True or False", lambda x: isinstance(x, bool))
POSITIVE: Rule = ("a finite number > 0", lambda x: _is_number(x) and x > 0)
NOT_NEGATIVE: Rule = ("a finite number ≥ 0", lambda x: _is_number(x) and x >= 0)
UNIT: Rule = ("a number in [0, 1]", lambda x: _is_number(x) and 0 <= x <= 1)
OPEN_UNIT: Rule = ("a number between 0 and 1", lambda x: _is_number(x) and 0 < x < 1)
ONE: Rule = ("1: a response counts as one action", lambda x: _is_number(x) and x == 1)


def check(config: object, rule: Rule, *names: str, optional: bool = False) -> None:
    """Refuse a field that breaks a rule.

    Args:
        config: a dataclass.
        rule: one of those above.
        names: of the fields.
        optional: None is fine, too.

    Raises:
        ValueError: names the field, what it must be and what it is.
    """
    wanted, holds = rule
    for name in names:
        value = getattr(config, name)
        if not (optional and value is None) and not holds(value):
            raise ValueError(f"{name} must be {wanted}{' or None' * optional}, got {value!r}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a word that is not one of the choices.

    Raises:
        ValueError: lists them.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
