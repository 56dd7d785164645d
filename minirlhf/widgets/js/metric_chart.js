// One metric over the steps of a run: its curve, its healthy range, and where it stands.
// A metric has a name, a unit, and low and high, of which either may be null: its healthy range.

/** Short and readable at any size: 0.05, 12.30, 1.0e−5. */
function brief(x, digits = 2) {
  const size = Math.abs(x ?? 0);
  const extreme = size > 0 && (size < 0.01 || size >= 1e5);
  return extreme ? x.toExponential(1).replaceAll("-", "−") : number(x, digits);
}

/** Where a value stands: "", "healthy", "low" or "high". */
function health({ low, high }, x) {
  if (x === null || x === undefined || (low === null && high === null)) return "";
  if (low !== null && x < low) return "low";
  return high !== null && x > high ? "high" : "healthy";
}

/** A chart for values over the steps [first, last], with its healthy range as a band. */
function metricChart(metric, [first, last], values, options) {
  const chart = plot({
    width: 250, height: 140, left: 44, bottom: 32, xTicks: [...new Set([first, last])],
    x: first < last ? [first, last] : [first - 1, first + 1], y: range([values], 0.12), ...options,
  });
  const { low, high } = metric;
  if (low === null && high === null) return chart;
  const inside = (v) => Math.min(Math.max(chart.Y(v), chart.top), chart.bottom);
  const from = high === null ? chart.top : inside(high);
  const to = low === null ? chart.bottom : inside(low);
  const layer = chart.layer("healthy");
  const [x, width] = [chart.left, chart.right - chart.left];
  if (from < to)
    layer.append(svg("rect", { class: "mr-healthy", x, y: from, width, height: to - from }));
  for (const y of [from, to])
    if (y > chart.top && y < chart.bottom)
      layer.append(svg("path", { class: "mr-healthy-edge", d: `M${x} ${y}h${width}` }));
  return chart;
}

/** The curve through [[step, value or null], …]; at its end a dot, or a cross where unhealthy. */
function drawMetric(chart, metric, points) {
  const places = points.map(([step, v]) => [chart.X(step), v === null ? NaN : chart.Y(v)]);
  const layer = chart.layer("curve");
  layer.append(line(places, { colour: BLUE, class: "mr-curve" }));
  const value = points.at(-1)[1];
  if (value === null) return;
  const fine = ["", "healthy"].includes(health(metric, value));
  layer.append(marker(fine ? "circle" : "cross", ...places.at(-1),
    { colour: fine ? BLUE : VERMILION, size: fine ? 3 : 4 }));
}
