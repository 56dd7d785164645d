"""What all live widgets share: their own JavaScript, their words, and a picture without either.

A widget is a Python class with traits, a `.js` file that draws them and a `.css` file. There is no
build step: `core.js` is put in front of the widget's file. JavaScript computes from the real
tensors it is given, so sliders go on working in an exported page that has no Python behind it.
Where no JavaScript runs, the page shows the widget's static picture and its description.
"""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from minirlhf.widgets.picture import Picture

FOLDER = Path(__file__).parent
LANGUAGE = "en"


def script(*names: str) -> str:
    """The JavaScript of a widget: `core.js`, then these files of `js/`, as one module."""
    return "\n".join((FOLDER / "js" / f"{n}.js").read_text("utf-8") for n in ("core", *names))


def style(*names: str) -> str:
    """The CSS of a widget: `core.css`, then these files of `js/`."""
    return "\n".join((FOLDER / "js" / f"{n}.css").read_text("utf-8") for n in ("core", *names))


@cache
def strings(language: str = LANGUAGE) -> dict[str, str]:
    """Every word that a widget shows, by key; a new language is a new file in `strings/`.

    Raises:
        ValueError: there is no such language.
    """
    path = FOLDER / "strings" / f"{language}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json")))
        raise ValueError(f"no strings for language {language!r}; there are: {known}")
    table: dict[str, str] = json.loads(path.read_text("utf-8"))
    return table


class LiveWidget(anywidget.AnyWidget):
    """A widget that also shows something where no JavaScript runs.

    A subclass sets `_esm = script("its_file")`, `_css = style("its_file")`, and its `prefix`, with
    which its words in `strings/en.json` begin.
    """

    prefix = ""
    _strings = traitlets.Dict().tag(sync=True)

    def __init__(self, *, language: str = LANGUAGE, **traits: Any) -> None:
        table = strings(language)
        own = {k: v for k, v in table.items() if k.startswith((f"{self.prefix}.", "all."))}
        super().__init__(_strings=own, **traits)

    def picture(self) -> Picture:
        """The widget as a static picture, whose `alt` says in words what is to be seen."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """The description in words: the same on every machine, so that outputs can be compared."""
        return self.picture().alt

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The live view, and beside it the picture for viewers without JavaScript."""
        live, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        picture = self.picture()
        png, about = picture._repr_png_()
        data = {**live, "text/plain": picture.alt, "image/png": base64.b64encode(png).decode()}
        return data, {**metadata, "image/png": about}
