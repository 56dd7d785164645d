// GradientMeter: batches of n answers as dots, their exact root mean square error as lines.

const LOOKS = {
  none: { colour: ORANGE, shape: "triangle", dash: "2 4" },
  mean: { colour: BLUE, shape: "circle", dash: "7 4" },
  value: { colour: GREEN, shape: "diamond", dash: "" },
};
const average = (x) => x.reduce((sum, v) => sum + v, 0) / x.length;
const rootMeanSquare = (x) => Math.sqrt(average(x.map((v) => v * v)));

export default {
  render({ model, el }) {
    const text = words(model, "gradient_meter");
    const [sizes, shifts] = [model.get("batch_sizes"), model.get("_numbers")];
    let shift = model.get("shift");
    let at = 0;
    const seriesNow = () => shifts.find((entry) => entry.shift === shift).series;
    const series = seriesNow(); // their names are the same for every shift
    const all = shifts.flatMap((entry) => entry.series)
      .flatMap((s) => [s.expected_error, ...s.relative_error]).flat();
    const some = all.filter((v) => v > 0);
    const errors = plot({
      width: 480, height: 300, logX: true, logY: true,
      xTicks: sizes.length < 13 ? sizes : undefined, x: [sizes[0] / 1.3, sizes.at(-1) * 1.3],
      y: [Math.min(...some) / 1.2, Math.max(...some) * 1.2],
      xLabel: text("n"), yLabel: text("error"), label: text("errors"),
    });
    const angles = plot({
      width: 250, height: 300, x: [-0.6, series.length - 0.4], xTicks: [], y: [-1, 1.05],
      xLabel: "", yLabel: text("cosine"), label: text("angles"),
    });
    const names = angles.layer("names");
    series.forEach((s, k) => names.append(svg("text", {
      x: angles.X(k), y: angles.bottom + 14 + 13 * (k % 2), "text-anchor": "middle" },
      text(s.baseline))));
    const table = h("div", {});
    const heard = h("p", { class: "mr-note", "aria-live": "polite" });

    const draw = (i) => {
      const series = seriesNow();
      at = i;
      for (const s of series)
        errors.layer(`line ${s.baseline}`).append(line(
          s.expected_error.map((v, k) => [errors.X(sizes[k]), errors.Y(v)]), LOOKS[s.baseline]));
      const now = errors.layer("now");
      now.append(line([[errors.X(sizes[i]), errors.top], [errors.X(sizes[i]), errors.bottom]],
        { colour: FAINT, dash: "3 3", width: 1 }));
      series.forEach((s, k) => {
        const look = { ...LOOKS[s.baseline], size: 2.6 };
        const dots = errors.layer(`dots ${s.baseline}`);
        const aside = (k - (series.length - 1) / 2) * 9;
        s.relative_error[i].forEach((v) => v > 0 && dots.append(
          marker(look.shape, errors.X(sizes[i]) + aside, errors.Y(v), { ...look, opacity: 0.6 })));
        const cloud = angles.layer(`dots ${s.baseline}`);
        s.cosine[i].forEach((v, r) => cloud.append(
          marker(look.shape, angles.X(k) + ((r % 9) - 4) * 4, angles.Y(v),
            { ...look, opacity: 0.6 })));
        const mean = angles.Y(average(s.cosine[i]));
        cloud.append(line([[angles.X(k) - 24, mean], [angles.X(k) + 24, mean]],
          { colour: INK, width: 2 }));
      });
      table.replaceChildren(tableOf(
        ["", text("expected"), text("measured"), text("cosine_mean"), text("bias"), text("chance"),
         text("needed")],
        series.map((s) => [text(s.baseline), number(s.expected_error[i], 3),
          number(rootMeanSquare(s.relative_error[i]), 3), number(average(s.cosine[i]), 3),
          number(s.error_of_mean[i], 3), number(s.chance_error_of_mean[i], 3),
          Math.ceil(sizes[i] * (s.expected_error[i] / 0.1) ** 2).toLocaleString("en")]),
        { "data-table": "quality" }));
      heard.textContent = text("heard", { n: sizes[i].toLocaleString("en"), errors: series.map(
        (s) => `${text(s.baseline)} ${number(s.expected_error[i], 2)}`).join(", ") });
    };
    const control = slider({
      name: "size_index", label: text("n"), min: 0, max: sizes.length - 1, step: 1, value: 0,
      tell: (i) => sizes[i].toLocaleString("en"), apply: draw,
      settle: (i) => write(model, "batch_size", sizes[i]),
    });
    const move = (n) => {
      const i = Math.max(0, sizes.indexOf(n));
      control.set(i);
      draw(i);
    };
    const added = shifts.length > 1 ? choices({
      label: text("added"), value: shift,
      options: shifts.map(({ shift: c }) => [c, text("plus", { c: number(c, c % 1 ? 2 : 0) })]),
      apply: (c) => { shift = Number(c); draw(at); write(model, "shift", shift); },
    }) : null;
    el.append(h("div", { class: "mr", "data-widget": "gradient_meter" },
      h("div", { class: "mr-bar" }, control.element, added?.element),
      h("div", { class: "mr-bar" },
        series.map((s) => sign(text(s.baseline), LOOKS[s.baseline]))),
      h("div", { class: "mr-side" }, errors.element, angles.element), heard, table,
      h("p", { class: "mr-note" }, text("caption", { repeats: series[0].cosine[0].length }))));
    move(model.get("batch_size"));
    const stops = [
      follow(model, "batch_size", move),
      follow(model, "shift", (c) => { shift = c; added?.set(c); draw(at); }),
    ];
    return () => stops.forEach((stop) => stop());
  },
};
