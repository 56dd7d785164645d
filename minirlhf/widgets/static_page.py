"""One HTML page with live widgets: it works from the disk, without network, kernel or server.

    save_page("microscope.html", TokenMicroscope(rollout, tokenizer), title="One response")

Widget traits become JSON inside the page and `js/static_page.js` draws them. Nothing in the page is
made by putting data into markup: text is escaped, and JSON cannot end its script element.
"""

import html
import json
from pathlib import Path
from typing import Any

from ipywidgets import Widget

from minirlhf.widgets.live import FOLDER, LiveWidget

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"

PAGE = """<!doctype html>
<html lang="en" data-theme="{theme}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{views}
<script type="{state_type}">{state}</script>
<script>{script}</script>
</body>
</html>
"""
BODY = "body { margin: 16px; font: 15px/1.5 system-ui, 'DejaVu Sans', sans-serif; }"
# the names and values of JupyterLab's dark theme
DARK = """
:root { color-scheme: dark; --jp-layout-color0: #111; --jp-layout-color1: #212121;
  --jp-ui-font-color1: rgba(255,255,255,.87); --jp-ui-font-color2: rgba(255,255,255,.7);
  --jp-border-color1: #616161; --jp-brand-color1: #2196f3; }
body { background: #111; color: #ddd; }
"""


def page(*widgets: LiveWidget, title: str, dark: bool = False) -> str:
    """The page as text.

    Args:
        widgets: shown below one another.
        title: of the page; text, not markup.
        dark: JupyterLab's dark colours instead of the light ones.
    """
    views = [f'<script type="{VIEW}">{as_json({"model_id": w.model_id})}</script>' for w in widgets]
    return PAGE.format(
        theme="dark" if dark else "light",
        title=html.escape(title),
        style=BODY + (DARK if dark else ""),
        views="\n".join(views),
        state_type=STATE,
        state=as_json({"version_major": 2, "version_minor": 0, "state": _states(widgets)}),
        script=shim(),
    )


def save_page(
    path: str | Path, *widgets: LiveWidget, title: str = "minirlhf", dark: bool = False
) -> None:
    """Write the page to a file; see `page`."""
    Path(path).write_text(page(*widgets, title=title, dark=dark), encoding="utf-8")


def shim() -> str:
    """The JavaScript that shows widgets on a page without Jupyter."""
    return (FOLDER / "js" / "static_page.js").read_text("utf-8")


def _states(widgets: tuple[LiveWidget, ...]) -> dict[str, Any]:
    states: dict[str, Any] = Widget.get_manager_state(widgets=list(widgets))["state"]
    return states


def as_json(value: object) -> str:
    """JSON that cannot end the script element in which it stands."""
    return json.dumps(value).replace("<", "\\u003c")
