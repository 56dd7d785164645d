"""Buttons that answer while a cell runs: `monitor.wait()` keeps the kernel's main thread busy.

JupyterLab ≥ 4.4 sends what widgets say to a thread of its own in the kernel (a "subshell" of
ipykernel ≥ 7), which is free while a cell runs. But ipykernel 7.4 sends an answer to the thread
from which the widget spoke last, and what no cell began counts as the main thread's: after the
first step that a background run shows, every click waits for the end of the cell.

Left out: kernels and front ends without subshells. There a click is heard when the cell ends, and
the notebook's own stop button ends `wait()` and the run at once.
"""

from typing import Any

from minirlhf.widgets.live import LiveWidget

ROUTE = "_reply_subshell_for"  # ipykernel 7.4: (data, the browser's subshell) → whose turn it is


def hear_while_busy(widget: LiveWidget) -> None:
    """Let the browser choose the thread that hears it; its messages no longer wait for cells.

    The widget's handlers must be safe to call from any thread. Nothing happens without a kernel.
    """
    comm = getattr(widget, "comm", None)
    if hasattr(comm, ROUTE):
        setattr(comm, ROUTE, _as_the_browser_wishes)


def _as_the_browser_wishes(_data: Any, subshell: str | None) -> str | None:
    return subshell
