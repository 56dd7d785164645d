"""The index of confusions in TEACHING.md, from `confusions/NN.tsv`: run this file to renew it."""

import csv
from pathlib import Path

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent.parent / "notebooks"
PAGE = NOTEBOOKS / "TEACHING.md"
BEGIN, END = "<!-- begin: confusions -->", "<!-- end: confusions -->"


def table() -> str:
    """One line a confusion, by notebook."""
    lines = ["| learners ask about | seen in | notebook | met by the cells |", "|---|---|---|---|"]
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        number = path.name[:2]
        with (HERE / "confusions" / f"{number}.tsv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                met = ", ".join(f"`{cell.strip()}`" for cell in row["met by"].split(","))
                confusion = row["confusion"].replace("|", "\\|")
                lines.append(
                    f"| {confusion} | {row['seen in']} | [{number}]({path.name}) | {met} |"
                )
    return "\n".join(lines)


def renewed(page: str) -> str:
    """The page with the table as it should be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
