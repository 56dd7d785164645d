r"""LaTeX formulas as small SVG drawings, so that a page shows them without MathJax or a network.

    svg(r"R_t + \gamma V_{t+1}")

matplotlib's mathtext does the setting: letters, sub- and superscripts, fractions, roots, sums,
accents, Greek. Some commands that it lacks are said in others that it has (`plainer`). It knows no
environments (`aligned`, `cases`) and no macros; what it cannot set stays LaTeX, as code, which is
readable, if not pretty. The colour is that of the text around.
"""

import html
import re
from itertools import islice
from typing import Any

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath, text_to_path

FONT = FontProperties(size=10, math_fontfamily="stix")
LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
POINTS = {Path.MOVETO: 1, Path.LINETO: 1, Path.CURVE3: 2, Path.CURVE4: 3}


def svg(latex: str) -> str:
    """The formula as an inline `<svg>` that sits on the text's line; as `<code>` if it cannot be.

    Args:
        latex: without the dollar signs.
    """
    source = plainer(" ".join(latex.split()))
    try:
        width, height, depth = text_to_path.get_text_width_height_descent(
            f"${source}$", FONT, ismath=True
        )
        outline = TextPath((0, 0), f"${source}$", prop=FONT)
    except (ValueError, RuntimeError):  # mathtext has no such command
        return f"<code>{html.escape(latex.strip())}</code>"
    em = 0.88 * FONT.get_size_in_points()  # a little larger: its letters are small for their size
    style = (
        f"width:{width / em:.3f}em;height:{height / em:.3f}em;vertical-align:{-depth / em:.3f}em"
    )
    box = f"0 {depth - height:.2f} {width:.2f} {height:.2f}"
    return (
        f'<svg role="img" aria-label="{html.escape(" ".join(latex.split()))}" viewBox="{box}"'
        f' style="{style};overflow:visible" fill="currentColor"><path d="{_path(outline)}"/></svg>'
    )


OTHER_WORDS = (
    (r"\\[bB]igg?[lr]?(?![A-Za-z])", ""),  # the size of a bracket
    (r"\\boxed(?![A-Za-z])", ""),
    (r"\\ge(?![A-Za-z])", r"\\geq"),
    (r"\\le(?![A-Za-z])", r"\\leq"),
    (r"\\operatorname(?![A-Za-z])", r"\\mathrm"),
    (r"\\[td]?frac *([0-9a-zA-Z]) *([0-9a-zA-Z])", r"\\frac{\1}{\2}"),  # \frac12
    (r"\\[td]frac(?![A-Za-z])", r"\\frac"),
    (r"\\sqrt +([0-9a-zA-Z])", r"\\sqrt{\1}"),
)
BRACE = r"\underbrace"


def plainer(source: str) -> str:
    """The formula without some commands that mathtext lacks; frames and braces are left out."""
    for pattern, words in OTHER_WORDS:
        source = re.sub(pattern, words, source)
    while BRACE in source:  # \underbrace{what}_{why}: the why goes below the what
        before, _, rest = source.partition(BRACE)
        what, rest = _group(rest)
        why, rest = _group(rest.lstrip().removeprefix("_"))
        source = rf"{before}\underset{{{why}}}{{{what}}}{rest}"
    return source


def _group(source: str) -> tuple[str, str]:
    """What stands in the braces with which this begins, and what follows; "" if it does not."""
    source = source.lstrip()
    depth = 0
    for at, letter in enumerate(source):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            return source[1:at], source[at + 1 :] if at else source
    return "", source


def _path(outline: Path) -> str:
    """SVG's path language; y points down there."""
    if outline.codes is None:
        return ""
    codes: Any = outline.codes
    vertices: Any = outline.vertices
    rows = iter(zip(codes.tolist(), vertices.tolist(), strict=True))
    parts = []
    for code, point in rows:
        if code == Path.CLOSEPOLY:
            parts.append("Z")
            continue
        points = [point, *(p for _, p in islice(rows, POINTS[code] - 1))]
        parts.append(LETTERS[code] + " ".join(f"{x:.2f} {-y:.2f}" for x, y in points))
    return "".join(parts)
