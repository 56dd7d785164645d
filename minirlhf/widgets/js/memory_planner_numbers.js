// The arithmetic of minirlhf/memory.py in JavaScript: bytes of the four models.

/** (V + positions)·H + layers·(12·H² + 13·H) + 2·H */
function parameterCount({ layers, width: h, vocabulary, positions }) {
  return (vocabulary + positions) * h + layers * (12 * h * h + 13 * h) + 2 * h;
}

/** Of each model: [weights that it adds to memory, how many of its weights are trained]. */
function modelCounts(language, scorer, rank, sharing) {
  if (sharing === "one trunk") scorer = language;
  const head = scorer.width, trunk = parameterCount(language), other = parameterCount(scorer);
  const counts = {
    "Actor": [trunk, trunk], "Reference": [trunk, 0],
    "Critic": [other + head, other + head], "Reward model": [other + head, 0],
  };
  if (rank > 0) {
    const adapters = 16 * rank * language.layers * language.width;
    const own = 16 * rank * scorer.layers * scorer.width + head;
    counts["Actor"] = [trunk + adapters, adapters];
    counts["Critic"] = [other + own, own];
    if (sharing === "pairs" || sharing === "one trunk") {
      counts["Reference"] = [0, 0];
      counts["Critic"] = [own, own];
    }
    if (sharing === "one trunk") counts["Reward model"] = [own, 0];
  }
  if (sharing === "value head") counts["Critic"] = [language.width, language.width];
  return counts;
}

/** Numbers that blocks keep for the backward pass: 16·H + heads·length per token and block. */
function keptNumbers(shape, rows, length, trained, checkpointing) {
  const tokens = rows * length;
  const block = tokens * (16 * shape.width + shape.heads * length);
  if (!trained) return block;
  return checkpointing ? block + shape.layers * tokens * shape.width : block * shape.layers;
}

/** Bytes by model: {weights, gradients, optimiser, activations}; null where LoRA is needed. */
function memoryPlan(s, tables) {
  if (["pairs", "one trunk"].includes(s.sharing) && !s.lora_rank) return null;
  const language = tables.shapes[s.language], scorer = tables.shapes[s.scorer];
  const [weight, number, activation] = tables.precisions[s.precision];
  const each = s.optimiser === "AdamW 8 bit" ? 1 : number;
  const state = tables.optimisers[s.optimiser] * each + (s.precision === "mixed" ? 4 : 0);
  const plan = {};
  for (const [name, [stored, trained]] of
       Object.entries(modelCounts(language, scorer, s.lora_rank, s.sharing))) {
    const ofLanguage = name === "Actor" || name === "Reference" || s.sharing === "one trunk";
    const shape = ofLanguage || (name === "Critic" && s.sharing === "value head")
      ? language : scorer;
    const kept = keptNumbers(shape, s.rows, s.length, trained > 0, s.checkpointing);
    const logits = { Actor: 3, Reference: 1 }[name] ?? 0;
    plan[name] = {
      weights: stored * weight, gradients: trained * weight, optimiser: trained * state,
      activations: kept * activation + logits * s.rows * s.length * shape.vocabulary * 4,
    };
  }
  return plan;
}

/** Everything that stays, and the activations of one model. */
function memoryPeak(plan) {
  const parts = Object.values(plan);
  return parts.reduce((sum, p) => sum + p.weights + p.gradients + p.optimiser, 0)
    + Math.max(...parts.map((p) => p.activations));
}
