"""A stopwatch for the parts of an iteration."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


class Stopwatch:
    """Seconds by name. On a GPU, each part ends when the device has finished it.

    Args:
        device: where the work runs.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to `seconds[name]`."""
        started = self.now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - started

    def timed(self, name: str, function: Callable[P, T]) -> Callable[P, T]:
        """The same function, with the time of every call added to `seconds[name]`."""

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            with self(name):
                return function(*args, **kwargs)

        return wrapper

    def now(self) -> float:
        """Seconds on a clock that never goes back, read when the device is idle."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
