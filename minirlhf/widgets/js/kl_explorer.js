// Two small policies; the estimates k1, k2, k3 of their KL, and the gradients that each really gives.

const KL_ROWS = ["kl", "reverse_kl", "reward_k1", "reward_k2", "reward_k3", "loss_k1", "loss_k2", "loss_k3"];

/** Tokens in columns: the two policies, the three estimates and their expectations. */
function valueTable(found, tokens, say) {
  const row = (key, last) => h("tr", { "data-row": key }, h("th", { scope: "row" }, say(`kl_explorer.value.${key}`)),
    found[key].map((x) => h("td", { class: "mr-value" }, number(x, 3))), h("td", { class: "mr-mean" }, last));
  const head = h("tr", {}, h("td"), tokens.map((t) => h("th", { scope: "col" }, h("bdi", {}, visible(t)))),
    h("th", { scope: "col" }, say("kl_explorer.expectation")));
  return h("table", {}, h("thead", {}, head), h("tbody", {}, row("actor", ""), row("reference", ""),
    ["k1", "k2", "k3"].map((key, i) => row(key, number(found.expected[i], 3)))));
}

/** Gradients by the actor's logits, and which of them are equal. */
function gradientTable(found, tokens, say) {
  const equal = found.kl.every((x) => Math.abs(x) < 1e-9);
  const row = (key) => {
    const exact = key === "kl" || key === "reverse_kl", match = exact ? "exact" : klMatch(found, key);
    const text = say(`kl_explorer.equal.${match === "zero" && equal ? "all" : match}`);
    return h("tr", { "data-row": key, "data-match": match, class: exact ? "mr-exact-row" : null },
      h("th", { scope: "row" }, say(`kl_explorer.row.${key}`)),
      found[key].map((x) => h("td", { class: "mr-value" }, number(x, 3))), h("td", { class: "mr-match" }, text));
  };
  const head = h("tr", {}, h("td"), tokens.map((t) => h("th", { scope: "col" }, h("bdi", {}, visible(t)))),
    h("th", { scope: "col", class: "mr-match" }, say("kl_explorer.equals")));
  return h("table", {}, h("caption", {}, say("kl_explorer.gradients")), h("thead", {}, head), h("tbody", {}, KL_ROWS.map(row)));
}

/** One slider a token, for the policy that is moved, in probabilities or logits. */
function policySliders(model, say) {
  const by = model.get("by"), tokens = model.get("tokens");
  const range = by === "logits" ? { min: -5, max: 5, step: 0.1 } : { min: 0.01, max: 0.97, step: 0.01 };
  const shown = () => {
    const logits = model.get(model.get("moves"));
    return by === "logits" ? logits : logSoftmax(logits).map(Math.exp);
  };
  const change = (a, value) => {
    const logits = model.get(model.get("moves"));
    return by === "logits" ? logits.map((z, b) => (b === a ? value : z)) : withProbability(logits, a, value);
  };
  const sliders = tokens.map((token, a) => slider({
    name: `token${a}`, label: visible(token, 12), value: shown()[a], ...range,
    apply: (x) => model.set(model.get("moves"), change(a, x)),
    settle: () => write(model, model.get("moves"), model.get(model.get("moves"))),
  }));
  return {
    elements: sliders.map(({ element }) => element),
    show: () => {
      const now = shown();
      sliders.forEach(({ input, set }, a) => { if (Math.abs(input.valueAsNumber - now[a]) > range.step / 2) set(now[a]); });
    },
  };
}

export default {
  render({ model, el }) {
    const say = words(model);
    const choice = (trait, options) => choices({
      label: say(`kl_explorer.${trait}`), value: model.get(trait), apply: (x) => write(model, trait, x),
      options: options.map((key) => [key, say(`kl_explorer.${trait}.${key}`)]),
    });
    const by = choice("by", ["probabilities", "logits"]), moves = choice("moves", ["actor", "reference"]);
    const same = h("button", { type: "button", onclick: () => write(model, "actor", [...model.get("reference")]) },
      say("kl_explorer.same"));
    const bar = h("div", { class: "mr-bar" }), plot = h("div"), values = h("div", { class: "mr-wide" });
    const gradients = h("div", { class: "mr-wide" });
    const spoken = h("p", { class: "mr-kl-text", "aria-live": "polite" });
    let sliders = null;
    const build = () => {
      by.set(model.get("by"));
      moves.set(model.get("moves"));
      sliders = policySliders(model, say);
      bar.replaceChildren(...sliders.elements);
      draw();
    };
    const draw = () => {
      const tokens = model.get("tokens"), found = klNumbers(model.get("actor"), model.get("reference"));
      const [k1, k2, k3, kl, reverse] = found.expected.map((x) => number(x, 3));
      spoken.textContent = say("kl_explorer.alt", { k1, k2, k3, kl, reverse });
      plot.replaceChildren(drawKL(found, tokens, say, `${say("kl_explorer.title")}. ${spoken.textContent}`));
      values.replaceChildren(valueTable(found, tokens, say));
      gradients.replaceChildren(gradientTable(found, tokens, say));
      sliders.show();
    };
    const stop = [...["by", "moves", "tokens"].map((trait) => follow(model, trait, build)),
      ...["actor", "reference"].map((trait) => follow(model, trait, draw))];
    el.append(h("div", { class: "mr mr-kl" }, h("div", { class: "mr-bar" }, moves.element, by.element, same), bar,
      spoken, plot, values, gradients, h("p", { class: "mr-note" }, say("kl_explorer.caption"))));
    build();
    return () => stop.forEach((end) => end());
  },
};
