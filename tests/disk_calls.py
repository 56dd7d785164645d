"""Step in just before each call that changes what is on the disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minirlhf import Actor, Critic, atomic, checkpoint, run_folder

DISK_CALLS = [
    (Path, "mkdir"),
    (Path, "write_text"),
    (Path, "rename"),
    (Path, "replace"),
    (atomic, "remove"),
    (atomic, "sync_tree"),
    (atomic, "sync_folder"),
    (checkpoint, "save_file"),
    (run_folder, "append_record"),
    (run_folder, "sync_file"),
    (Actor, "save"),
    (Critic, "save"),
]


class DiskCalls:
    """Calls `act` with number and name of each such call before it happens."""

    def __init__(self, patch: pytest.MonkeyPatch, act: Callable[[int, str], None]) -> None:
        self.count, self.act = 0, act
        for owner, name in DISK_CALLS:
            patch.setattr(owner, name, self._wrapped(getattr(owner, name), name))

    def _wrapped(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            self.act(self.count, name)
            return function(*args, **kwargs)

        return call
