"""How long a slider move of TokenMicroscope takes in the browser."""

from statistics import median
from typing import NamedTuple

from playwright.sync_api import Page

MOVE = """(moves) => {
  const inputs = ["kl_coef", "gamma", "lam", "clip_range"].map((name) =>
    document.querySelector(`.mr-tm input[name=${name}]`));
  const tables = [...document.querySelectorAll(".mr-tm table")];
  const times = [];
  for (let i = 0; i < moves; i++) {
    const input = inputs[i % inputs.length];
    input.value = input.min * 1 + (input.max - input.min) * (((i * 37) % 101) / 101);
    const start = performance.now();
    input.dispatchEvent(new Event("input", { bubbles: true }));
    for (const table of tables) table.getBoundingClientRect(); // forces style and layout
    times.push(performance.now() - start);
  }
  return times;
}"""


class Repaint(NamedTuple):
    """Milliseconds from a slider's event to the finished layout, and the size of the table."""

    median: float
    longest: float
    tokens: int
    rows: int


def measure_repaint(page: Page, moves: int = 200) -> Repaint:
    """Move the four sliders of a page that shows one TokenMicroscope, and time each move."""
    page.evaluate(MOVE, 20)  # the browser compiles the code
    times = page.evaluate(MOVE, moves)
    table = page.locator(".mr-tm table").first
    tokens = table.locator("thead th[data-token]:not([data-token='-1'])").count()
    return Repaint(median(times), max(times), tokens, table.locator("tbody tr").count())
