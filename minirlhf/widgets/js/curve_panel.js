// One metric over the steps of a run: its curve, its healthy range, and where it stands in words.

const PANEL = { width: 300, height: 132, left: 44, right: 8, top: 8, bottom: 20 };

/** Short and readable at any size: 0.05, 12.30, 1.0e-5. */
function brief(x) {
  if (x === null || x === undefined) return "–";
  const size = Math.abs(x);
  if (size > 0 && (size < 0.01 || size >= 1e5)) return x.toExponential(1).replace(/-/g, "−");
  return number(x);
}

/** Where a value stands: "", "healthy", "low" or "high". */
function health(panel, x) {
  if (x === null || x === undefined || (panel.low === null && panel.high === null)) return "";
  if (panel.low !== null && x < panel.low) return "low";
  if (panel.high !== null && x > panel.high) return "high";
  return "healthy";
}

/** The lowest and highest number to draw, with a margin. */
function extent(values) {
  let low = Math.min(...values), high = Math.max(...values);
  const margin = (high - low || Math.abs(high) || 1) * 0.12;
  return [low - margin, high + margin];
}

function drawCurve(panel, points, total, changes, t) {
  const { width, height, left, right, top, bottom } = PANEL;
  const [low, high] = extent(points.map((p) => p[1]));
  const first = points[0][0], last = Math.max(total, first + 1);
  const x = (step) => left + ((step - first) / (last - first)) * (width - left - right);
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  const parts = [];
  const bandTop = Math.min(panel.high ?? Infinity, high);
  const bandLow = Math.max(panel.low ?? -Infinity, low);
  if ((panel.low !== null || panel.high !== null) && bandLow < bandTop)
    parts.push(svg("rect", { class: "mr-healthy", x: left, width: width - left - right,
      y: y(bandTop), height: y(bandLow) - y(bandTop) }));
  parts.push(svg("path", { class: "mr-axis",
    d: `M${left},${top}V${height - bottom}H${width - right}` }));
  for (const [step, beta] of changes)
    if (step + 0.5 >= first) {
      const at = x(step + 0.5);
      parts.push(svg("path", { class: "mr-change", d: `M${at},${top}V${height - bottom}` }));
      parts.push(svg("text", { x: at + 2, y: top + 8, class: "mr-tick" }, `β ${brief(beta)}`));
    }
  const d = points.map(([s, v], i) => `${i ? "L" : "M"}${x(s).toFixed(1)},${y(v).toFixed(1)}`);
  parts.push(svg("path", { class: "mr-curve", d: d.join("") }));
  const [step, value] = points[points.length - 1];
  parts.push(svg("circle", { class: "mr-now", cx: x(step), cy: y(value), r: 3 }));
  const tick = (text, attributes) => svg("text", { class: "mr-tick", ...attributes }, text);
  parts.push(tick(brief(high), { x: left - 4, y: top + 8, "text-anchor": "end" }));
  parts.push(tick(brief(low), { x: left - 4, y: height - bottom, "text-anchor": "end" }));
  parts.push(tick(String(first), { x: left, y: height - 6 }));
  parts.push(tick(t("training_monitor.step_axis", { step: last }),
    { x: width - right, y: height - 6, "text-anchor": "end" }));
  return parts;
}

function curvePanel(panel, t) {
  const value = h("span", { class: "mr-value" });
  const cue = h("span", { class: "mr-cue" });
  const picture = svg("svg", { viewBox: `0 0 ${PANEL.width} ${PANEL.height}`, role: "img" });
  const unit = panel.unit === "1" ? "" : panel.unit;
  const element = h("div", { class: "mr-panel" },
    h("div", { class: "mr-panel-head" }, h("strong", {}, panel.name), value, cue),
    picture,
    h("div", { class: "mr-formula" }, panel.formula, panel.meaning ? ` · ${panel.meaning}` : ""));
  function draw(history, total, changes) {
    const points = history.filter((line) => typeof line[panel.name] === "number")
      .map((line) => [line.step, line[panel.name]]);
    const now = points.length ? points[points.length - 1][1] : null;
    const state = health(panel, now);
    value.textContent = points.length ? `${brief(now)} ${unit}` : t("training_monitor.no_value");
    cue.textContent = state && t(`training_monitor.${state}`,
      { low: brief(panel.low), high: brief(panel.high) });
    cue.dataset.health = state;
    picture.replaceChildren(...(points.length ? drawCurve(panel, points, total, changes, t) : []));
    picture.setAttribute("aria-label", points.length ? t("training_monitor.curve", {
      name: panel.name, start: brief(points[0][1]), now: brief(now), unit,
      cue: cue.textContent }) : `${panel.name}: ${t("training_monitor.no_value")}`);
  }
  return { element, draw };
}
