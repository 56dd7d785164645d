"""The widgets of EXAMPLES, made here instead of in a notebook's kernel."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from browser.test_in_jupyterlab import EXAMPLES, SETUP

from minirlhf.widgets.live import LiveWidget


@contextmanager
def examples() -> Iterator[Callable[[str], LiveWidget]]:
    """Gives a function that makes the widget of an entry of EXAMPLES, as its cells would."""
    names: dict[str, Any] = {}
    before = os.environ.get("MINIRLHF_PREDICTIONS")
    exec(SETUP, names)

    def make(name: str) -> LiveWidget:
        *lines, last = EXAMPLES[name].strip().rsplit("\n\n", 1)
        exec("\n".join(lines), names)
        widget: LiveWidget = eval(last, names)
        if name == "TrainingMonitor":
            widget.wait()  # type: ignore[attr-defined]  # curves to look at
        return widget

    yield make
    del os.environ["MINIRLHF_PREDICTIONS"]  # set by SETUP
    if before is not None:
        os.environ["MINIRLHF_PREDICTIONS"] = before
