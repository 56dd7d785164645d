"""How long the browser needs after a slider of TokenMicroscope was moved, until it has painted.

A frame of a 60 Hz screen leaves 16 ms; a slower widget lags behind the hand.
"""

from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from minirlhf.bench.browser import NoBrowser, chromium
from minirlhf.bench.models import new_trainer
from minirlhf.config import PPOConfig

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BUDGET_MS = 16
MOVES = 200
TOKENS = 24
WARM_UP = 20  # moves before the clock counts: the browser compiles the code

# Each move begins with a frame. The message comes after the frame's script, style, layout and
# paint, since the browser does nothing else in between.
MOVE = """async (moves) => {
  const inputs = ["kl_coef", "gamma", "lam", "clip_range"].map((name) =>
    document.querySelector(`.mr-tm input[name=${name}]`));
  const { port1, port2 } = new MessageChannel();
  const times = [];
  for (let i = 0; i < moves; i++) {
    const input = inputs[i % inputs.length];
    times.push(await new Promise((done) => requestAnimationFrame(() => {
      const start = performance.now();
      port1.onmessage = () => done(performance.now() - start);
      input.value = input.min * 1 + (input.max - input.min) * (((i * 37) % 101) / 101);
      input.dispatchEvent(new Event("input", { bubbles: true }));
      port2.postMessage(null);
    })));
  }
  return times;
}"""


def repaint(moves: int = MOVES, *, seed: int = 0) -> dict[str, Any]:
    """Measure it on this machine.

    Args:
        moves: of the sliders for β, γ, λ and ε, in turn.
        seed: of the tokens and weights.

    Returns:
        Plain JSON values, as in `measure_repaint`; or only `left_out`: what was missing.
    """
    try:
        from minirlhf.widgets.static_page import page as page_of
        from minirlhf.widgets.token_microscope import TokenMicroscope
    except ImportError:
        return {"left_out": "the widgets need more packages (pip install 'minirlhf[course]')"}
    config = PPOConfig(batch_size=2, minibatch_size=2, max_response_tokens=TOKENS, seed=seed)
    try:
        with chromium() as browser:
            trainer = new_trainer(config, 7, torch.device("cpu"))
            widget = TokenMicroscope(trainer.collect([0, 1]), trainer.actor.tokenizer)
            return measure_repaint(_open(browser, page_of(widget, title="repaint")), moves)
    except NoBrowser as missing:
        return {"left_out": str(missing)}


def measure_repaint(page: "Page", moves: int = MOVES) -> dict[str, Any]:
    """Move the sliders of a page that shows one TokenMicroscope, and time each move.

    Args:
        page: on which the widget has drawn itself.
        moves: that are timed.

    Returns:
        `median_ms` and `longest_ms` from a slider's event to the painted frame, `moves`,
        `budget_ms`, how many `tokens` and `rows` the table has, and the `browser`.
    """
    page.evaluate(MOVE, WARM_UP)
    times = page.evaluate(MOVE, moves)
    table = page.locator(".mr-tm table").first
    browser = page.context.browser
    return {
        "median_ms": median(times),
        "longest_ms": max(times),
        "budget_ms": BUDGET_MS,
        "moves": len(times),
        "tokens": table.locator("thead th[data-token]:not([data-token='-1'])").count(),
        "rows": table.locator("tbody tr").count(),
        "browser": f"Chromium {browser.version}" if browser else "Chromium",
    }


def _open(browser: "Browser", html: str) -> "Page":
    """A new page with this text, once its widgets have drawn themselves."""
    page = browser.new_page(viewport={"width": 1100, "height": 800}, offline=True)
    page.set_content(html)
    page.wait_for_selector("html[data-widgets=ready]", timeout=30_000)
    return page
