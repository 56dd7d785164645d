"""A real JupyterLab with one notebook open in it, driven through a headless Chromium.

    with JupyterServer(folder) as server:
        lab = LabPage(browser, server, "widgets.ipynb")
        lab.run_all_cells()
        assert lab.problems() == []
        lab.kernel_value("widget.beta")

The server is private: all it writes (settings, kernels' files, checkpoints) is in one temporary
folder. Cells are run by JupyterLab's own command and outputs are read from its own model, so that
nothing depends on menus; what widgets show is asserted on the page itself.
"""

import ast
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import nbformat
from playwright.sync_api import Browser, ConsoleMessage, Page

ROOT = Path(__file__).parents[2]
TOKEN = "token-of-the-tests"
SECONDS_TO_START = 90
SECONDS_TO_RUN = 240
HARMLESS = ("favicon", "ResizeObserver loop")  # lines of the console that no notebook causes
WIDGET_FAILED = r"^\s*(Error displaying widget|Failed to load model class|Error creating widget)"
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    # every cell is in the page, seen or not
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none", "scrollPastEnd": False},
}
NOTEBOOK = "window.jupyterapp.shell.currentWidget"
KERNEL = f"{NOTEBOOK}.context.sessionContext.session.kernel"


def write_notebook(path: Path, cells: list[str]) -> None:
    """A notebook of these code cells, not yet run."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    # a notebook that names no kernel opens with a question about it
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)


class JupyterServer:
    """A JupyterLab on a free port, on for the length of a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        own = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="jupyterlab-")))
        log = self._stack.enter_context((own / "server.log").open("w+"))
        self.process = subprocess.Popen(
            self._command(own), env=self._environment(own), stdout=log, stderr=subprocess.STDOUT
        )
        self._stack.callback(self._stop)
        deadline = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                said = log.read()[-3000:]
                self._stack.close()
                raise RuntimeError(f"JupyterLab did not start:\n{said}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _command(self, own: Path) -> list[str]:
        overrides = own / "config/labconfig/default_setting_overrides.json"
        overrides.parent.mkdir(parents=True)
        overrides.write_text(json.dumps(SETTINGS))
        # this Python's environment is the one whose share/jupyter holds the widget manager
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--ip=127.0.0.1", f"--port={self.port}", "--ServerApp.port_retries=0"),
            *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self.folder}"),
            *(f"--FileCheckpoints.checkpoint_dir={own}/checkpoints", "--expose-app-in-browser"),
        ]

    def _environment(self, own: Path) -> dict[str, str]:
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **{"OMP_WAIT_POLICY": "PASSIVE"},
            **os.environ,
            **{name: str(own / folder) for name, folder in folders.items()},
            **{"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": os.pathsep.join(paths)},
        }

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{self.url}/api/status?token={TOKEN}", timeout=2).close()
            return True
        return False

    def _stop(self) -> None:
        """Ask it to end, which ends its kernels too; then insist."""
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(f"{self.url}/api/shutdown", method="POST", headers=headers)
        with contextlib.suppress(OSError):
            urllib.request.urlopen(request, timeout=5).close()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait(10)


