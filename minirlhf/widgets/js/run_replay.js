// RunReplay: curves that grow with the step, healthy ranges, and what the actor wrote in that step.

const SPEEDS = [["slow", 2], ["normal", 8], ["fast", 30]]; // steps a second

/** Text of any length, with its control characters and turning marks made visible. */
function readable(text) {
  const marks = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069]/g;
  return text.replace(marks, "�");
}

export default {
  render({ model, el }) {
    const text = words(model, "run_replay");
    const [steps, samples, panels] = ["steps", "samples", "_panels"].map((n) => model.get(n));
    let at = 0;
    let timer = null;
    let speed = "normal";

    const charts = panels.map((panel) => {
      const values = panel.values.map((v) => v ?? NaN);
      const chart = metricChart(panel, [steps[0], steps.at(-1)], values, {
        xLabel: text("step"), yLabel: panel.unit === "1" ? "" : panel.unit,
        label: text("curve", { name: panel.name }) });
      const told = h("span", {});
      const figure = h("figure", { class: "mr-panel", "data-metric": panel.name,
        title: `${panel.formula}${panel.meaning ? `: ${panel.meaning}` : ""}` },
        h("figcaption", {}, h("span", {}, panel.name), told), chart.element);
      return { panel, chart, told, figure };
    });
    const heard = h("p", { class: "mr-note", "aria-live": "polite" });
    const sample = h("blockquote", { class: "mr-sample", tabindex: 0, dir: "auto",
                                     "aria-label": text("sample") });

    const draw = () => {
      const outside = [];
      for (const { panel, chart, told, figure } of charts) {
        drawMetric(chart, panel, panel.values.slice(0, at + 1).map((v, i) => [steps[i], v]));
        const v = panel.values[at];
        const fine = ["", "healthy"].includes(health(panel, v));
        told.textContent = `${brief(v, 3)}${fine ? "" : ` ${text("outside")}`}`;
        figure.dataset.healthy = fine ? "yes" : "no";
        if (!fine) outside.push(panel.name);
      }
      sample.textContent = samples[at] ? readable(samples[at]) : text("no_sample");
      if (timer === null) tell(outside);
    };
    const tell = (outside) => {
      heard.textContent = text(outside.length ? "heard_outside" : "heard", {
        step: steps[at], last: steps.at(-1), names: outside.join(", ") });
    };
    const go = (i) => { at = Math.min(Math.max(i, 0), steps.length - 1); control.set(at); draw(); };
    const stop = () => {
      if (timer === null) return;
      clearInterval(timer);
      timer = null;
      show();
      draw();
      write(model, "step", steps[at]);
    };
    const tick = () => (at >= steps.length - 1 ? stop() : go(at + 1));
    const start = () => {
      if (at >= steps.length - 1) go(0);
      timer = setInterval(tick, 1000 / SPEEDS.find(([name]) => name === speed)[1]);
      show();
    };
    const turn = () => (timer === null ? start() : stop());
    const button = h("button", { type: "button", onclick: turn });
    const show = () => {
      button.textContent = timer === null ? `▶ ${text("play")}` : `❚❚ ${text("pause")}`;
      button.setAttribute("aria-pressed", String(timer !== null));
    };
    const control = slider({
      name: "step_index", label: text("step"), min: 0, max: steps.length - 1, step: 1, value: 0,
      tell: (i) => String(steps[i]), apply: (i) => { stop(); at = i; draw(); },
      settle: (i) => write(model, "step", steps[i]),
    });
    const pace = choices({
      label: text("speed"), value: speed, options: SPEEDS.map(([name]) => [name, text(name)]),
      apply: (name) => {
        speed = name;
        if (timer !== null) { clearInterval(timer); start(); }
      },
    });
    el.append(h("div", { class: "mr", "data-widget": "run_replay" },
      h("div", { class: "mr-bar" }, button, control.element, pace.element), heard,
      h("div", { class: "mr-panels" }, charts.map((c) => c.figure)),
      h("p", { class: "mr-note" }, text("sample")), sample, meanings(panels, text),
      h("p", { class: "mr-note" }, text("caption"))));
    show();
    const move = (step) => go(Math.max(0, steps.indexOf(step)));
    move(model.get("step"));
    const unfollow = follow(model, "step", (step) => {
      if (step === steps[at]) return;
      stop();
      move(step);
    });
    return () => { clearInterval(timer); unfollow(); };
  },
};

/** What the metrics mean, to be unfolded. */
function meanings(panels, text) {
  const bound = (v) => (v === null ? "–" : String(v).replace("-", "−"));
  return h("details", {}, h("summary", { tabindex: 0 }, text("meanings")),
    tableOf([text("metric"), text("formula"), text("unit"), text("healthy"), text("meaning")],
      panels.map((p) => [p.name, p.formula, p.unit,
        p.low === null && p.high === null ? "" : `${bound(p.low)} … ${bound(p.high)}`,
        p.meaning]),
      { "data-table": "meanings" }));
}
