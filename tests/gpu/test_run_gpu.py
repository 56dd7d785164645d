"""`run_gpu.py` runs from end to end at tiny sizes, and judges numbers as it says."""

import json

import pytest
import run_gpu

from minirlhf.bench import measure


def made_up(ratios, decode, train, gold, on_cpu):
    """What `run` returns, with nothing in it but what is judged."""
    shares = {"decode_of_bandwidth": decode, "train_of_matrix_rate": train}
    bench = {
        peer: {"ratio_to_trl": ratio, "of_limits": {"ours": shares}}
        for peer, ratio in zip(run_gpu.PEERS, ratios, strict=True)
    }
    return {"bench": bench, "demo": {"cuda": {"gold_after": gold}, "cpu": {"gold_after": on_cpu}}}


@pytest.mark.parametrize(
    ("numbers", "met"),
    [
        (((0.2, 0.3), 0.3, 0.5, 2.3, 2.4), [True, True, True, True, True]),
        (((0.2, 0.4), 0.2, 0.5, 2.3, 2.4), [False, False, True, True, True]),  # the faster counts
        (((0.4, 0.2), 0.3, 0.3, 1.9, 2.4), [False, True, False, False, False]),
    ],
)
def test_the_goals_are_met_when_the_numbers_say_so(numbers, met):
    judged = run_gpu.goals(made_up(*numbers), "cuda")
    assert [one["met"] for one in judged] == met
    assert judged[0]["found"] == pytest.approx(1 / max(numbers[0]))


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(run_gpu, "pick_device", lambda: run_gpu.torch.device("cpu"))
    with pytest.raises(SystemExit):
        run_gpu.main([])
    assert "there is no GPU here; --dry-run" in capsys.readouterr().err


def test_a_dry_run_does_everything_at_tiny_sizes(tmp_path, capsys, monkeypatch):
    pytest.importorskip("trl")
    monkeypatch.setattr(run_gpu, "pick_device", lambda: run_gpu.torch.device("cpu"))
    # test_peak.py starts such processes; six more would only take time
    monkeypatch.setattr(measure, "peak_alone", lambda *_: {"peak": 2.0, "before": 1.0})
    file = tmp_path / "gpu.json"
    assert run_gpu.main(["--dry-run", "--json", str(file)]) == 0
    said = capsys.readouterr().out
    assert "ours / trl" in said and "times TRL's speed" in said and "a dry run" in said
    result = json.loads(file.read_text())
    assert set(result["bench"]) == {"trl", "trl-bf16"} and result["dry_run"]
    assert len(result["goals"]) == 5 and len(result["commands"]) == 3
    for peer, bench in result["bench"].items():
        assert bench["peer"] == peer and bench["precision"] == "bfloat16"
        assert bench["ratio_to_trl"] > 0.0 and bench["runs"] == 1
    assert result["demo"]["cpu"]["gold_after"] == result["goals"][3]["found"]
