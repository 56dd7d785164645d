// One decision: k1, k2, k3, their expectations and their gradients by the actor's logits, exactly.

function logSoftmax(logits) {
  const top = Math.max(...logits);
  const logSum = top + Math.log(logits.reduce((sum, z) => sum + Math.exp(z - top), 0));
  return logits.map((z) => z - logSum);
}

/** The same as `kl_numbers` in Python, which uses autograd; here are the formulas. */
function klNumbers(actorLogits, refLogits) {
  const lp = logSoftmax(actorLogits), ref = logSoftmax(refLogits);
  const pi = lp.map(Math.exp), piRef = ref.map(Math.exp);
  const mean = (weights, x) => weights.reduce((sum, w, a) => sum + w * x[a], 0);
  const k1 = lp.map((l, a) => l - ref[a]);
  const k = { k1, k2: k1.map((x) => 0.5 * x * x), k3: k1.map((x) => Math.expm1(-x) + x) };
  // slope of each estimate by its own log π
  const slope = { k1: k1.map(() => 1), k2: k1, k3: k1.map((x) => -Math.expm1(-x)) };
  // Σ_y π(y)·c(y)·∇log π(y), with ∂log π(y)/∂z(a) = [y = a] − π(a)
  const push = (c) => { const m = mean(pi, c); return pi.map((p, a) => p * (c[a] - m)); };
  const found = {
    actor: pi, reference: piRef, ...k,
    kl: push(k1), // ∇KL(π‖ref): the +1 of the product rule is 0 on average
    reverse_kl: pi.map((p, a) => p - piRef[a]),
    expected: [mean(pi, k.k1), mean(pi, k.k2), mean(pi, k.k3), mean(pi, k1), mean(piRef, k1.map((x) => -x))],
  };
  for (const name of ["k1", "k2", "k3"]) {
    found[`reward_${name}`] = push(k[name]);
    found[`loss_${name}`] = push(slope[name]);
  }
  return found;
}

/** Which exact gradient these numbers are: "zero", "kl", "reverse_kl", "difference" or "none". */
function klMatch(found, row) {
  const candidates = {
    zero: found.kl.map(() => 0), kl: found.kl, reverse_kl: found.reverse_kl,
    difference: found.kl.map((x, a) => x - found.reverse_kl[a]),
  };
  const close = (x, y) => Math.abs(x - y) <= Math.max(1e-9 * Math.max(Math.abs(x), Math.abs(y)), 1e-9);
  for (const [name, wanted] of Object.entries(candidates))
    if (wanted.every((y, a) => close(found[row][a], y))) return name;
  return "none";
}

/** Logits after one probability was set: the others share the rest as they did before. */
function withProbability(logits, at, wanted) {
  const p = logSoftmax(logits).map(Math.exp), rest = Math.max(1 - p[at], 1e-12);
  return p.map((x, a) => Math.log(a === at ? wanted : Math.max((x * (1 - wanted)) / rest, 1e-4)));
}

/** Bars of the two policies on the left, of the three expectations on the right. */
function drawKL(found, tokens, say, description) {
  const picture = svg("svg", { viewBox: "0 0 1000 250", class: "mr-kl-plot", role: "img", "aria-label": description });
  const words = (x, y, text, more = {}) => svg("text", { x, y, "text-anchor": "middle", ...more }, text);
  const bottom = 200, high = 170, wide = 440 / tokens.length, bar = Math.min(44, wide * 0.4);
  tokens.forEach((token, a) => {
    const middle = 40 + wide * (a + 0.5), [p, q] = [found.actor[a] * high, found.reference[a] * high];
    picture.append(
      svg("rect", { x: middle - bar, y: bottom - p, width: bar - 2, height: p, class: "mr-actor" }),
      svg("rect", { x: middle + 2, y: bottom - q, width: bar - 2, height: q, class: "mr-reference" }),
      words(middle, bottom + 18, visible(token, 12)));
  });
  picture.append(svg("path", { d: `M40 ${bottom}h440`, class: "mr-kl-axis" }),
    svg("rect", { x: 60, y: 229, width: 14, height: 14, class: "mr-actor" }),
    words(82, 241, say("kl_explorer.actor"), { "text-anchor": "start" }),
    svg("rect", { x: 200, y: 229, width: 14, height: 14, class: "mr-reference" }),
    words(222, 241, say("kl_explorer.reference"), { "text-anchor": "start" }));
  drawExpectations(picture, words, found, say);
  return picture;
}

/** E[k1], E[k2], E[k3] as bars against lines for the two exact KLs. */
function drawExpectations(picture, words, found, say) {
  const left = 640, bottom = 205, top = Math.max(...found.expected, 0.05);
  const x = (v) => left + (Math.max(v, 0) / top) * 330;
  ["k1", "k2", "k3"].forEach((name, i) => {
    const value = found.expected[i], y = 62 + i * 48;
    picture.append(words(left - 10, y + 16, `E[${name}] = ${number(value, 3)}`, { "text-anchor": "end" }),
      svg("rect", { x: left, y, width: x(value) - left, height: 22, class: "mr-expected" }));
  });
  [["kl", 3, 15], ["reverse_kl", 4, 35]].forEach(([key, i, y]) => {
    const style = `mr-exact mr-of-${key}`, at = x(found.expected[i]);
    picture.append(svg("path", { d: `M${at} 50V${bottom}`, class: style }),
      svg("path", { d: `M${left} ${y}h40`, class: style }),
      words(left + 50, y + 5, `${say(`kl_explorer.${key}`)} = ${number(found.expected[i], 3)}`, { "text-anchor": "start" }));
  });
  picture.append(svg("path", { d: `M${left} 50V${bottom}`, class: "mr-kl-axis" }),
    words(left + 165, 226, say("kl_explorer.nats")));
}
