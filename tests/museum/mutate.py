"""Run ordinary tests with a museum bug switched on before they import anything.

    python tests/museum/mutate.py '{"flipped_k3": ["tests/test_kl.py"]}'

Prints one JSON line for each bug; the name "" stands for no bug. All in one process, since torch
takes seconds to import: between two runs the test modules are forgotten, so that each run imports
them anew and takes its `from minirlhf import …` from the package as it is then.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from minirlhf import museum

TESTS = Path(__file__).parent.parent


class Seen:
    """A pytest plugin that remembers which tests failed, and at what."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.failed[report.nodeid] = crash.message if crash else str(report.longrepr)
        self.passed += report.passed and report.when == "call"


def forget_the_tests() -> None:
    """Drop every module of tests/ but this one."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name != "__main__" and TESTS in Path(file).parents:
            del sys.modules[name]


def run(bug: str, tests: list[str], *options: str) -> dict[str, Any]:
    """Run these tests with this bug."""
    forget_the_tests()
    seen = Seen()
    quiet = ["-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", *options]
    switch = museum.switched_on(bug) if bug else contextlib.nullcontext()
    with switch, contextlib.redirect_stdout(sys.stderr):
        code = pytest.main([*quiet, *tests], plugins=[seen])
    return {"bug": bug, "exit": int(code), "passed": seen.passed, "failed": seen.failed}


if __name__ == "__main__":
    for bug, tests in json.loads(sys.argv[1]).items():
        sys.stdout.write(json.dumps(run(bug, tests, *sys.argv[2:])) + "\n")
        sys.stdout.flush()
