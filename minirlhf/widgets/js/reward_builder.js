// The reward builder: from two log-probs and one score to R_t, in five steps.

const BUILDER_ROWS = ["old_log_prob", "ref_log_prob", "kl", "toll", "reward"];
const BUILDER_STEP = { old_log_prob: 0, ref_log_prob: 0, kl: 1, toll: 2, reward: 4 };
const BUILDER_SYMBOLS = { toll: "−β·klₜ" };
const DRAWN = ["old_log_prob", "kl", "toll", "toll", "reward"]; // which row the bars show

/** All numbers of a response: kl, toll and reward lists, and the score on its way. */
function builtReward(response, { beta, estimator, score, penalty, ended, limit }) {
  const kl = perTokenKl(response.old_log_prob, response.ref_log_prob, estimator);
  const taken = ended ? 0 : penalty;
  const paid = score - taken;
  const reward = perTokenRewards(paid, kl, beta, limit);
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  return {
    old_log_prob: response.old_log_prob, ref_log_prob: response.ref_log_prob, kl,
    toll: kl.map((x) => -beta * x), reward, taken, paid, clipped: clipScore(paid, limit),
    klSum: sum(kl), rewardSum: sum(reward),
  };
}

function render({ model, el }) {
  const w = words(model, "reward_builder");
  const stops = [];
  const place = h("div");
  const scoreLine = h("div", { class: "mr-strip-sum mr-code mr-rb-score" });
  const sumLine = h("div", { class: "mr-strip-sum mr-code mr-rb-sum" });
  const what = h("p", { class: "mr-note", "aria-live": "polite" });
  const traits = ["kl_coef", "score", "score_clip", "missing_eos_penalty"];
  const now = {};
  let response;
  let strip;

  const paint = () => {
    const step = model.get("step");
    const all = { beta: now.kl_coef, estimator: model.get("kl_estimator"), score: now.score,
      penalty: now.missing_eos_penalty, ended: model.get("ended"), limit: now.score_clip ?? null };
    const built = builtReward(response, all);
    for (const row of BUILDER_ROWS)
      strip?.set(row, built[row].map((x) => (step >= BUILDER_STEP[row] ? number(x) : "")));
    const drawn = DRAWN[step];
    strip?.bars(built[drawn], w("bars", { row: BUILDER_SYMBOLS[drawn] ?? symbolOf(drawn) }));
    const values = { score: number(all.score), penalty: number(built.taken),
      paid: number(built.paid), limit: number(all.limit), clipped: number(built.clipped) };
    const scores = w(all.limit === null ? "score.unclipped" : "score", values);
    scoreLine.textContent = step >= 3 ? scores : "";
    sumLine.textContent = step >= 4 ? w("sum", { clipped: number(built.clipped),
      beta: number(all.beta, 3), kl: number(built.klSum), sum: number(built.rewardSum) }) : "";
    const told = w("step", { step: step + 1, what: w(`what.${step}`) });
    if (what.textContent !== told) what.textContent = told;
  };
  const build = () => {
    response = unpack(model.get("_response"));
    const rows = BUILDER_ROWS.map((row) =>
      [row, BUILDER_SYMBOLS[row] ?? symbolOf(row), w(`row.${row}`)]);
    strip = placeStrip(place, response.tokens, rows, w);
    paint();
  };
  const limits = { kl_coef: [0, 1, 0.005, 3], score: [-10, 10, "any", 2],
    score_clip: [0.05, 10, 0.05, 2], missing_eos_penalty: [0, 5, 0.05, 2] };
  const sliders = traits.map((trait) => {
    const [min, max, step, digits] = limits[trait];
    now[trait] = model.get(trait);
    const symbol = trait === "kl_coef" ? "β " : "";
    const one = slider({ name: trait, label: `${symbol}${w(`slider.${trait}`)}`,
      min, max, step, digits, value: now[trait] ?? max,
      apply: (x) => { now[trait] = x; paint(); }, settle: (x) => write(model, trait, x) });
    const readout = one.element.querySelector("output");
    const show = (x) => {
      now[trait] = x;
      one.set(x ?? max);
      if (x === null) readout.textContent = w("no_clip");
    };
    show(now[trait]);
    stops.push(follow(model, trait, (x) => { show(x); paint(); }));
    return one.element;
  });
  const steps = choices({ label: w("steps"), value: model.get("step"),
    options: [0, 1, 2, 3, 4].map((i) => [i, `${i + 1} ${w(`step.${i}`)}`]),
    apply: (key) => write(model, "step", Number(key)) });
  const estimator = choices({ label: w("estimator"), value: model.get("kl_estimator"),
    options: ["k1", "k2", "k3"].map((name) => [name, name]),
    apply: (name) => write(model, "kl_estimator", name) });
  const ended = h("input", { type: "checkbox", name: "ended",
    onchange: () => write(model, "ended", ended.checked) });
  ended.checked = model.get("ended");
  const root = h("div", { class: "mr mr-tm mr-strip" }, h("p", { class: "mr-note" }, w("caption")),
    h("div", { class: "mr-bar" }, steps.element), what,
    h("div", { class: "mr-bar" }, sliders, h("label", {}, ended, ` ${w("ended")}`),
      h("span", { class: "mr-slider" }, w("estimator"), estimator.element),
      resetButton(model, w("reset"))),
    place, scoreLine, sumLine);
  el.append(root);
  build();
  stops.push(follow(model, "_response", build),
    follow(model, "step", (x) => { steps.set(x); paint(); }),
    follow(model, "ended", (x) => { ended.checked = x; paint(); }),
    follow(model, "kl_estimator", (x) => { estimator.set(x); paint(); }));
  return () => { stops.forEach((stop) => stop()); root.remove(); };
}

export default { render };
