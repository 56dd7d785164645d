"""Which thread of the kernel hears a widget; the real thing is in test_training_in_jupyterlab."""

from types import SimpleNamespace

import pytest

from minirlhf.widgets.busy_kernel import ROUTE, hear_while_busy


def test_ipykernels_comms_answer_where_the_browser_asked() -> None:
    comm = pytest.importorskip("ipykernel.comm.comm").BaseComm(target_name="test")
    if not hasattr(comm, ROUTE):
        pytest.skip("this ipykernel lets the browser choose by itself")
    comm._reply_subshell_id = None  # the widget spoke last from the main thread, or from a run's
    assert getattr(comm, ROUTE)({}, "browser's") is None
    hear_while_busy(SimpleNamespace(comm=comm))
    assert getattr(comm, ROUTE)({}, "browser's") == "browser's"


def test_nothing_happens_without_a_kernel() -> None:
    hear_while_busy(SimpleNamespace(comm=None))
    hear_while_busy(SimpleNamespace(comm=SimpleNamespace()))
