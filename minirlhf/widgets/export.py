"""A notebook as one HTML page that works from the disk: no network, no kernel, live sliders.

    export_notebook("notebooks/00_the_whole_movie.ipynb", "movie.html")

The notebook is run first, because a committed one holds no state of its widgets. nbconvert makes
the page; what it would load from the network is left out or replaced: live widgets run by
`js/static_page.js`, formulas are drawings (`math_svg`), pictures are in the page. A line in its
head (a content security policy) forbids the page every request, so that none can slip in.
Widgets of other packages need a kernel: of those the page shows the picture or text beside them.
"""

import base64
import html
import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jinja2 import pass_context
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from minirlhf.atomic import write_text
from minirlhf.notebook_files import read_notebook
from minirlhf.widgets.math_svg import svg
from minirlhf.widgets.static_page import STATE, VIEW, as_json, shim

SECONDS_PER_CELL = 600
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)
TEMPLATE = (
    "{%- extends 'lab/index.html.j2' -%}"
    "{%- block html_head_js -%}"
    f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    "{%- endblock -%}"
    "{%- block jupyter_widgets -%}{%- endblock -%}"
    "{%- block html_head_js_mathjax -%}{%- endblock -%}"
    "{%- block html_head_js_mermaidjs -%}{%- endblock -%}"
)

CellDone = Callable[[int, int], None]  # code cells that have run, of how many


def export_notebook(
    notebook: str | Path, out: str | Path, *, dark: bool = False, cell_done: CellDone | None = None
) -> None:
    """Run a notebook in a fresh kernel of this Python and write it as one HTML page.

    Args:
        notebook: the .ipynb file; it is not changed.
        out: the page; replaced if it is there, and only once the new one is complete.
        dark: JupyterLab's dark colours.
        cell_done: called before the first and after each code cell.

    Raises:
        ValueError: the file is no notebook, or a cell failed or took over 10 minutes.
        OSError: the file cannot be read, or the page not written.
    """
    path, target = Path(notebook), Path(out)
    node = read_notebook(path)
    run_notebook(node, path, cell_done or (lambda done, total: None))
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, page_of(node, path, dark=dark))


def run_notebook(node: Any, path: Path, cell_done: CellDone) -> None:
    """Run every cell in its own folder and keep the state of all widgets.

    Raises:
        ValueError: says which cell failed, and how.
    """
    code = [i for i, cell in enumerate(node.cells) if cell.cell_type == "code" and cell.source]
    now = 0

    def starts(cell: Any, cell_index: int) -> None:
        nonlocal now
        now = cell_index

    def done(cell: Any, cell_index: int, execute_reply: Any) -> None:
        cell_done(sum(i <= cell_index for i in code), len(code))

    client = NotebookClient(
        node,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.resolve().parent)}},
        store_widget_state=True,
        extra_arguments=["--log-level=ERROR"],
        on_cell_execute=starts,
        on_cell_executed=done,
    )
    cell_done(0, len(code))
    try:
        client.execute()
    except CellExecutionError as error:
        reason = f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        reason = f"it ran longer than {SECONDS_PER_CELL} seconds"
    except DeadKernelError:
        reason = "its kernel ended; was there enough memory?"
    else:
        return
    raise ValueError(f"{path.name}, cell {now + 1} failed: {reason}; no page was written")


def page_of(node: Any, path: Path, *, dark: bool = False) -> str:
    """The page of a notebook that was run with the state of its widgets kept.

    Args:
        node: the notebook; its outputs are changed for the page.
        path: where it came from: pictures in prose are looked for beside it.
        dark: JupyterLab's dark colours.
    """
    states = _live_states(node)
    for cell in node.cells:
        for output in cell.get("outputs", []):
            if VIEW in output.get("data", {}):
                _show_live(output, states)
    node.metadata.pop("widgets", None)
    theme = "dark" if dark else "light"
    exporter = _Exporter(theme=theme, raw_template=TEMPLATE)  # type: ignore[no-untyped-call]
    folder = str(path.resolve().parent)
    resources = {"metadata": {"name": title_of(node, path), "path": folder}}
    text, _ = exporter.from_notebook_node(node, resources=resources)
    body, end, rest = text.rpartition("</body>")
    state = as_json({"version_major": 2, "version_minor": 0, "state": states})
    return f'{body}<script type="{STATE}">{state}</script><script>{shim()}</script>{end}{rest}'


def _live_states(node: Any) -> dict[str, Any]:
    """The widgets that run by themselves, by model id."""
    states = node.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    return {k: dict(s) for k, s in states.items() if s["model_module"] == "anywidget"}


def _show_live(output: Any, states: dict[str, Any]) -> None:
    """Put the widget itself on the page, and its picture for readers without JavaScript."""
    data = output.data
    view = data.pop(VIEW)
    if view["model_id"] not in states:
        return  # what stands beside it is shown
    words = html.escape(data.get("text/plain", ""))
    picture = f"<pre>{words}</pre>"
    if "image/png" in data:
        png = data["image/png"].replace("\n", "")
        picture = f'<img alt="{words}" src="data:image/png;base64,{png}">'
    place = f'<script type="{VIEW}">{as_json({"model_id": view["model_id"]})}</script>'
    output.data = {"text/html": f"{place}<noscript>{picture}</noscript>"}


def title_of(node: Any, path: Path) -> str:
    """The first heading, or the file's name."""
    lines = [line for cell in node.cells for line in cell.source.splitlines()[:1]]
    return next((line[2:].strip() for line in lines if line.startswith("# ")), path.stem)


class Renderer(IPythonRenderer):
    """Markdown as nbconvert has it, with formulas drawn and pictures put into the page."""

    def inline_math(self, body: str) -> str:
        """A formula in a line."""
        return svg(body)

    def block_math(self, body: str) -> str:
        """A formula of its own."""
        return f'<p style="text-align:center">{svg(body)}</p>'

    def latex_environment(self, name: str, body: str) -> str:
        """What cannot be drawn stands as it was typed."""
        return f"<pre>{html.escape(body.strip())}</pre>"

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """A picture beside the notebook goes into the page."""
        file = Path(self.path) / unquote(url)
        if "//" in url:  # on the net: a link, which asks for nothing until it is followed
            return f'<a href="{html.escape(url)}">{text}</a>'
        if ":" not in url and file.is_file():
            kind = mimetypes.guess_type(url)[0] or "image/png"
            url = f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
        return str(super().image(text, url, title))


class _Exporter(HTMLExporter):
    """nbconvert's page with that Markdown."""

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        renderer = Renderer(
            escape=False,
            attachments=context.get("cell", {}).get("attachments", {}),
            path=context.get("resources", {}).get("metadata", {}).get("path", ""),
        )
        return str(MarkdownWithMath(renderer=renderer).render(source))
