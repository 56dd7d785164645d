// ValueStrip: V_t, R_t + γV_{t+1} and the true V_t of one response, at each recorded step.

const SERIES = {
  truth: { colour: GREEN, shape: "diamond", dash: "" },
  values: { colour: BLUE, shape: "circle", dash: "6 3" },
  targets: { colour: ORANGE, shape: "triangle", dash: "2 3" },
};

/** The mean of (x − truth)² over the tokens. */
function meanSquared(x, truth) {
  const squares = x.map((v, t) => (v === null || truth[t] === null ? NaN : (v - truth[t]) ** 2));
  return squares.reduce((sum, v) => sum + v, 0) / squares.length;
}

export default {
  render({ model, el }) {
    const text = words(model, "value_strip");
    const [tokens, steps] = [model.get("tokens"), model.get("steps")];
    const counted = model.get("step_name") || text("step");
    const data = model.get("_numbers");
    const errors = data.errors;
    const nan = (row) => row.map((v) => (v === null ? NaN : v));
    const missed = Object.fromEntries(["values", "targets"].map((name) =>
      [name, data[name].map((row, i) => meanSquared(row, data.truth[i]))]));

    const ends = data.truth.flatMap((row, i) => row.flatMap((v, t) =>
      v === null ? [] : [v - 2 * (errors?.[i][t] ?? 0), v + 2 * (errors?.[i][t] ?? 0)]));
    const strip = plot({
      width: Math.max(420, 44 * tokens.length + 66), height: 310, bottom: 62,
      x: [-0.5, tokens.length - 0.5], y: range([ends, ...data.values.map(nan),
                                               ...data.targets.map(nan)]),
      xTicks: [], xLabel: text("tokens"), yLabel: text("reward"), label: text("strip"),
    });
    const names = strip.layer("tokens");
    tokens.forEach((token, t) => names.append(svg("text", {
      transform: `translate(${strip.X(t) + 4} ${strip.bottom + 12}) rotate(-18)`,
      "text-anchor": "end" }, svg("title", {}, visible(token, 80)), visible(token, 8))));

    const course = plot({
      width: 330, height: 200, x: range([steps], 0.03),
      y: [0, Math.max(...range([missed.values, missed.targets]).map(Math.abs))],
      xLabel: counted, yLabel: text("missed_short"), label: text("course"),
    });
    for (const name of ["values", "targets"]) {
      const layer = course.layer(name);
      const points = steps.map((s, i) => [course.X(s), course.Y(missed[name][i])]);
      layer.append(line(points, SERIES[name]));
      for (const [px, py] of points)
        if (Number.isFinite(py)) layer.append(marker(SERIES[name].shape, px, py,
          { ...SERIES[name], size: 3 }));
    }

    const table = h("div", { class: "mr-strip-numbers", tabindex: 0, role: "region",
                             "aria-label": text("numbers") });
    const sums = h("div", {});
    const heard = h("p", { class: "mr-note", "aria-live": "polite" });

    const draw = (i) => {
      for (const [name, { colour, dash, shape }] of Object.entries(SERIES)) {
        const layer = strip.layer(name);
        const shift = { truth: 0, values: -5, targets: 5 }[name];
        const points = nan(data[name][i]).map((v, t) => [strip.X(t) + shift, strip.Y(v)]);
        layer.append(line(points, { colour, dash, opacity: 0.75 }));
        points.forEach(([px, py], t) => {
          if (!Number.isFinite(py)) return;
          if (name === "truth" && errors)
            layer.append(...bar(strip, px, data.truth[i][t], 2 * errors[i][t], colour));
          layer.append(marker(shape, px, py, { colour, size: 4.5, hollow: name === "truth",
            title: `${visible(tokens[t], 40)}: ${text(name)} ${number(data[name][i][t], 3)}` }));
        });
      }
      const at = course.layer("now");
      at.append(line([[course.X(steps[i]), course.top], [course.X(steps[i]), course.bottom]],
        { colour: FAINT, dash: "3 3" }));
      table.replaceChildren(tableOf(["", ...tokens.map((t) => visible(t, 12))],
        ["truth", ...(errors ? ["errors"] : []), "values", "targets"].map((name) =>
          [text(name), ...data[name][i].map((v) => number(v, 3))]), { "data-table": "tokens" }));
      sums.replaceChildren(tableOf(["", text("missed")],
        ["values", "targets"].map((name) => [text(name), number(missed[name][i], 4)]),
        { "data-table": "missed" }));
      const nearer = missed.targets[i] < missed.values[i] ? "target_nearer" : "value_nearer";
      heard.textContent = text(nearer, { step: `${counted} ${steps[i]}` });
    };

    const control = slider({
      name: "step_index", label: counted, min: 0, max: steps.length - 1, step: 1, value: 0,
      tell: (i) => String(steps[i]), apply: draw,
      settle: (i) => write(model, "step", steps[i]),
    });
    const move = (step) => {
      const i = Math.max(0, steps.indexOf(step));
      control.set(i);
      draw(i);
    };
    const legend = ["truth", "values", "targets"].map((name) =>
      sign(text(name), { ...SERIES[name], hollow: name === "truth" }));
    el.append(h("div", { class: "mr", "data-widget": "value_strip" },
      h("div", { class: "mr-bar" }, control.element, legend), strip.element, table,
      h("div", { class: "mr-side" }, course.element, h("div", {}, sums, heard)),
      h("p", { class: "mr-note" }, text(errors ? "caption_errors" : "caption"))));
    move(model.get("step"));
    return follow(model, "step", move);
  },
};

/** An error bar: a stem with two short ends. */
function bar(strip, px, value, half, colour) {
  const [top, bottom] = [strip.Y(value + half), strip.Y(value - half)];
  const stroke = { colour, width: 1.3 };
  return [line([[px, top], [px, bottom]], stroke), line([[px - 4, top], [px + 4, top]], stroke),
          line([[px - 4, bottom], [px + 4, bottom]], stroke)];
}
