// The exact truth of a tree of prefixes: the twin of minirlhf/worlds/exact/truth.py, in float64.
// States lie in a heap: state s followed by word a is state s·words + 1 + a; EOS is the last
// token.

/** The numbers inside a DataView, which need not be aligned. */
function floats(view) {
  const { buffer, byteOffset, byteLength } = view;
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}

/** Scores: one float32 each, or one byte each that numbers the few values that occur. */
function scoresOf(view, levels) {
  if (!levels.length) return Float64Array.from(floats(view));
  const codes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return Float64Array.from(codes, (code) => levels[code]);
}

/** softmax of a table (S, V) over T, row by row: [its logarithm, itself]. */
function tempered(table, V, temperature) {
  const [logs, chances] = [new Float64Array(table.length), new Float64Array(table.length)];
  for (let row = 0; row < table.length; row += V) {
    let [top, sum] = [-Infinity, 0];
    for (let a = row; a < row + V; a++) top = Math.max(top, table[a] / temperature);
    for (let a = row; a < row + V; a++)
      sum += chances[a] = Math.exp(table[a] / temperature - top);
    const norm = top + Math.log(sum);
    for (let a = row; a < row + V; a++) {
      logs[a] = table[a] / temperature - norm;
      chances[a] /= sum;
    }
  }
  return [logs, chances];
}

/** One term of the toll at one state and token; see kl.py. */
function tollOf(k1, estimator) {
  if (estimator === "k2") return 0.5 * k1 * k1;
  if (estimator === "k3") return Math.expm1(-k1) + k1;
  return k1;
}

/**
 * Everything at a temperature, of which policy and reference both are sampled.
 * tree: {words, steps}; settings: {beta, gamma, estimator}; final: (S·V) scores of answers.
 * Gives tables (S·V) pi, refPi, kl, q, advantages, and (S) reach, values; kl of whole answers is
 * klSum, of J objective, and mass is the sum of all answers' probabilities.
 */
function exactTruth(logits, refLogits, final, tree, settings, temperature) {
  const V = tree.words + 1;
  const S = logits.length / V;
  const [logPi, pi] = tempered(logits, V, temperature);
  const [refLogPi, refPi] = tempered(refLogits, V, temperature);
  const kl = logPi.map((x, i) => x - refLogPi[i]);
  const [q, advantages] = [new Float64Array(S * V), new Float64Array(S * V)];
  const [reach, values] = [new Float64Array(S), new Float64Array(S)];
  for (let s = S - 1; s >= 0; s--) {
    for (let a = 0; a < V; a++) {
      const [i, child] = [s * V + a, s * tree.words + 1 + a];
      const goesOn = a < tree.words && child < S;
      const reward = (goesOn ? 0 : final[i]) - settings.beta * tollOf(kl[i], settings.estimator);
      q[i] = reward + (goesOn ? settings.gamma * values[child] : 0); //  Q = R + γ·V(s, a)
      values[s] += pi[i] * q[i]; //                                      V = Σ π·Q
    }
    for (let i = s * V; i < s * V + V; i++) advantages[i] = q[i] - values[s]; // A = Q − V
  }
  reach[0] = 1;
  let [klSum, score, mass] = [0, 0, 0];
  for (let s = 0; s < S; s++)
    for (let a = 0; a < V; a++) {
      const [i, child] = [s * V + a, s * tree.words + 1 + a];
      const chance = reach[s] * pi[i];
      klSum += chance * kl[i];
      if (a < tree.words && child < S) reach[child] = chance;
      else {
        mass += chance;
        score += chance * final[i];
      }
    }
  return { S, V, pi, refPi, kl, q, advantages, reach, values, klSum, score, mass,
           objective: score - settings.beta * klSum };
}
