"""`minirlhf ensembles`: a figure and its numbers; what ships is what is said of it."""

import json
from pathlib import Path
from statistics import mean

import pytest
from typer.testing import CliRunner

from minirlhf.cli import app
from minirlhf.widgets.ensembles import LINES, ensembles_figure
from minirlhf.worlds.cafe import ensembles as cafe
from minirlhf.worlds.exact import ensembles as exact
from minirlhf.worlds.exact.overoptimisation import Curve


def test_it_writes_a_figure_and_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def curves(actor: object, pairs: int, members: int, *, seed: int) -> dict[str, Curve]:
        asked.append((pairs, members, seed))
        gold = [1.0, 2.0 + seed, 1.0 / 3.0]
        return {way: Curve([1.0, 0.5, 0.1], [0.1, 1.0, 3.0], [0.0] * 3, gold) for way in LINES}

    def runs(actor: object, members: int, **settings: int) -> dict[str, list[cafe.Moment]]:
        asked.append((members, settings["seed"], settings["kl_coef"]))
        return {way: [cafe.Moment(1, 0.0, 1.5, 0.0), cafe.Moment(2, 1.0, -1.0, 9.0)]
                for way in cafe.WAYS}  # fmt: skip

    monkeypatch.setattr(exact, "compare_ensembles", curves)
    monkeypatch.setattr(cafe, "compare_ensembles", runs)
    result = CliRunner().invoke(app, ["ensembles", "--out", str(tmp_path / "new"), "--seeds", "2"])
    assert result.exit_code == 0, (result.output, result.exception)
    assert asked == [
        (100, 5, 0), (100, 5, 1), (1000, 5, 0), (1000, 5, 1), (3, 0, 0.0), (3, 1, 0.0),
    ]  # fmt: skip
    assert "exact world, 100 pairs, min: gold peaks at 2.50 and ends at 0.33" in result.output
    assert "café, mean: gold peaks at 1.50 and ends at −1.00" in result.output
    assert (tmp_path / "new" / "ensembles.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((tmp_path / "new" / "ensembles.json").read_text(encoding="utf-8"))
    assert numbers["exact"]["1000"]["mean"][1]["gold"] == [1.0, 3.0, 0.33333]
    assert numbers["cafe"]["min"][1][1]["kl"] == 9.0 and numbers["made_with"]["torch"]


def test_a_way_without_a_line_is_refused() -> None:
    with pytest.raises(ValueError, match="no line for max; wanted one model, mean"):
        ensembles_figure({"exact": {}, "cafe": {"max": []}})


def test_what_ships_is_what_is_said_of_it() -> None:
    """Ends differ at 1,000 pairs each, and not at 100; no way saves the café from β = 0."""
    file = Path(__file__).parent.parent / "assets" / "exact" / "ensembles.json"
    assert file.stat().st_size < 150_000
    numbers = json.loads(file.read_text(encoding="utf-8"))
    assert numbers["command"] == "minirlhf ensembles --out assets/exact"
    assert {len(seeds) for ways in numbers["exact"].values() for seeds in ways.values()} == {3}

    def ends(pairs: str) -> dict[str, float]:
        ways = numbers["exact"][pairs].items()
        return {way: mean(curve["gold"][-1] for curve in seeds) for way, seeds in ways}

    many, few = ends("1000"), ends("100")
    assert many["min"] - 0.5 > many["mean"] > many["one model"] + 0.5
    assert many["one model of all pairs"] < many["one model"]  # it is no matter of more pairs
    assert abs(few["min"] - few["one model"]) < 0.3 and abs(few["mean"] - few["one model"]) < 0.3
    late = {
        way: mean(moment["gold"] for run in runs for moment in run[-10:])
        for way, runs in numbers["cafe"].items()
    }
    peak = {
        way: mean(max(moment["gold"] for moment in run) for run in runs)
        for way, runs in numbers["cafe"].items()
    }
    assert late["one model"] < min(late["mean"], late["min"]) - 0.5
    assert all(late[way] < peak[way] - 1.0 for way in late)