class LabPage:
    """One notebook, open in one page; `page` is Playwright's.

    Args:
        browser: Playwright's Chromium.
        server: where the notebook is.
        notebook: its path inside the server's folder.
    """

    def __init__(self, browser: Browser, server: JupyterServer, notebook: str) -> None:
        self.context = browser.new_context(viewport={"width": 1200, "height": 900})
        self.page: Page = self.context.new_page()
        self.console: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.console.append(f"page error: {error}"))
        # /doc/ is the notebook alone, without side bars; reset: no saved layout
        self.page.goto(f"{server.url}/doc/tree/{quote(notebook)}?reset&token={TOKEN}")
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.content?.widgets", timeout=60_000
        )
        self.page.evaluate(
            f"""() => {{ const ready = async () => {{ await window.jupyterapp.restored;
            const panel = {NOTEBOOK}; await panel.context.ready; await panel.revealed;
            await panel.context.sessionContext.ready; await {KERNEL}.info; }};
            const late = (_, fail) => setTimeout(() => fail(new Error('no kernel')), 60000);
            return Promise.race([ready(), new Promise(late)]); }}"""
        )

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(words in message.text for words in HARMLESS):
            self.console.append(message.text)

    def close(self) -> None:
        """Close the page; the kernel ends with the server."""
        self.context.close()

    def run_all_cells(self) -> None:
        """Run all cells and wait for the last, and for what widgets still say to the kernel."""
        self.start_all_cells()
        self.wait_for_cells()

    def start_all_cells(self) -> None:
        """Run all cells, but do not wait for them."""
        self.page.evaluate(
            """() => { window.ran = null;
            window.jupyterapp.commands.execute('notebook:run-all-cells')
              .then(() => { window.ran = 'done'; }, (no) => { window.ran = String(no); }); }"""
        )

    def wait_for_cells(self) -> None:
        """Wait for the last cell that `start_all_cells` began, and for what widgets still say."""
        self.page.wait_for_function("() => window.ran", timeout=SECONDS_TO_RUN * 1000)
        self.wait_idle()

    def wait_idle(self, quiet_ms: int = 400) -> None:
        """Wait until the kernel has been idle for a while: messages of widgets are work, too."""
        self.page.evaluate("() => { window.idleSince = 0; }")
        self.page.wait_for_function(
            f"""(quiet) => {{ const now = performance.now();
            window.idleSince = {KERNEL}.status === 'idle' ? window.idleSince || now : 0;
            return window.idleSince > 0 && now - window.idleSince > quiet; }}""",
            arg=quiet_ms,
            timeout=SECONDS_TO_RUN * 1000,
        )

    def cell_count(self) -> int:
        """Cells in the notebook now."""
        return int(self.page.evaluate(f"{NOTEBOOK}.content.widgets.length"))

    def problems(self) -> list[str]:
        """Cells that failed, widgets that could not be shown, errors of the browser's console.

        A widget whose JavaScript fails leaves no error in its cell: only the console tells.
        """
        failed: list[dict[str, Any]] = self.page.evaluate(
            f"""{NOTEBOOK}.content.widgets.flatMap((cell) => cell.model.outputs?.toJSON() ?? [])
            .filter((output) => output.output_type === 'error')"""
        )
        unshown: list[str] = self.page.evaluate(
            """(bad) => [...document.querySelectorAll('.jp-OutputArea-output')]
            .map((element) => element.innerText).filter((text) => new RegExp(bad).test(text))""",
            WIDGET_FAILED,
        )
        return [*(f"{o['ename']}: {o['evalue']}" for o in failed), *unshown, *self.console]

    def kernel_run(self, code: str, value: str = "None") -> Any:
        """Run code in the notebook's kernel, in no cell; returns `value`, sent as JSON.

        Raises:
            RuntimeError: the code failed.
        """
        reply = self.page.evaluate(
            f"""async ([code, value]) => {{ const future = {KERNEL}.requestExecute({{ code,
            silent: true, store_history: false, user_expressions: {{ value }} }});
            return (await future.done).content; }}""",
            [code, f"__import__('json').dumps({value})"],
        )
        result = reply.get("user_expressions", {}).get("value", {})
        if reply["status"] != "ok" or result.get("status") != "ok":
            raise RuntimeError(f"{reply.get('evalue')} {result.get('evalue')}")
        return json.loads(ast.literal_eval(result["data"]["text/plain"]))

    def kernel_value(self, expression: str) -> Any:
        """What an expression is in the kernel, as JSON has it."""
        return self.kernel_run("", expression)

    def set_theme(self, name: str) -> None:
        """JupyterLab's own themes: "JupyterLab Light", "JupyterLab Dark"."""
        self.page.evaluate(
            "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })",
            name,
        )
        light = "false" if name.endswith("Dark") else "true"
        self.page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")

    def screenshot(self, path: Path) -> None:
        """The whole notebook in one picture: the window grows to its height first."""
        height = self.page.evaluate(
            """() => { const outer = document.querySelector('.jp-WindowedPanel-outer');
            return Math.ceil(outer.scrollHeight + outer.getBoundingClientRect().top + 40); }"""
        )
        self.page.set_viewport_size({"width": 1200, "height": min(max(600, height), 12_000)})
        self.page.wait_for_timeout(300)
        self.page.screenshot(path=path)
