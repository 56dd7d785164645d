// The token microscope, part 1: names, formulas with the numbers put in, alternatives, CSV.

const SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉";

/** Numbers as they were sent: null was NaN, and infinities came as words. */
function unpack(sent, n) {
  const numbers = (list) => list && list.map((x) => (x === null ? NaN : Number(x)));
  const unpacked = { ...sent, n, score: sent.score === null ? NaN : Number(sent.score) };
  for (const key of ["log_prob", "old_log_prob", "ref_log_prob", "value", "truth", "errors"])
    unpacked[key] = numbers(sent[key]);
  return unpacked;
}

/** A row's symbol; `t` is "t" for the row itself, or the token's number, or "t+1". */
function symbolOf(row, t = "t") {
  const low = String(t).replace(/\d/g, (d) => SUBSCRIPTS[d]).replace("t", "ₜ").replace("+", "₊");
  const given = `(A${low}|S${low})`;
  return {
    log_prob: `log π${given}`, old_log_prob: `log π_old${given}`,
    ref_log_prob: `log π_ref${given}`, kl: `kl${low}`, reward: `R${low}`, value: `V${low}`,
    truth: `V*${low}`, td_target: t === "t" ? "Rₜ + γVₜ₊₁" : `target${low}`, delta: `δ${low}`,
    advantage: `Â${low}`, return: `return${low}`, ratio: `ρ${low}`, clip: `clip(ρ${low})`,
    score: "score",
  }[row];
}

/**
 * What a cell is: {symbols, sums, parts}. `symbols` is the formula, `sums` the same with the
 * numbers in, and `parts` the cells that it is made from, as [row, token] pairs.
 */
function formulaOf(row, i, response, numbers, settings, t) {
  const last = i === response.tokens.length - 1;
  const n = (x) => number(x, 4);
  const p = (x) => (n(x).startsWith("−") ? `(${n(x)})` : n(x));
  const at = (name, j = i) => p(numbers[name][j]);
  const s = (name, j = i) => symbolOf(name, j);
  const { beta, gamma, lam, epsilon, estimator, limit } = settings;
  const next = (name) => (last ? "0" : s(name, i + 1));
  const nextAt = (name) => (last ? "0" : at(name, i + 1));
  const after = (name) => (last ? [] : [[name, i + 1]]);
  const is = (symbols, sums, parts) => ({
    symbols: `${s(row)} = ${symbols}`, sums: `${sums} = ${n(numbers[row]?.[i])}`, parts,
  });
  const read = (key) => ({
    symbols: s(row), sums: `${t(`microscope.made.${key}`)}: ${n(numbers[row][i])}`, parts: [],
  });
  const clipped = clipScore(response.score, limit);
  const logs = [["old_log_prob", i], ["ref_log_prob", i]];
  const k1 = `${n(numbers.old_log_prob[i])} − ${at("ref_log_prob")}`;
  switch (row) {
    case "kl":
      if (estimator === "k1") return is(`${s("old_log_prob")} − ${s("ref_log_prob")}`, k1, logs);
      if (estimator === "k2") return is("½·(log π_old − log π_ref)²", `½·(${k1})²`, logs);
      return is("exp(−k₁) − 1 + k₁,  k₁ = log π_old − log π_ref",
        `exp(−(${k1})) − 1 + ${k1}`, logs);
    case "reward":
      if (!last) return is(`−β·${s("kl")}`, `−${n(beta)}·${at("kl")}`, [["kl", i]]);
      return is(`−β·${s("kl")} + clip(score)`, `−${n(beta)}·${at("kl")} + ${p(clipped)}`,
        [["kl", i], ["score", i]]);
    case "td_target":
      return is(`${s("reward")} + γ·${next("value")}`,
        `${at("reward")} + ${n(gamma)}·${nextAt("value")}`, [["reward", i], ...after("value")]);
    case "delta":
      return is(`${s("reward")} + γ·${next("value")} − ${s("value")}`,
        `${at("reward")} + ${n(gamma)}·${nextAt("value")} − ${at("value")}`,
        [["reward", i], ...after("value"), ["value", i]]);
    case "advantage":
      return is(`${s("delta")} + γλ·${next("advantage")}`,
        `${at("delta")} + ${n(gamma)}·${n(lam)}·${nextAt("advantage")}`,
        [["delta", i], ...after("advantage")]);
    case "return":
      return is(`${s("advantage")} + ${s("value")}`, `${at("advantage")} + ${at("value")}`,
        [["advantage", i], ["value", i]]);
    case "ratio":
      return is("exp(log π − log π_old)",
        `exp(${n(numbers.log_prob[i])} − ${at("old_log_prob")})`,
        [["log_prob", i], ["old_log_prob", i]]);
    case "clip":
      return {
        symbols: `clip(${s("ratio")}, 1 − ε, 1 + ε)`,
        sums: `${s("ratio")} = ${at("ratio")}, 1 − ε = ${n(1 - epsilon)}, `
          + `1 + ε = ${n(1 + epsilon)}, ${s("advantage")} = ${n(numbers.advantage[i])}: `
          + t(`microscope.why.${numbers.clip[i]}`),
        parts: [["ratio", i], ["advantage", i]],
      };
    case "score":
      return {
        symbols: limit === null ? "score" : `clip(score, ±${n(limit)})`,
        sums: limit === null ? n(clipped)
          : `clip(${n(response.score)}, ±${n(limit)}) = ${n(clipped)}`,
        parts: [],
      };
    case "truth":
      return response.errors && response.n
        ? { symbols: s(row), parts: [], sums: t("microscope.made.truth_errors",
          { n: response.n, mean: n(numbers.truth[i]), error: n(response.errors[i]) }) }
        : read("truth");
    default: return read(row);
  }
}

