"""A real headless Chromium for the widget tests, and widgets on pages of their own.

Most tests open a widget on a static page (no server: fast, and it is also what `export` writes);
`test_in_jupyterlab.py` opens every widget in a real JupyterLab. Chromium comes from the system
(Debian: apt-get install chromium). Where there is none the tests skip and say so, unless
MINIRLHF_BROWSER=required, which `.ci/run` sets: there a missing browser is a failure.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from minirlhf.bench import browser
from minirlhf.widgets.live import LiveWidget
from minirlhf.widgets.static_page import save_page

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of a worker."""
    try:
        with browser.chromium() as found:
            yield found
    except browser.NoBrowser as missing:
        if os.environ.get("MINIRLHF_BROWSER") == "required":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
def show(chromium: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open widgets on a page from the disk, without network; fails on any message of the console.

    `show(widget, dark=False)` gives the Playwright page once the widgets have drawn themselves.
    """
    context = chromium.new_context(viewport={"width": 1100, "height": 800}, offline=True)
    problems: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            problems.append(message.text)

    def open_page(*widgets: LiveWidget, dark: bool = False) -> Page:
        path = tmp_path / "page.html"
        save_page(path, *widgets, title="test", dark=dark)
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-widgets=ready]", timeout=30_000)
        return page

    yield open_page
    context.close()
    assert not problems, problems
