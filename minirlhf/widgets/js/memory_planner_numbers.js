// The arithmetic of minirlhf/shapes.py, memory_passes.py and memory.py in JavaScript: bytes of the
// four models, with one microbatch a step, logits at all tokens, and sampling step by step.

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

const FLOAT32 = 4, LOGITS_AT_ONCE = 2 ** 30;

/** Of one block's matrices: weights. */
function blockMatrices(shape) {
  const h = shape.width, i = inner(shape), k = keyWidth(shape);
  return shape.family === "gpt2" ? 4 * h * h + 2 * h * i : 2 * h * h + 2 * h * k + 3 * h * i;
}

/** Of one token, for the backward pass of one block. */
function keptByBlock(shape, how) {
  const { width: h, heads } = shape, i = inner(shape), casts = how.narrow < how.wide;
  const gpt2 = shape.family === "gpt2";
  const weights = how.attention === "eager"
    ? heads * how.length * (how.narrow + (casts ? how.wide : 0))
    : how.length * how.narrow + heads * FLOAT32;
  const wide = (gpt2 || how.rank ? 2 : 4) * h;
  const narrow = gpt2 ? 6 * h + (shape.fused_gelu ? 2 : 5) * i : (casts ? 9 : 6) * h + 4 * i;
  return wide * how.wide + (narrow + (gpt2 ? 4 : 7) * how.rank) * how.narrow + weights
    + 4 * FLOAT32;
}

/** Of one token, while a block is run without gradient. */
function heldByBlock(shape, how) {
  const { width: h, heads } = shape, eager = how.attention === "eager";
  const gelu = shape.family === "gpt2" ? (shape.fused_gelu ? 2 : 4) : 3;
  const weights = eager ? heads * how.length : 0;
  const half = Math.max((gelu * inner(shape) + weights) * how.narrow,
    2 * weights * FLOAT32 + 3 * h * how.narrow);
  return half + 6 * h * how.wide + how.length * (eager ? FLOAT32 : 1);
}

/** Of one token, on the way back through a block, beyond what it kept. */
function backThroughBlock(shape, how) {
  const i = inner(shape) * how.narrow;
  const weights = how.attention === "eager" ? shape.heads * how.length * FLOAT32 : 0;
  const gone = (shape.family === "gpt2" ? (shape.fused_gelu ? 2 : 5) : 4) * i;
  return Math.max(2 * i, 2 * weights - gone) + 2 * shape.width * how.wide;
}

/** Bytes of the logits held at once, and whether they are a chunk. */
function logitsOf(shape, how) {
  const each = shape.vocabulary * FLOAT32, chunked = how.tokens * each > LOGITS_AT_ONCE;
  const tokens = chunked ? Math.max(1, Math.floor(LOGITS_AT_ONCE / (2 * each))) : how.tokens;
  return [tokens * each, chunked];
}

/** A pass without gradient; `tables` as large as the logits. */
function reading(shape, how, tables) {
  const casts = how.narrow < how.wide, [table, chunked] = logitsOf(shape, how);
  const copy = shape.vocabulary * shape.width * how.narrow;
  let head = tables * table;
  if (tables && casts)
    head = Math.max(Math.floor(table * 5 / 2) + (chunked ? copy : 0), Math.floor(table / 2) + copy);
  return Math.max(how.tokens * heldByBlock(shape, how), head);
}

