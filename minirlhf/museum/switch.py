"""Put a bug's functions in place of the right ones, and back again.

Modules of the package hold functions under their own names (`from minirlhf.kl import per_token_kl`
makes a second reference), so a function is replaced wherever a module of the package refers to it.
Names that your own code took (`from minirlhf import gae`) stay what they were.
"""

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from minirlhf.museum.bug import Bug, Wrong

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def replaced(bug: Bug) -> Iterator[Bug]:
    """Run the block with this bug; afterwards, whatever happened in it, all is right again.

    Raises:
        ValueError: a bug is switched on already, here or in another thread.
    """
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        raise ValueError(
            f"cannot switch on {bug.name!r}: another bug is on; leave its block first "
            "(two bugs at once have no clear symptom)"
        )
    try:
        with ExitStack() as put_back:
            for place, wrong in bug.replaces.items():
                put_back.callback(_replace(place, wrong))
            yield bug
    finally:
        _ONE_AT_A_TIME.release()


def _replace(place: str, wrong: Wrong) -> Callable[[], None]:
    """Replace "module:function" or "module:Class.method"; returns what undoes it."""
    module_name, _, path = place.partition(":")
    class_name, _, name = path.rpartition(".")
    owner = import_module(module_name)
    if not class_name:
        right = getattr(owner, name)
        variant = _in_place_of(right, wrong)
        _swap(right, variant)
        return lambda: _swap(variant, right)
    owner = getattr(owner, class_name)
    right, inherited = getattr(owner, name), name not in vars(owner)
    setattr(owner, name, _in_place_of(right, wrong))
    return lambda: delattr(owner, name) if inherited else setattr(owner, name, right)


def _in_place_of(right: Callable[..., Any], wrong: Wrong) -> Callable[..., Any]:
    """A function that looks like the right one and does the wrong thing."""

    @functools.wraps(right)
    def variant(*args: Any, **kwargs: Any) -> Any:
        return wrong(right, *args, **kwargs)

    return variant


def _swap(old: object, new: object) -> None:
    """Let every name in the package that refers to `old` refer to `new`."""
    for module in _package():
        for name in [name for name, value in vars(module).items() if value is old]:
            setattr(module, name, new)


def _package() -> list[ModuleType]:
    """The package's modules that are loaded now; the museum's own keep what is right."""
    return [
        module
        for name, module in list(sys.modules.items())
        if (name == "minirlhf" or name.startswith("minirlhf."))
        and not name.startswith("minirlhf.museum")
    ]
