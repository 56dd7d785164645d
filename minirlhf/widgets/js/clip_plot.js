// PPO's clip in numbers and in SVG.

/** What `actor_loss` says of one token; gradient by log π(token). Both are negated losses. */
function clipNumbers(ratio, advantage, eps) {
  const held = Math.min(Math.max(ratio, 1 - eps), 1 + eps);
  const free = advantage * ratio, clipped = advantage * held;
  return { held, free, clipped, surrogate: Math.min(free, clipped), gradient: free <= clipped ? free : 0 };
}

/** One of six cases; a ratio on the edge counts as inside, as autograd has it. */
function clipCase(ratio, advantage, eps) {
  if (advantage === 0) return "none";
  const side = ratio < 1 - eps ? "below" : ratio > 1 + eps ? "above" : "inside";
  return `${advantage > 0 ? "good" : "bad"}.${side}`;
}

const CLIP_CASES = ["good.below", "good.inside", "good.above", "bad.below", "bad.inside", "bad.above"];
const FURTHEST = 2;

/** Two columns (Â > 0, Â < 0) of two plots (surrogate, gradient), each divided by |Â|. */
function drawClip({ say, eps, dots, chosen, own, description }) {
  const picture = svg("svg", { viewBox: "0 0 1000 500", class: "mr-clip-plot", role: "img", "aria-label": description });
  for (const [column, sign] of [[0, 1], [1, -1]]) {
    for (const [row, what] of [[0, "surrogate"], [1, "gradient"]]) {
      const place = clipPlace(column, row, sign);
      const group = svg("g", { "data-plot": `${what}.${sign > 0 ? "good" : "bad"}` });
      group.append(...clipFrame(place, say, eps, what, row, sign), clipCurve(place, eps, what, sign));
      dots.forEach((dot, i) => {
        if (dot.advantage * sign > 0) group.append(clipDot(place, dot, what, i === chosen));
      });
      if (own && own.advantage * sign > 0) group.append(clipOwn(place, own, what));
      picture.append(group);
    }
  }
  return picture;
}

function clipPlace(column, row, sign) {
  const left = 70 + column * 490, top = 34 + row * 226, width = 420, height = 186;
  const within = (v, low, high) => Math.min(Math.max(v, low), high);
  return {
    left, top, width, height,
    x: (ratio) => left + (within(ratio, 0, FURTHEST) / FURTHEST) * width,
    y: (v) => top + height * (sign > 0 ? 1 - within(v, 0, FURTHEST) / FURTHEST : within(-v, 0, FURTHEST) / FURTHEST),
  };
}

function clipFrame({ left, top, width, height, x, y }, say, eps, what, row, sign) {
  const words = (px, py, text, more = {}) => svg("text", { x: px, y: py, "text-anchor": "middle", ...more }, text);
  const marks = [0, 1 - eps, 1, 1 + eps, 2].map((v) => words(x(v), top + height + 16,
    v === 1 || Number.isInteger(v) ? String(v) : number(v), { class: v === 1 && eps < 0.15 ? "mr-gone" : "mr-tick" }));
  const values = [0, 1, 2].map((v) => words(left - 6, y(sign * v) + 4, number(sign * v, 0), { "text-anchor": "end", class: "mr-tick" }));
  const side = words(0, 0, say(`clip_explorer.${what}`), { transform: `translate(${left - 34} ${top + height / 2}) rotate(-90)` });
  return [
    svg("rect", { x: x(1 - eps), y: top, width: x(1 + eps) - x(1 - eps), height, class: "mr-clip-range" }),
    svg("path", { d: `M${left} ${top}v${height}h${width}M${x(1)} ${top}v${height}`, class: "mr-axis" }),
    svg("path", { d: `M${x(0)} ${y(0)}L${x(2)} ${y(2 * sign)}`, class: "mr-free" }),
    ...marks, ...values, side,
    row === 0 ? words(left + width / 2, 20, say(sign > 0 ? "clip_explorer.good" : "clip_explorer.bad"), { class: "mr-clip-title" })
      : words(left + width / 2, top + height + 34, say("clip_explorer.ratio")),
  ];
}

/** The curve in straight pieces; the gradient jumps to 0 where the clip stops paying. */
function clipCurve({ x, y }, eps, what, sign) {
  const at = (ratio) => clipNumbers(ratio, sign, eps)[what];
  const edge = sign > 0 ? 1 + eps : 1 - eps, first = sign > 0 ? edge : edge - 1e-9, last = sign > 0 ? edge + 1e-9 : edge;
  const piece = (a, b) => `M${x(a)} ${y(at(a))}L${x(b)} ${y(at(b))}`;
  return svg("path", { d: piece(0, first) + piece(last, FURTHEST), class: sign > 0 ? "mr-curve mr-good" : "mr-curve mr-bad" });
}

/** Filled: has a gradient; hollow: has none. The larger, the larger |Â|. */
function clipDot({ x, y }, dot, what, chosen) {
  const size = 3.5 + 2.5 * Math.min(2, Math.abs(dot.advantage)) / 2;
  return svg("circle", {
    cx: x(dot.ratio), cy: y(dot[what] / Math.abs(dot.advantage)), r: chosen ? size + 3 : size,
    class: `mr-dot${dot.gradient === 0 ? " mr-hollow" : ""}${chosen ? " mr-chosen" : ""}`,
  });
}

function clipOwn({ x, y }, own, what) {
  const [cx, cy] = [x(own.ratio), y(own[what] / Math.abs(own.advantage))];
  return svg("path", { d: `M${cx - 8} ${cy}l8 -8l8 8l-8 8z`, class: "mr-own" });
}
