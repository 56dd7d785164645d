"""A real headless Chromium for the widget tests, and widgets on pages of their own.

Most tests open a widget on a static page (no server: fast, and it is also what `export` writes);
`test_in_jupyterlab.py` opens every widget in a real JupyterLab. Chromium comes from the system
(Debian: apt-get install chromium). Where there is none the tests skip and say so, unless
MINIRLHF_BROWSER=required, which `.ci/run` sets: there a missing browser is a failure.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from minirlhf.widgets.live import LiveWidget
from minirlhf.widgets.static_page import save_page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
]

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of a worker."""
    if CHROMIUM is None:
        problem = "no Chromium here: install it (Debian: apt-get install chromium)"
        if os.environ.get("MINIRLHF_BROWSER") == "required":
            pytest.fail(problem)
        pytest.skip(problem)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


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
