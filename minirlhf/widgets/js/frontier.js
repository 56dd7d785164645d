// Frontier: how far algorithms get below the exact limit, and what following a proxy does to gold.

const LOOKS = {
  ppo: { colour: BLUE, shape: "circle" },
  rloo: { colour: GREEN, shape: "square" },
  reinforce: { colour: ORANGE, shape: "down" },
  grpo: { colour: VERMILION, shape: "diamond" },
  dpo: { colour: PURPLE, shape: "cross" },
};
const LINES = {
  best: { colour: INK, dash: "", width: 2.2, shape: "square" },
  proxy: { colour: BLUE, dash: "6 4", shape: "triangle" },
  gold: { colour: VERMILION, dash: "", shape: "circle" },
};

/** The place on a curve whose β is nearest, in the logarithm. */
function nearest(betas, beta) {
  const far = betas.map((b) => Math.abs(Math.log(b / beta)));
  return far.indexOf(Math.min(...far));
}

export default {
  render({ model, el }) {
    const text = words(model, "frontier");
    const [best, points, rest, curves] =
      ["_best", "_points", "_fixed_points", "_curves"].map((name) => model.get(name));
    const reached = [...points, ...rest];
    const betas = best.kl_coef;
    let at = nearest(betas, model.get("kl_coef"));
    let pairs = model.get("pairs");

    const limit = 1.3 * Math.max(...reached.map((p) => p.kl), 0) || Math.max(...best.kl);
    const inside = best.gold.filter((_, i) => best.kl[i] <= limit);
    const race = plot({ x: [0, limit], y: range([inside, reached.map((p) => p.score)]),
      xLabel: text("kl"), yLabel: text("gold_axis"), label: text("race") });
    const every = curves.flatMap((c) => c.seeds);
    const furthest = Math.max(...(every.length ? every : [best]).map((c) => Math.max(...c.kl)));
    const lure = every.length ? plot({ x: [0, furthest * 1.03],
      y: range([best.gold, ...every.flatMap((c) => [c.gold, c.proxy])]),
      xLabel: text("kl"), yLabel: text("reward"), label: text("lure") }) : null;

    const along = (chart, curve, name, look) => line(
      curve.kl.map((kl, i) => [chart.X(kl), chart.Y(curve[name][i])])
        .filter(([px]) => px <= chart.right + 1), look);
    race.layer("best").append(along(race, best, "gold", LINES.best));
    const spots = race.layer("points");
    const spot = (p, hollow) => marker(LOOKS[p.algorithm].shape, race.X(p.kl), race.Y(p.score), {
      ...LOOKS[p.algorithm], hollow, size: hollow ? 7 : 4.5, "data-algorithm": p.algorithm,
      title: `${p.algorithm.toUpperCase()} β ${number(p.kl_coef, 3)}: ${text("kl")} ` +
        `${number(p.kl)}, ${text("gold")} ${number(p.score)}` });
    spots.append(...rest.map((p) => spot(p, true)), ...points.map((p) => spot(p, false)));

    const table = h("div", {});
    const short_of = h("div", {});
    const heard = h("p", { class: "mr-note", "aria-live": "polite" });
    const seedsShown = () => curves.find((c) => c.pairs === pairs)?.seeds ?? [];

    const dot = (chart, curve, name, i) => marker(LINES[name === "gold" && curve === best ? "best"
      : name].shape, chart.X(curve.kl[i]), chart.Y(curve[name][i]),
      { colour: curve === best ? INK : LINES[name].colour, size: 6 });
    const drawCurves = () => {
      if (!lure) return;
      const layer = lure.layer("curves");
      layer.append(along(lure, best, "gold", { ...LINES.best, width: 3, opacity: 0.45 }));
      for (const curve of seedsShown())
        for (const name of ["proxy", "gold"])
          layer.append(along(lure, curve, name, { ...LINES[name], "data-curve": name }));
      for (const curve of seedsShown()) {
        const peak = curve.gold.indexOf(Math.max(...curve.gold));
        layer.append(marker("circle", lure.X(curve.kl[peak]), lure.Y(curve.gold[peak]),
          { ...LINES.gold, size: 4, hollow: true, title: text("peak") }));
      }
    };
    const draw = () => {
      const beta = betas[at];
      const dots = race.layer("dot");
      if (best.kl[at] <= limit) dots.append(dot(race, best, "gold", at));
      const rows = [[text("best"), best.kl_coef[at], best.kl[at], null, best.gold[at]]];
      const lured = lure ? lure.layer("dots") : null;
      lured?.append(dot(lure, best, "gold", at));
      seedsShown().forEach((curve, seed) => {
        const i = nearest(curve.kl_coef, beta);
        lured.append(dot(lure, curve, "proxy", i), dot(lure, curve, "gold", i));
        rows.push([text("proxy_of", { pairs: pairs.toLocaleString("en"), seed: seed + 1 }),
                   curve.kl_coef[i], curve.kl[i], curve.proxy[i], curve.gold[i]]);
      });
      table.replaceChildren(tableOf(
        ["", "β", text("kl"), text("proxy"), text("gold")],
        rows.map(([name, ...x]) => [name, ...x.map((v) => (v === null ? "" : number(v, 3)))]),
        { "data-table": "at" }));
      const worst = seedsShown().map((c) => c.gold[nearest(c.kl_coef, beta)]);
      heard.textContent = text(worst.length ? "heard" : "heard_best", {
        beta: number(beta, 3), kl: number(best.kl[at]), gold: number(best.gold[at]),
        low: number(Math.min(...worst)), high: number(Math.max(...worst)) });
    };
    short_of.append(points.length ? tableOf(
      [text("run"), "β", text("kl"), text("gold"), text("gap")],
      points.map((p) => [p.algorithm.toUpperCase(), number(p.kl_coef, 3), number(p.kl, 3),
                         number(p.score, 3), `${number(100 * p.gap, 1)} %`]),
      { "data-table": "runs" }) : "");

    const control = slider({
      name: "beta_index", label: text("beta"), min: 0, max: betas.length - 1, step: 1, value: at,
      tell: (i) => number(betas[i], 3), apply: (i) => { at = i; draw(); },
      settle: (i) => write(model, "kl_coef", betas[i]),
    });
    const redraw = (n) => { pairs = n; drawCurves(); draw(); };
    const chosen = curves.length ? choices({
      label: text("pairs"), value: pairs,
      options: curves.map((c) => [c.pairs, text("n_pairs", { n: c.pairs.toLocaleString("en") })]),
      apply: (n) => { redraw(Number(n)); write(model, "pairs", Number(n)); },
    }) : null;
    const names = new Set(reached.map((p) => p.algorithm));
    const used = Object.entries(LOOKS).filter(([name]) => names.has(name));
    const signs = h("div", { class: "mr-bar" },
      sign(text("best"), LINES.best),
      used.map(([name, look]) => sign(name.toUpperCase(), { ...look, bare: true })),
      rest.length ? sign(text("rest"), { ...LOOKS.grpo, bare: true, hollow: true }) : null,
      lure ? ["proxy", "gold"].map((name) => sign(text(name), LINES[name])) : null,
      lure ? sign(text("peak"), { ...LINES.gold, bare: true, hollow: true }) : null);
    el.append(h("div", { class: "mr", "data-widget": "frontier" },
      h("div", { class: "mr-bar" }, control.element, chosen?.element), signs,
      h("div", { class: "mr-side" }, race.element, lure?.element),
      heard, h("div", { class: "mr-side" }, table, short_of),
      h("p", { class: "mr-note" }, text(lure ? "caption" : "caption_race"))));
    redraw(pairs);
    const stops = [
      follow(model, "kl_coef", (x) => {
        at = nearest(betas, x);
        control.set(at);
        draw();
      }),
      follow(model, "pairs", (n) => { chosen?.set(n); redraw(n); }),
    ];
    return () => stops.forEach((stop) => stop());
  },
};
