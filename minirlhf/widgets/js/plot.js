// A small chart in SVG: axes with round numbers, lines with gaps, markers of six shapes, bands.
// Lines differ by dash and marker, and points by shape, so that nothing is told by colour alone.

// colours that read on white and on black: some of the page's ink mixed in
const [BLUE, SKY, ORANGE, VERMILION, GREEN, PURPLE] =
  ["blue", "sky", "orange", "vermilion", "green", "purple"].map(
    (name) => `color-mix(in srgb, var(--mr-${name}) 78%, var(--mr-ink))`);
const FAINT = "var(--mr-faint)";
const INK = "var(--mr-ink)";

const SHAPES = {
  circle: (r) => `M${r} 0A${r} ${r} 0 1 1 ${-r} 0A${r} ${r} 0 1 1 ${r} 0Z`,
  square: (r) => `M${-r} ${-r}H${r}V${r}H${-r}Z`,
  triangle: (r) => `M0 ${-1.2 * r}L${1.2 * r} ${r}H${-1.2 * r}Z`,
  down: (r) => `M0 ${1.2 * r}L${1.2 * r} ${-r}H${-1.2 * r}Z`,
  diamond: (r) => `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0Z`,
  cross: (r) => `M${-r} ${-r}L${r} ${r}M${r} ${-r}L${-r} ${r}`,
};

/** Round numbers within [low, high], about `count` of them. */
function roundNumbers(low, high, count = 5) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((m) => m * power >= rough * 0.999) * power;
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k += 1)
    ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

/** Powers of ten in [low, high]; of two where there are not two of those. */
function powers(low, high) {
  const of = (base) => {
    const from = Math.ceil(Math.log(low) / Math.log(base) - 1e-9);
    const to = Math.floor(Math.log(high) / Math.log(base) + 1e-9);
    return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => base ** (from + i));
  };
  return of(10).length > 1 ? of(10) : of(2);
}

/** The lowest and highest finite number of some lists, with room around; never an empty range. */
function range(lists, room = 0.06) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists)
    for (const x of list)
      if (Number.isFinite(x)) [low, high] = [Math.min(low, x), Math.max(high, x)];
  if (low > high) return [0, 1];
  const gap = (high - low) * room || Math.abs(high) * 0.1 || 0.5;
  return [low - gap, high + gap];
}

/** A tick's number, as short as it can be: 0.5, −20, 5e−7. */
const short = (x) => {
  const [round, size] = [Number(x.toPrecision(6)), Math.abs(x)];
  return String(size > 0 && size < 1e-3 ? round.toExponential() : round).replaceAll("-", "−");
};

/** About how many pixels a tick's text is wide. */
const wide = (text) => 7 * String(text).length;

/**
 * A chart. x and y are [lowest, highest]; with logX or logY they are > 0. The margin on the left
 * is as wide as the ticks' texts and the name of the axis need, and `left` at least.
 * Returns {element, X, Y, layer}: the two scales, and a function that gives a group to draw into.
 * `layer(name)` empties the group of that name, so that a redraw is: layer("dots").append(…).
 */
function plot({ width = 460, height = 260, x, y, xLabel, yLabel, label, xTicks, yTicks,
                logX = false, logY = false, format = short, left: least = 54, bottom = 40 }) {
  const [right, top] = [12, 10];
  const texts = (ticks) => ticks.map((v) => [v, typeof v === "number" ? format(v) : v]);
  const rows = texts(yTicks || (logY ? powers(...y) : roundNumbers(...y, 4)));
  const left = Math.max(least, (yLabel ? 27 : 7) + Math.max(0, ...rows.map(([, t]) => wide(t))));
  const scale = ([low, high], from, to, log) => {
    const f = log ? Math.log : (v) => v;
    return (v) => from + ((f(v) - f(low)) / (f(high) - f(low) || 1)) * (to - from);
  };
  const X = scale(x, left, width - right, logX);
  const Y = scale(y, height - bottom, top, logY);
  const element = svg("svg", {
    class: "mr-plot", viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": label,
  });
  const axes = svg("g", { "aria-hidden": "true" });
  for (const [v, text] of rows)
    axes.append(
      svg("line", { class: "mr-grid", x1: left, x2: width - right, y1: Y(v), y2: Y(v) }),
      svg("text", { x: left - 6, y: Y(v) + 4, "text-anchor": "end" }, text));
  for (const [v, text] of texts(xTicks || (logX ? powers(...x) : roundNumbers(...x, 6))))
    axes.append(svg("text", { x: Math.min(X(v), width - wide(text) / 2), y: height - bottom + 15,
                              "text-anchor": "middle" }, text));
  axes.append(
    svg("line", { class: "mr-axis", x1: left, x2: width - right, y1: height - bottom,
                  y2: height - bottom }),
    svg("text", { class: "mr-axis-name", x: (left + width - right) / 2, y: height - 6,
                  "text-anchor": "middle" }, xLabel),
    svg("text", { class: "mr-axis-name", transform: `translate(12 ${(top + height - bottom) / 2})`
                  + " rotate(-90)", "text-anchor": "middle" }, yLabel));
  element.append(axes);
  const layers = {};
  const layer = (name) => {
    layers[name] ||= element.appendChild(svg("g", { "data-layer": name }));
    layers[name].replaceChildren();
    return layers[name];
  };
  return { element, X, Y, layer, top, bottom: height - bottom, left, right: width - right };
}

/** A line through points [[x, y], …] in pixels; a gap where one is not a number. */
function line(points, { colour, dash = "", width = 1.8, ...more }) {
  let d = "";
  let drawing = false;
  for (const [px, py] of points) {
    const good = Number.isFinite(px) && Number.isFinite(py);
    if (good) d += `${drawing ? "L" : "M"}${px.toFixed(2)} ${py.toFixed(2)}`;
    drawing = good;
  }
  return svg("path", { d, fill: "none", style: `stroke: ${colour}`, "stroke-width": width,
                       "stroke-dasharray": dash, ...more });
}

/** A marker at a pixel; hollow ones are filled with the page's colour. */
function marker(shape, px, py, { colour, size = 4, hollow = false, title, ...more }) {
  const fill = hollow ? "var(--mr-page)" : shape === "cross" ? "none" : colour;
  return svg("path", {
    d: SHAPES[shape](size), transform: `translate(${px.toFixed(2)} ${py.toFixed(2)})`,
    style: `fill: ${fill}; stroke: ${colour}; stroke-width: 1.6`, "data-shape": shape, ...more,
  }, title ? svg("title", {}, title) : null);
}

/** One entry of a legend: the line and marker as drawn, and what they mean. */
function sign(text, { colour, dash = "", shape = null, hollow = false, bare = false }) {
  const drawing = svg("svg", { width: 30, height: 12, "aria-hidden": "true" });
  if (!bare) drawing.append(line([[1, 6], [29, 6]], { colour, dash }));
  if (shape) drawing.append(marker(shape, 15, 6, { colour, hollow }));
  return h("span", { class: "mr-sign" }, drawing, h("span", {}, text));
}

/** A table: heads, and rows of cells; the first cell of a row is its head. */
function tableOf(heads, rows, attributes = {}) {
  return h("table", { class: "mr-table", ...attributes },
    h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map(([head, ...cells]) =>
      h("tr", {}, h("th", { scope: "row" }, head), cells.map((cell) => h("td", {}, cell))))));
}