/** "−1.23", a value with its error below, or the name of a clip state. */
function cellText(row, value, error, digits, t) {
  if (row === "clip") return t(`microscope.state.${value}`);
  const text = number(value, digits);
  return error === undefined ? text : `${text}\n±${number(error, digits)}`;
}

/** Both responses with every digit: one line per token, one column per row of the table. */
function csvOf(responses, numbers, order) {
  const quoted = (text) => `"${text.replace(/"/g, '""')}"`;
  const cell = (x) => (x === undefined || x === null || Number.isNaN(x) ? "" : String(x));
  const lines = [["response", "t", "token", "score", ...order].join(",")];
  responses.forEach((response, which) => {
    response.tokens.forEach((token, i) => {
      const values = order.map((row) => cell(numbers[which][row]?.[i]));
      lines.push([response.row, i, quoted(token), cell(response.score), ...values].join(","));
    });
  });
  return lines.join("\r\n") + "\r\n";
}

/** The likeliest tokens of Actor and Reference at one step. Returns {element, show(…)}. */
function alternativesPanel(t) {
  const title = h("div", { class: "mr-tm-title" }, t("microscope.alternatives.hint"));
  const lists = h("div", { class: "mr-tm-lists" });
  const one = (label, top, id, word, logProb, missing) => {
    if (!top) return h("div", { class: "mr-tm-list" }, h("b", {}, label), h("p", {}, missing));
    const items = top.map(([text, other, nats]) => [text, Number(nats ?? NaN), other === id]);
    if (!items.some((item) => item[2])) items.push([word, logProb, true]);
    const line = ([text, nats, chosen]) => h("li", chosen ? { class: "mr-tm-chosen" } : {},
      h("bdi", {}, visible(text, 20)), h("span", { class: "mr-code" }, number(Math.exp(nats), 3)),
      h("span", { class: "mr-tm-bar" }, h("i", { style: `width:${100 * Math.exp(nats)}%` })),
      chosen ? h("em", {}, `◀ ${t("microscope.alternatives.written")}`) : null);
    return h("div", { class: "mr-tm-list" }, h("b", {}, label), h("ol", {}, items.map(line)));
  };
  const show = (response, i) => {
    const word = response.tokens[i];
    title.replaceChildren(t("microscope.alternatives.title", { t: i }), " ",
      h("bdi", { class: "mr-tm-full" }, visible(word, 400)));
    lists.replaceChildren(
      one(t("microscope.actor"), response.actor_top?.[i], response.ids[i], word,
        response.old_log_prob[i], t("microscope.alternatives.no_actor")),
      one(t("microscope.reference"), response.reference_top?.[i], response.ids[i], word,
        response.ref_log_prob[i], t("microscope.alternatives.no_reference")));
  };
  const element = h("section",
    { class: "mr-tm-panel mr-tm-alternatives", "aria-label": t("microscope.alternatives.label") },
    title, lists);
  return { element, show };
}
