"""The benchmark's look at TokenMicroscope in a browser. How fast it is, no test asks."""

import contextlib
import json
from pathlib import Path

import pytest
import typer
from playwright.sync_api import Browser, Page
from typer.testing import CliRunner

from minirlhf.bench import repaint
from minirlhf.cli.bench import bench

SIZES = ["--runs", "1", "--batch-size", "2", "--response-tokens", "3", "--ppo-epochs", "1"]


def test_the_command_reports_the_repaint(
    chromium: Browser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(repaint, "chromium", lambda: contextlib.nullcontext(chromium))
    app, file = typer.Typer(), tmp_path / "bench.json"
    app.command()(bench)
    run = CliRunner().invoke(app, [*SIZES, "--device", "cpu", "--json", str(file)])
    assert run.exit_code == 0, run.output
    found = json.loads(file.read_text())["repaint"]
    assert (found["tokens"], found["rows"], found["moves"]) == (24, 12, 200)
    assert 0.0 < found["median_ms"] <= found["longest_ms"]
    assert found["budget_ms"] == 16 and found["browser"] == f"Chromium {chromium.version}"
    said = " ".join(run.output.split())
    assert f"24 tokens × 12 rows: painted {found['median_ms']:.1f} ms after a slider's move" in said


def test_the_time_includes_the_frame(chromium: Browser, monkeypatch: pytest.MonkeyPatch):
    """What a frame does after the script, here a slow observer of sizes, counts as well."""
    real = repaint._open
    opened = []

    def slow(browser: Browser, html: str) -> Page:
        page = real(browser, html)
        page.evaluate("""() => {
          const box = document.body.appendChild(document.createElement("div"));
          window.tables = new Set();
          document.addEventListener("input", () => {
            tables.add(document.querySelector(".mr-tm table").textContent);
            new ResizeObserver((_, observer) => {
              const until = performance.now() + 30;
              while (performance.now() < until);
              observer.disconnect();
            }).observe(box);
          });
        }""")
        opened.append(page)
        return page

    monkeypatch.setattr(repaint, "chromium", lambda: contextlib.nullcontext(chromium))
    monkeypatch.setattr(repaint, "_open", slow)
    found = repaint.repaint(moves=12)
    assert found["moves"] == 12
    assert found["median_ms"] >= 30.0  # what was added; no limit from above
    assert opened[0].evaluate("tables.size") >= 12  # every move showed other numbers
