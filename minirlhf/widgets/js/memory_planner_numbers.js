// The arithmetic of minirlhf/shapes.py and memory.py in JavaScript: bytes of the four models.

/** I, numbers between the feed-forward matrices. */
const inner = (shape) => shape.feed_forward || 4 * shape.width;

/** Numbers of a token's key, and of its value. */
const keyWidth = ({ width, heads, kv_heads }) => (width / heads) * (kv_heads || heads);

/** Of the trunk, with the input table and without an output matrix of its own. */
function parameterCount(shape) {
  const { layers, width: h, vocabulary, positions, family } = shape;
  const i = inner(shape), k = keyWidth(shape);
  if (family === "gpt2")
    return (vocabulary + positions) * h + layers * (4 * h * h + 2 * h * i + 9 * h + i) + 2 * h;
  const biases = family === "qwen2" ? h + 2 * k : 0;
  return vocabulary * h + layers * (2 * h * h + 2 * h * k + 3 * h * i + 2 * h + biases) + h;
}

/** LoRA on every matrix of every block. */
function loraCount(shape, rank) {
  const h = shape.width, i = inner(shape), k = keyWidth(shape);
  return shape.layers * rank * (shape.family === "gpt2"
    ? 6 * h + 2 * (h + i) : 4 * h + 2 * (h + k) + 3 * (h + i));
}

/** Of each model: [weights that it adds to memory, how many of its weights are trained]. */
function modelCounts(language, scorer, rank, sharing) {
  if (sharing === "one trunk") scorer = language;
  const head = scorer.width, other = parameterCount(scorer);
  const trunk = parameterCount(language)
    + (language.tied ? 0 : language.vocabulary * language.width);
  const counts = {
    "Actor": [trunk, trunk], "Reference": [trunk, 0],
    "Critic": [other + head, other + head], "Reward model": [other + head, 0],
  };
  if (rank > 0) {
    const adapters = loraCount(language, rank), own = loraCount(scorer, rank) + head;
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

/** Numbers that blocks and head keep of each token for the backward pass. */
function keptOfToken(shape, { length, attention, checkpointing }, trained) {
  const { width: h, heads, layers, family } = shape, gpt2 = family === "gpt2";
  const weights = attention === "eager" ? heads * length : length + heads;
  const block = weights + (gpt2 ? 8 * h + (shape.fused_gelu ? 2 : 5) * inner(shape) + 4
    : 10 * h + 4 * inner(shape) + 2);
  if (!trained) return block;
  return (checkpointing ? block + layers * h : layers * block) + (gpt2 ? 2 : 3) * h;
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
    const kept = s.rows * s.length * keptOfToken(shape, s, trained > 0);
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