/** A pass with gradient, at its worst. */
function learning(shape, how, speaks) {
  const casts = how.narrow < how.wide, { layers, width: h } = shape;
  const copies = (blocks) => casts ? blocks * blockMatrices(shape) * how.narrow : 0;
  const block = keptByBlock(shape, how), outside = (shape.family === "gpt2" ? 2 : 3) * h * how.wide;
  let stays = how.tokens * (layers * (how.checkpointing ? h * how.wide : block) + outside);
  let back = how.tokens * backThroughBlock(shape, how), forward = 0;
  if (how.checkpointing) {
    back += how.tokens * block + copies(1);
    forward = how.tokens * heldByBlock(shape, how) + copies(how.rank ? 0 : layers);
  } else stays += copies(layers);
  if (!speaks) return stays + Math.max(back, forward);
  const [table, chunked] = logitsOf(shape, how), output = shape.vocabulary * h;
  const gradient = how.rank ? 0 : output * how.wide, half = casts ? output * how.narrow : 0;
  const head = chunked ? Math.floor(table * (casts ? 5 : 4) / 2) + gradient + half
    : Math.max(half + 3 * table, Math.floor(table * how.narrow / FLOAT32) + gradient
      + (gradient ? half : 0));
  return stays + Math.max(head, back + gradient, forward);
}

/** The passes of a rollout that one model makes, with the copies that autocast keeps meanwhile. */
function inRollout(name, shape, how, language) {
  let held = reading(shape, how, { "Actor": 3, "Reference": 2 }[name] ?? 0);
  if (name === "Actor") {
    const size = shape.family === "gpt2" ? how.narrow : how.wide;
    held = Math.max(held, 2 * shape.layers * keyWidth(shape) * how.tokens * size
      + how.rows * shape.vocabulary * (how.narrow + FLOAT32 + 16));
  }
  if (how.narrow < how.wide && !how.rank) {
    held += language.layers * blockMatrices(language) * how.narrow
      + language.vocabulary * language.width * how.narrow;
    if (name === "Critic") held += shape.layers * blockMatrices(shape) * how.narrow;
  }
  return held;
}

/** Bytes by model: {weights, gradients, optimiser, activations, …}; null where LoRA is needed. */
function memoryPlan(s, tables) {
  if (["pairs", "one trunk"].includes(s.sharing) && !s.lora_rank) return null;
  const language = tables.shapes[s.language], scorer = tables.shapes[s.scorer];
  const [weight, number, activation] = tables.precisions[s.precision];
  const each = s.optimiser === "AdamW 8 bit" ? 1 : number;
  const state = tables.optimisers[s.optimiser] * each + (s.precision === "mixed" ? 4 : 0);
  const how = { rows: s.rows, length: s.length, tokens: s.rows * s.length, wide: weight,
    narrow: activation, attention: s.attention, checkpointing: s.checkpointing,
    rank: s.lora_rank };
  const plan = {};
  for (const [name, [stored, trained]] of
       Object.entries(modelCounts(language, scorer, s.lora_rank, s.sharing))) {
    const ofLanguage = name === "Actor" || name === "Reference" || s.sharing === "one trunk";
    const shape = ofLanguage || (name === "Critic" && s.sharing === "value head")
      ? language : scorer;
    const read = inRollout(name, shape, how, language);
    const table = name === "Actor" && shape.tied && !s.lora_rank
      ? shape.vocabulary * shape.width * weight : 0;
    const waiting = activation < weight || logitsOf(shape, how)[1] ? 1 : 2;
    plan[name] = {
      weights: stored * weight, gradients: trained * weight, optimiser: trained * state,
      activations: trained ? learning(shape, how, name === "Actor") : read,
      reading: read, closing: waiting * table,
    };
  }
  return plan;
}

/** The worst moment of an iteration: {weights, gradients, optimiser, activations}. */
function worstMoment(plan) {
  const parts = Object.values(plan), sum = (kind) => parts.reduce((x, p) => x + p[kind], 0);
  const weights = sum("weights"), optimiser = sum("optimiser"), moments = [];
  let gradients = 0;
  for (const p of parts)
    moments.push({ weights, gradients: 0, optimiser, activations: p.reading });
  for (const p of parts) if (p.gradients) {
    moments.push({ weights, gradients, optimiser, activations: p.activations });
    gradients += p.gradients;
    moments.push({ weights, gradients, optimiser, activations: p.closing });
  }
  const total = (m) => m.weights + m.gradients + m.optimiser + m.activations;
  return moments.reduce((a, b) => total(b) > total(a) ? b : a);
}
