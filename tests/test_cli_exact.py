"""`minirlhf exact`: two figures and the numbers that they show."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minirlhf.cli import app
from minirlhf.cli import exact as command
from minirlhf.worlds.exact.frontier import ALGORITHMS
from minirlhf.worlds.exact.overoptimisation import KL_COEFS


def test_exact_writes_figures_and_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "KLS", (1.5,))
    monkeypatch.setattr(command, "PAIRS", (30,))
    monkeypatch.setattr(command, "REWARD_STEPS", 2)
    arguments = ["exact", "--out", str(tmp_path / "new"), "--steps", "2", "--seeds", "2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    assert 'in 24 updates with "td", in 4 with "gae": 6.0 times as many' in result.output
    for name in ("frontier", "overoptimisation"):
        assert (tmp_path / "new" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    frontier = json.loads((tmp_path / "new" / "frontier.json").read_text())
    assert [point["algorithm"] for point in frontier["points"]] == list(ALGORITHMS)
    assert all(point["step"] == 2 and 0.0 < point["gap"] for point in frontier["points"])
    assert frontier["grpo_fixed_points"][0]["kl"] > 1.5
    assert frontier["made_with"]["torch"]
    over = json.loads((tmp_path / "new" / "overoptimisation.json").read_text())
    assert len(over["curves"]["30"]) == 2
    assert len(over["curves"]["30"][0]["gold"]) == len(over["best"]["gold"]) == len(KL_COEFS)


def test_what_ships_is_what_the_command_measured() -> None:
    """The claims of the figure's caption, on the numbers that it was drawn from."""
    folder = Path(__file__).parent.parent / "assets" / "exact"
    frontier = json.loads((folder / "frontier.json").read_text())
    gaps = {(p["algorithm"], round(p["kl_coef"], 3)): p["gap"] for p in frontier["points"]}
    assert len(gaps) == 3 * len(ALGORITHMS)
    for (algorithm, _), gap in gaps.items():
        if algorithm in ("ppo", "rloo"):
            assert gap <= 0.05
    over = json.loads((folder / "overoptimisation.json").read_text())
    falls = [max(c["gold"]) - c["gold"][-1] for c in over["curves"]["1000"]]
    assert max(falls) > 0.5
