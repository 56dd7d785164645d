"""What all pictures share: a figure that shows itself, describes itself, and uses safe colours.

Built on `matplotlib.figure.Figure` alone. There is no pyplot, so no hidden "current figure", and
notebooks need no `%matplotlib` line. The background is white, so it reads on a dark page too.
"""

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

# Okabe & Ito 2008, "Color universal design": told apart by colour-blind eyes, and in grey print
BLUE, SKY, ORANGE, VERMILION = "#0072B2", "#56B4E9", "#E69F00", "#D55E00"
GREEN, PURPLE = "#009E73", "#CC79A7"
INK, GREY, PALE = "#1a1a1a", "#6b6b6b", "#b8b8b8"

DOTS_PER_INCH = 130  # of the stored image
SHOWN_PER_INCH = 92  # CSS pixels; fewer than stored, so that letters stay sharp
COLOURS = 192  # in the stored palette: half the bytes, and no difference to the eye


class Picture(Figure):
    """A matplotlib figure that Jupyter shows without any set-up.

    Attributes:
        alt: what is to be seen, in words; also what `print` and a text-only viewer give.
    """

    def __init__(self, width: float, height: float, alt: str) -> None:
        super().__init__(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
        self.alt = alt

    def __repr__(self) -> str:
        """The description in words, the same on every machine."""
        return self.alt

    __str__ = __repr__

    def png(self) -> bytes:
        """The picture as a PNG file; the same bytes each time."""
        full, small = io.BytesIO(), io.BytesIO()
        self.savefig(full, format="png", dpi=DOTS_PER_INCH)
        image = Image.open(full).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        image.save(small, format="png", optimize=True)
        return small.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the PNG file."""
        Path(path).write_bytes(self.png())

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        """What Jupyter shows: the image, its width on the page and its alternative text."""
        width = round(self.get_figwidth() * SHOWN_PER_INCH)
        return self.png(), {"alt": self.alt, "width": width}


def number(x: float) -> str:
    """Two decimals with a real minus sign, and never "−0.00"."""
    text = f"{x:.2f}"
    return "0.00" if float(text) == 0.0 else text.replace("-", "−")
