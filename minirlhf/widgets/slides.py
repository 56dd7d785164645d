"""Slides from a notebook, as one HTML page that works from the disk.

What a room can read in a glance goes on the slides: headings, questions, equations, tables, lists,
short code under an equation, pictures with their captions, exercises without their solutions. The
running prose and the quiz's answers become the speaker's notes (key N). Pictures and printed
results are those that the notebook holds, so nothing is run.
"""

import base64
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nbconvert.filters.markdown_mistune import MarkdownWithMath

from minirlhf.atomic import write_text
from minirlhf.notebook_files import read_notebook
from minirlhf.widgets.export import POLICY, Renderer, title_of
from minirlhf.widgets.live import FOLDER

LINES = 13  # that fit on a slide
CODE_LINES = 12  # longer code stays in the notebook
CAPTION = 260  # letters of a caption on the slide; the rest is for the notes
PICTURE = LINES - 1  # lines that a picture takes: nearly all
NOT_SHOWN = ("import", "setup")
ANSWER = re.compile(r"<details><summary>Answer</summary>\n\n(.*?)\n\n</details>", re.DOTALL)
FOLD = re.compile(r"<details>.*?</details>", re.DOTALL)

Kind = Literal["heading", "shown", "equation", "caption", "note"]


@dataclass
class Block:
    """A piece of a slide or of its notes, as HTML.

    Attributes:
        kind: what it is; "note" goes to the notes.
        body: HTML.
        lines: that it takes on a slide, roughly.
        lead: of a note, its first sentences, for a slide that would show nothing else.
    """

    kind: Kind
    body: str
    lines: int = 1
    lead: str = ""


@dataclass
class Slide:
    """One slide: its heading, what is shown, and the speaker's notes."""

    heading: str
    shown: list[Block] = field(default_factory=list)
    notes: list[Block] = field(default_factory=list)

    @property
    def lines(self) -> int:
        """How full it is."""
        return sum(block.lines for block in self.shown)


def save_slides(notebook: str | Path, out: str | Path) -> int:
    """Write a notebook's slides as one HTML page; returns how many slides.

    Args:
        notebook: the .ipynb file; it is not changed and not run.
        out: the page; replaced if it is there.

    Raises:
        ValueError: the file is no notebook.
        OSError: the file cannot be read, or the page not written.
    """
    path, target = Path(notebook), Path(out)
    node = read_notebook(path)
    slides = without_empty_ones(slides_of(node, path))
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, page(slides, title_of(node, path)))
    return len(slides)


def slides_of(node: Any, path: Path) -> list[Slide]:
    """The blocks of a notebook, dealt out to slides."""
    slides: list[Slide] = []
    section = Block("heading", "")  # to which the text goes back after an exercise
    after_exercise = after_equation = False
    for cell in node.cells:
        name = str(cell.get("id", ""))
        if name in NOT_SHOWN or name.endswith("-help"):
            continue
        if cell.cell_type == "markdown":
            blocks = list(prose_blocks(cell.source, path))
        else:
            blocks = list(code_blocks(cell, after_equation=after_equation))
        if not blocks:
            continue
        is_exercise = name.startswith("ex-")
        if after_exercise and not is_exercise and blocks[0].kind != "heading":
            place(slides, section)
        for block in blocks:
            place(slides, block)
            if block.kind == "heading" and not is_exercise:
                section = block
        after_exercise, after_equation = is_exercise, blocks[-1].kind == "equation"
    return slides


def without_empty_ones(slides: list[Slide]) -> list[Slide]:
    """A slide with notes alone shows their first sentences, or, if they have none, goes."""
    kept: list[Slide] = []
    for slide in slides:
        lead = next((note.lead for note in slide.notes if note.lead), "")
        if not slide.shown and lead:
            slide.shown.append(Block("caption", lead))
        if slide.shown or (slide.notes and not kept):
            kept.append(slide)
        elif kept:
            kept[-1].notes += slide.notes
    return kept


def place(slides: list[Slide], block: Block) -> None:
    """Put a block on the last slide, or on a new one where it does not fit."""
    if block.kind == "heading" or not slides:
        heading = block.body if block.kind == "heading" else ""
        slides.append(Slide(heading))
        if block.kind == "heading":
            return
    last = slides[-1]
    if block.kind == "note":
        last.notes.append(block)
        return
    if last.shown and last.lines + block.lines > LINES and block.kind != "caption":
        slides.append(last := Slide(last.heading))
    last.shown.append(block)


