// The GAE explorer: each δ's share of one Â_t, while γ and λ move.

/** In words: what this γλ means for a token that has `left` tokens to come, itself included. */
function gaeWords(gamma, lam, left, rest, value, w) {
  const fade = gamma * lam;
  if (fade === 0) return w("lam_0");
  if (fade === 1) return `${w("none")} ${w("lam_1", { rest: number(rest), value: number(value) })}`;
  const all = (1 - fade ** left) / (1 - fade);
  let seen = 0;
  for (let sum = 0; seen < left && sum < 0.9 * all; seen++) sum += fade ** seen;
  return w("between", { half: number(Math.log(0.5) / Math.log(fade), 1), seen, left });
}

function render({ model, el }) {
  const w = words(model, "gae_explorer");
  const stops = [];
  const place = h("div");
  const sumLine = h("div", { class: "mr-strip-sum mr-code", "aria-live": "polite" });
  const said = h("p", { class: "mr-note" });
  const now = { gamma: model.get("gamma"), lam: model.get("lam"), token: model.get("token") };
  let response;
  let strip;

  const paint = () => {
    const n = response.tokens.length;
    if (!n) return;
    const { gamma, lam } = now;
    const at = Math.min(now.token, n - 1);
    const { deltas, advantages, returns } = gae(response.reward, response.value, gamma, lam);
    const before = new Array(at).fill(NaN);
    const share = [...before, ...gaeShares(deltas, at, gamma, lam)];
    const weight = deltas.map((_, i) => (i < at ? NaN : (gamma * lam) ** (i - at)));
    let sum = 0;
    const total = share.map((x) => (Number.isNaN(x) ? NaN : (sum += x)));
    const show = (key, values, digits = 2) =>
      strip.set(key, values.map((x) => (Number.isNaN(x) ? "" : number(x, digits))));
    show("delta", deltas);
    show("weight", weight, 3);
    show("share", share);
    show("total", total);
    // one scale for every λ, so that a bar that shrinks is a share that shrinks
    strip.bars(share.map((x) => x || 0), w("bars"), Math.max(...deltas.map(Math.abs)));
    strip.mark(at);
    const rest = response.reward.slice(at).reduce((a, b) => a + b, 0);
    sumLine.textContent = w("sum", { t: at, advantage: number(advantages[at]),
      returned: number(returns[at]) });
    said.textContent = gaeWords(gamma, lam, n - at, rest, response.value[at], w);
  };
  const build = () => {
    const sent = model.get("_response");
    response = unpack(sent);
    response.reward = sent.reward.map((x) => (x === null ? NaN : Number(x)));
    const rows = [["delta", symbolOf("delta"), w("row.delta")],
      ["weight", "(γλ)ˡ", w("row.weight")],
      ["share", "(γλ)ˡ·δₜ₊ₗ", w("row.share")], ["total", "Σ", w("row.total")]];
    strip = placeStrip(place, response.tokens, rows, w);
    sliders.token.input.max = Math.max(0, response.tokens.length - 1);
    paint();
  };
  const make = (trait, symbol, max, step, digits) => {
    const one = slider({ name: trait, label: `${symbol}${w(`slider.${trait}`)}`, min: 0, max, step,
      digits, value: now[trait], apply: (x) => { now[trait] = x; paint(); },
      settle: (x) => write(model, trait, x) });
    stops.push(follow(model, trait, (x) => { now[trait] = x; one.set(x); paint(); }));
    return one;
  };
  const last = Math.max(0, model.get("_response").tokens.length - 1);
  const sliders = { gamma: make("gamma", "γ ", 1, 0.005, 3), lam: make("lam", "λ ", 1, 0.005, 3),
    token: make("token", "", last, 1, 0) };
  place.addEventListener("click", (event) => {
    const cell = event.target.closest("td, thead th[scope=col]");
    if (cell) write(model, "token", cell.cellIndex - 1);
  });
  const root = h("div", { class: "mr mr-tm mr-strip" }, h("p", { class: "mr-note" }, w("caption")),
    h("div", { class: "mr-bar" }, Object.values(sliders).map((one) => one.element), resetButton(model, w("reset"))),
    place, sumLine, said);
  el.append(root);
  build();
  stops.push(follow(model, "_response", build));
  return () => { stops.forEach((stop) => stop()); root.remove(); };
}

export default { render };
