// PPO's clip in numbers and in SVG.

/** What `actor_loss` says of one token; gradient by log π(token). Both are negated losses. */
function clipNumbers(ratio, advantage, eps) {
  const held = Math.min(Math.max(ratio, 1 - eps), 1 + eps);
  const free = advantage * ratio, clipped = advantage * held;
  const gradient = free <= clipped ? free : 0;
  return { held, free, clipped, surrogate: Math.min(free, clipped), gradient };
}

/** One of six cases; a ratio on the edge counts as inside, as autograd has it. */
function clipCase(ratio, advantage, eps) {
  if (advantage === 0) return "none";
  const side = ratio < 1 - eps ? "below" : ratio > 1 + eps ? "above" : "inside";
  return `${advantage > 0 ? "good" : "bad"}.${side}`;
}

const CLIP_CASES = ["good", "bad"].flatMap((sign) =>
  ["below", "inside", "above"].map((side) => `${sign}.${side}`));
const FURTHEST = 2;

/** Two columns (Â > 0, Â < 0) of two charts (surrogate, gradient), each divided by |Â|. */
function drawClip({ say, eps, dots, chosen, own, description }) {
  const titles = ["good", "bad"].map((key) =>
    h("div", { class: "mr-clip-title" }, say(`clip_explorer.${key}`)));
  const charts = ["surrogate", "gradient"].flatMap((what) => [1, -1].map((sign) => {
    const chart = clipChart(say, eps, what, sign);
    const layer = chart.layer("points");
    dots.forEach((dot, i) => {
      if (dot.advantage * sign > 0) layer.append(clipDot(chart, dot, what, i === chosen));
    });
    if (own.advantage * sign > 0) {
      const [x, y] = clipPlace(chart, own, what);
      layer.append(marker("diamond", x, y, { colour: GREEN, size: 6, class: "mr-own" }));
    }
    return chart.element;
  }));
  const attributes = { class: "mr-clip-plots", role: "img", "aria-label": description };
  return h("div", attributes, titles, charts);
}

/** The axes, the clip range as a band, and two lines: with the clip, and (dotted) without. */
function clipChart(say, eps, what, sign) {
  const ends = [0, FURTHEST];
  const chart = plot({
    width: 500, height: 250, x: ends, y: sign > 0 ? ends : [-FURTHEST, 0],
    xTicks: eps < 0.15 ? [0, 1 - eps, 1 + eps, 2] : [0, 1 - eps, 1, 1 + eps, 2],
    yTicks: [0, sign, 2 * sign], xLabel: say("clip_explorer.ratio"),
    yLabel: say(`clip_explorer.${what}`),
  });
  chart.element.dataset.plot = `${what}.${sign > 0 ? "good" : "bad"}`;
  const { X, Y, top, bottom } = chart;
  const x = X(1 - eps);
  const at = (f) => (ratio) => [X(ratio), Y(f(ratio))];
  const clipped = at((ratio) => clipNumbers(ratio, sign, eps)[what]);
  // the gradient jumps to 0 where the clip stops paying
  const edge = sign > 0 ? 1 + eps : 1 - eps;
  const [before, after] = [edge - 1e-9, edge + 1e-9].map(clipped);
  const gap = what === "gradient" ? [[NaN, NaN]] : [];
  const look = sign > 0 ? { colour: BLUE } : { colour: VERMILION, dash: "12 3" };
  chart.layer("lines").append(
    svg("rect", { class: "mr-clip-range", x, y: top, width: X(1 + eps) - x, height: bottom - top }),
    line([[X(1), top], [X(1), bottom]], { colour: FAINT, width: 1 }),
    line(ends.map(at((ratio) => sign * ratio)), { colour: FAINT, dash: "2 4", width: 1 }),
    line([clipped(0), before, ...gap, after, clipped(FURTHEST)], { ...look, width: 3 }));
  return chart;
}

/** Where a point lies in a chart, which ends at FURTHEST. */
function clipPlace({ X, Y }, point, what) {
  const height = point[what] / Math.abs(point.advantage);
  return [X(Math.min(point.ratio, FURTHEST)), Y(Math.max(Math.min(height, FURTHEST), -FURTHEST))];
}

/** Filled: has a gradient; hollow: has none. The larger, the larger |Â|. */
function clipDot(chart, dot, what, chosen) {
  const [cx, cy] = clipPlace(chart, dot, what);
  const size = 3.5 + 2.5 * Math.min(2, Math.abs(dot.advantage)) / 2;
  return svg("circle", {
    cx, cy, r: chosen ? size + 3 : size,
    class: `mr-dot${dot.gradient === 0 ? " mr-hollow" : ""}${chosen ? " mr-chosen" : ""}`,
  });
}