def prose_blocks(source: str, path: Path) -> Iterator[Block]:
    """Headings, equations, tables, lists and marked paragraphs are shown; the rest are notes."""
    is_task = source.startswith("### Exercise: ")
    quiz_answers = ANSWER.findall(source)
    for part in re.split(r"\n{2,}(?![ \t])", FOLD.sub("", source).strip()):
        if not part.strip():
            continue
        body = rendered(part, path)
        if part.startswith("#"):
            yield Block("heading", body)
        elif part.startswith("$$"):
            yield Block("equation", body, 3)
        elif part.startswith("*What to "):
            short, rest = cut(part)
            yield Block("caption", rendered(short, path), 0)
            if rest:
                yield Block("note", rendered(rest, path))
        elif is_task or part.startswith(("|", "- ", "* ", "> ", "**", "1. ", "*Difficulty", "```")):
            rows = sum(1 + len(line) // 95 for line in part.splitlines())
            yield Block("shown", body, rows + 1)
        else:
            yield Block("note", body, lead=rendered(cut(part)[0], path))
    for answer in quiz_answers:
        yield Block("note", rendered(f"*Answer.* {answer}", path))


def cut(caption: str) -> tuple[str, str]:
    """The first sentences of a caption, up to `CAPTION` letters, and the rest."""
    sentences = re.split(r"(?<=[.;:!?])\s+(?=\S)", " ".join(caption.split()))
    used = 1
    while used < len(sentences) and len(" ".join(sentences[: used + 1])) <= CAPTION:
        used += 1
    return " ".join(sentences[:used]), " ".join(sentences[used:])


def code_blocks(cell: Any, *, after_equation: bool) -> Iterator[Block]:
    """Short code below an equation, stubs of exercises, pictures, and short printed results."""
    source, name = cell.source.strip(), str(cell.get("id", ""))
    lines = source.count("\n") + 1
    if lines <= CODE_LINES and (after_equation or name.startswith("ex-")):
        yield Block("shown", f"<pre class='code'>{html.escape(source)}</pre>", lines + 1)
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            words = html.escape(data.get("text/plain", ""), quote=True)
            picture = f"<img alt='{words}' src='data:image/png;base64,{_png(data)}'>"
            yield Block("shown", picture, PICTURE)
        elif output.get("name") == "stdout" and not name.startswith("ex-"):
            text = output.text.rstrip()
            printed = text.count("\n") + 1
            fits = printed <= CODE_LINES and max(map(len, text.splitlines()), default=0) <= 100
            # for the notes: "all agree", and the quiz's answers
            fits = fits and not (printed == 1 and "assert " in source) and name != "quiz-check"
            body = f"<pre>{html.escape(text)}</pre>"
            yield Block("shown" if fits else "note", body, printed + 1)


def _png(data: Any) -> str:
    raw = data["image/png"]
    joined = raw if isinstance(raw, str) else "".join(raw)
    return base64.b64encode(base64.b64decode(joined)).decode()


def rendered(markdown: str, path: Path) -> str:
    """HTML of a piece of Markdown, formulas drawn, pictures put into the page."""
    renderer = Renderer(escape=False, attachments={}, path=str(path.resolve().parent))
    return str(MarkdownWithMath(renderer=renderer).render(markdown))


def page(slides: list[Slide], title: str) -> str:
    """The whole page."""
    script = (FOLDER / "js" / "slides.js").read_text("utf-8")
    style = (FOLDER / "js" / "slides.css").read_text("utf-8")
    sections = "\n".join(map(section, slides))
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<meta http-equiv='Content-Security-Policy' content=\"{POLICY}\">"
        f"<meta name='viewport' content='width=device-width'><title>{html.escape(title)}</title>"
        f"<style>{style}</style></head><body>\n{sections}\n<script>{script}</script></body></html>\n"
    )


def section(slide: Slide) -> str:
    """One slide as HTML."""
    shown = "".join(f"<div class='{block.kind}'>{block.body}</div>" for block in slide.shown)
    notes = "".join(block.body for block in slide.notes)
    aside = f"<aside>{notes}</aside>" if notes else ""
    kind = "title" if slide.heading.lstrip().startswith("<h1") else "slide"
    return f"<section class='{kind}'><header>{slide.heading}</header>{shown}{aside}</section>"
