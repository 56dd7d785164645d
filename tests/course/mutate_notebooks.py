"""Break the library and see each notebook fail: `python tests/course/mutate_notebooks.py`.

Each mutation of `mutations/NN.json` is a cell put after the notebook's `setup`. The notebook then
runs in a fresh kernel; it must stop with an error. Results go to `mutations/results.json`, with a
date. Arguments: two-digit numbers of notebooks; none = all. About half a minute each.
"""

import datetime
import json
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
RESULTS = HERE / "mutations" / "results.json"
NOTEBOOKS = {p.name[:2]: p for p in sorted((HERE.parent.parent / "notebooks").glob("*.ipynb"))}


def failure(path: Path, code: str) -> str | None:
    """The last line of the error with which the notebook stops; None if it runs through."""
    notebook = nbformat.read(path, as_version=4)
    at = next(n for n, cell in enumerate(notebook.cells) if cell.id == "setup") + 1
    notebook.cells.insert(at, nbformat.v4.new_code_cell(code, id="mutation"))
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        failed = next(c for c in notebook.cells if any("ename" in o for o in c.get("outputs", [])))
        if failed.id == "mutation":
            raise ValueError(f"{path.name}: the mutation itself fails: {error}") from None
        return f"cell {failed.id}: {error.ename}"
    return None


def main(numbers: list[str]) -> int:
    """Try the mutations of these notebooks; 1 if one was not noticed."""
    missed = 0
    for number in numbers or NOTEBOOKS:
        mutations = json.loads((HERE / "mutations" / f"{number}.json").read_text("utf-8"))
        results = {}
        for name, code in mutations.items():
            seen = failure(NOTEBOOKS[number], code)
            missed += seen is None
            print(f"{number} {name}: {seen or 'NOT NOTICED'}", flush=True)  # noqa: T201
            results[name] = {"red": seen is not None, "by": seen, "code": code}
        everything = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
        everything["date"] = datetime.date.today().isoformat()
        everything.setdefault("notebooks", {})[number] = results
        RESULTS.write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
