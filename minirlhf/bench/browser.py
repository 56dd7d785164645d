"""A headless Chromium, for what only a browser can tell.

Playwright drives it. Both are optional: where one is missing, `NoBrowser` says which.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)


class NoBrowser(Exception):
    """No browser can be driven here; the message says what is missing."""


def chromium_path() -> str | None:
    """The system's Chromium: what the variable CHROMIUM names, or the first one on the path."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def chromium() -> Iterator["Browser"]:
    """The system's Chromium, or Playwright's own where the system has none.

    Raises:
        NoBrowser: there is no Playwright or no Chromium, or it does not start.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise NoBrowser("Playwright is not installed (pip install playwright)") from None
    path = chromium_path()
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        except Error as error:
            if path is None:
                problem = "no Chromium here: install it (Debian: apt-get install chromium)"
            else:
                problem = f"{path} does not start: {error.message.splitlines()[0]}"
            raise NoBrowser(problem) from None
        try:
            yield browser
        finally:
            browser.close()
