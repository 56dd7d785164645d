// The formulas of one response: twins of kl.py, rewards.py, advantages.py and losses.py.
// Arrays hold one number for each counted token; arithmetic is float64, in the same order as there.

/** One sample's estimate of KL(actor‖reference) at each token, nats. */
function perTokenKl(logProbs, refLogProbs, estimator = "k1") {
  return logProbs.map((logProb, t) => {
    const k1 = logProb - refLogProbs[t];
    if (estimator === "k2") return 0.5 * k1 ** 2; //              k2 = ½·k1²
    if (estimator === "k3") return Math.expm1(-k1) + k1; //       k3 = exp(−k1) − 1 + k1
    return k1; //                                                 k1 = log π − log π_ref
  });
}

/** clip(score, ±limit); null = no limit. */
function clipScore(score, limit) {
  return limit === null || limit === undefined ? score : Math.min(Math.max(score, -limit), limit);
}

/** R_t = −β·kl_t + [t is the last token]·clip(score, ±limit) */
function perTokenRewards(score, kl, beta, limit = null) {
  return kl.map((x, t) => -beta * x + (t === kl.length - 1 ? clipScore(score, limit) : 0));
}

/** target_t = R_t + γ·V_{t+1}      (V after the last token is 0) */
function tdTargets(rewards, values, gamma) {
  return rewards.map((reward, t) => reward + gamma * (values[t + 1] ?? 0));
}

/**
 * δ_t = R_t + γ·V_{t+1} − V_t,  Â_t = δ_t + γλ·Â_{t+1},  return_t = Â_t + V_t
 * Gives {deltas, advantages, returns}.
 */
function gae(rewards, values, gamma, lam) {
  const deltas = tdTargets(rewards, values, gamma).map((target, t) => target - values[t]);
  const advantages = new Array(deltas.length);
  let advantage = 0;
  for (let t = deltas.length - 1; t >= 0; t--) {
    advantage = deltas[t] + gamma * lam * advantage;
    advantages[t] = advantage;
  }
  return { deltas, advantages, returns: advantages.map((a, t) => a + values[t]) };
}

/** What each δ_{t+l} adds to Â_t: (γλ)^l·δ_{t+l}, for l = 0, 1, … up to the last token. */
function gaeShares(deltas, t, gamma, lam) {
  return deltas.slice(t).map((delta, l) => (gamma * lam) ** l * delta);
}

/** ρ_t = exp(log π − log π_old) */
function ratios(logProbs, oldLogProbs) {
  return logProbs.map((logProb, t) => Math.exp(logProb - oldLogProbs[t]));
}

/**
 * Where ρ lies and whether the clip holds it there, which makes its gradient 0:
 * "inside", "held above" (Â > 0, ρ > 1 + ε), "held below" (Â < 0, ρ < 1 − ε), or outside on the
 * side that the loss still pulls back: "free above", "free below".
 */
function clipState(ratio, advantage, epsilon) {
  if (ratio > 1 + epsilon) return advantage > 0 ? "held above" : "free above";
  if (ratio < 1 - epsilon) return advantage < 0 ? "held below" : "free below";
  return "inside";
}

/** PPO's loss of one token: max(−Â·ρ, −Â·clip(ρ, 1 − ε, 1 + ε)) */
function clippedLoss(ratio, advantage, epsilon) {
  const held = Math.min(Math.max(ratio, 1 - epsilon), 1 + epsilon);
  return Math.max(-advantage * ratio, -advantage * held);
}

/**
 * Every row of numbers of one response.
 * response: {score, log_prob, old_log_prob, ref_log_prob, value, truth}, arrays of one length;
 * settings: {beta, gamma, lam, epsilon, estimator, limit}.
 */
function tokenNumbers(response, { beta, gamma, lam, epsilon, estimator, limit }) {
  const kl = perTokenKl(response.old_log_prob, response.ref_log_prob, estimator);
  const reward = perTokenRewards(response.score, kl, beta, limit);
  const { deltas, advantages, returns } = gae(reward, response.value, gamma, lam);
  const ratio = ratios(response.log_prob, response.old_log_prob);
  return {
    log_prob: response.log_prob,
    old_log_prob: response.old_log_prob,
    ref_log_prob: response.ref_log_prob,
    kl,
    reward,
    value: response.value,
    truth: response.truth,
    td_target: tdTargets(reward, response.value, gamma),
    delta: deltas,
    advantage: advantages,
    return: returns,
    ratio,
    clip: ratio.map((rho, t) => clipState(rho, advantages[t], epsilon)),
  };
}
