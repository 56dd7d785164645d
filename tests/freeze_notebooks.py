"""Run notebooks and make them ready to commit: `python tests/freeze_notebooks.py [NOTEBOOK ...]`.

Without arguments, all of notebooks/. The cells of exercises are written anew from
`minirlhf/exercises`; then each notebook is executed in a fresh kernel of this Python, in order, and
saved only if no cell failed. What would differ from run to run without meaning anything (widget
state, timings, version numbers of Python) is taken out, so that the difference shown by git is what
you changed.
"""

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from minirlhf.exercises.cells import refresh

ROOT = Path(__file__).resolve().parent.parent
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
SECONDS_PER_CELL = 600
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def run(notebook: Any, folder: Path) -> None:
    """Execute all cells in a fresh kernel; a failing cell raises CellExecutionError."""
    notebook.metadata["kernelspec"] = KERNEL
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=True,  # without it, widgets in cells would make the run fail
    )
    client.execute()


def freeze(notebook: Any) -> None:
    """Take out what differs from run to run, or would not show on other machines."""
    notebook.metadata = {
        "kernelspec": KERNEL,
        "language_info": {
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
        },
    }
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)
            for output in cell.outputs:
                # a picture or text stands in: a fresh clone shows no live widget before a run
                data = output.get("data", {})
                if len(data) > 1:
                    data.pop(WIDGET_VIEW, None)


def merge_streams(outputs: list[Any]) -> list[Any]:
    """Join printed text that arrived in pieces: where it was cut is a matter of timing."""
    merged: list[Any] = []
    for output in outputs:
        previous = merged[-1] if merged else None
        if (
            output.output_type == "stream"
            and previous is not None
            and previous.output_type == "stream"
            and previous.name == output.name
        ):
            previous.text += output.text
        else:
            merged.append(output)
    return merged


def main(names: list[str]) -> int:
    """Run and freeze the named notebooks, or all; 1 if one of them failed."""
    paths = [Path(name).resolve() for name in names] or sorted(ROOT.glob("notebooks/*.ipynb"))
    failed = []
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        refresh(notebook)
        try:
            run(notebook, path.parent)
        except Exception as error:
            print(f"{path.name}: not saved\n{error}", file=sys.stderr)  # noqa: T201
            failed.append(path)
            continue
        freeze(notebook)
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
        size = path.stat().st_size
        print(f"{path.name}: run and frozen, {size / 1000:.0f} kB")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
