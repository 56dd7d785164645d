// A panel of the monitor: a metric's name, where it stands, its curve, and what it means.

function monitorPanel(metric, t) {
  const value = h("span", { class: "mr-value" });
  const cue = h("span", { class: "mr-cue" });
  const picture = h("div");
  const unit = metric.unit === "1" ? "" : metric.unit;
  const element = h("div", { class: "mr-panel" },
    h("div", { class: "mr-panel-head" }, h("strong", {}, metric.name), value, cue),
    picture,
    h("div", { class: "mr-formula" },
      metric.formula, metric.meaning ? ` · ${metric.meaning}` : ""));

  function draw(history, total, changes) {
    const points = history.filter((line) => typeof line[metric.name] === "number")
      .map((line) => [line.step, line[metric.name]]);
    const now = points.at(-1)?.[1] ?? null;
    const state = health(metric, now);
    value.textContent = points.length ? `${brief(now)} ${unit}` : t("training_monitor.no_value");
    cue.textContent = state && t(`training_monitor.${state}`,
      { low: brief(metric.low), high: brief(metric.high) });
    cue.dataset.health = state;
    picture.replaceChildren(points.length ? curve(points, total, changes) : "");
  }

  function curve(points, total, changes) {
    const [first, values] = [points[0][0], points.map(([, v]) => v)];
    const chart = metricChart(metric, [first, Math.max(total, first + 1)], values, {
      xLabel: t("training_monitor.step_axis"), label: t("training_monitor.curve", {
        name: metric.name, start: brief(values[0]), now: brief(values.at(-1)), unit,
        cue: cue.textContent }) });
    const layer = chart.layer("changes");
    for (const [step, beta] of changes)
      if (step + 0.5 >= first) { // between two steps
        const x = chart.X(step + 0.5);
        layer.append(svg("path", { class: "mr-change", d: `M${x} ${chart.top}V${chart.bottom}` }),
          svg("text", { x: x + 2, y: chart.top + 8 }, `β ${brief(beta)}`));
      }
    drawMetric(chart, metric, points);
    return chart.element;
  }
  return { element, draw };
}
