// The map of the four models as SVG. Units: ten of the static picture's, y upwards there.
const TOP = 46.5, MIDDLE = 34, BUS = 52;

/** Everything of one stage; `state` says what is lit, marked and trained. */
function drawMap(state) {
  const { map, say } = state;
  const [width, height] = map.size;
  const y = (up) => (height - 7 - up) * 10;
  const picture = svg("svg", {
    viewBox: `0 0 ${width * 10} ${y(map.bottom)}`, class: "mr-map", role: "img",
    "aria-label": describeMap(state),
  });
  const all = { ...state, y, lit: state.step !== null };
  picture.append(...map.arrows.map((arrow, i) => drawArrow(arrow, i, all)).filter(Boolean));
  picture.append(drawBus(all), ...map.models.map((model) => drawModel(model, all)));
  picture.append(...map.nodes.map((node) => drawNode(node, all)));
  if (all.lit) picture.append(...state.step.badges.map((badge) => drawBadge(badge, all)));
  return picture;
}

function describeMap({ map, say, trained, counts, stage }) {
  const models = map.models.map(({ id }) => {
    const title = say(`four_models.model.${id}`);
    if (!(id in trained)) return say("four_models.alt.absent", { title });
    const key = trained[id] ? "four_models.trained" : "four_models.frozen";
    const count = id in counts ? `, ${counts[id].toLocaleString("en")} ${say("four_models.parameters")}` : "";
    return `${title}: ${say(key)}${count}`;
  });
  return `${say(`four_models.stage.${stage}`)}. ${models.join("; ")}.`;
}

function box(x, top, width, height, attributes = {}) {
  return svg("rect", { x, y: top, width, height, rx: 8, ...attributes });
}

function label(x, at, text, attributes = {}) {
  return svg("text", { x, y: at, "text-anchor": "middle", "dominant-baseline": "central", ...attributes }, text);
}

/** Dim what the current step does not touch. */
function dimmed(group, isLit, { lit }) {
  if (lit) group.classList.add(isLit ? "mr-lit" : "mr-dim");
  return group;
}

function drawBus({ map, say, stage, y, step, lit }) {
  const left = map.bus * 10, group = svg("g", { class: "mr-bus" });
  group.append(box(left, y(BUS + 5), 960 - left, 50),
    label((left + 960) / 2, y(54.5), say(`four_models.bus.${stage}`), { class: "mr-size-m" }));
  if (stage === "ppo")
    group.append(box(40, y(BUS + 5), 180, 50),
      label(130, y(54.5), say("four_models.prompt"), { class: "mr-size-m" }));
  return dimmed(group, lit && step.arrows.some((i) => i <= 5), { lit });
}

function drawModel(model, all) {
  const { say, stage, trained, counts, y, map } = all;
  const x = model.x * 10, width = map.model_width * 10, high = (TOP - MIDDLE) * 10;
  const middle = x + width / 2, title = say(`four_models.model.${model.id}`);
  const group = svg("g", { class: "mr-model", "data-place": model.id });
  if (!(model.id in trained)) {
    group.classList.add("mr-absent");
    group.append(box(x, y(TOP), width, high),
      label(middle, y(MIDDLE + 8), title, { class: "mr-size-l" }),
      label(middle, y(MIDDLE + 4), say("four_models.absent"), { class: "mr-size-s" }));
    return group;
  }
  const trains = trained[model.id];
  group.classList.add(trains ? "mr-trained" : "mr-frozen");
  group.append(box(x, y(TOP), width, high, { class: "mr-cover" }),
    box(x, y(TOP), width, high, { fill: model.colour, "fill-opacity": 0.16, stroke: "none" }));
  if (!trains) group.append(hatch(x + 4, y(MIDDLE) - 38, width - 8, 34));
  group.append(box(x, y(TOP), width, high, { class: "mr-edge" }));
  const size = model.id in counts ? `   ${short(counts[model.id])} M` : "";
  const state = say(trains ? "four_models.trained.mark" : "four_models.frozen.mark") + size;
  const wide = state.length * 8.2 + 14;
  if (!trains) group.append(box(middle - wide / 2, y(MIDDLE + 3.1), wide, 26, { class: "mr-cover" }));
  group.append(
    label(middle, y(MIDDLE + 10.3), title, { class: "mr-size-l" }),
    label(middle, y(MIDDLE + 7.3), caption(all, model.id, "does"), { class: "mr-size-s" }),
    label(middle, y(MIDDLE + 5), caption(all, model.id, "starts"), { class: "mr-size-s mr-soft" }),
    label(middle, y(MIDDLE + 1.8), state, { class: "mr-size-m mr-bold" }));
  if (all.here.includes(model.id)) group.append(flag(x, y(TOP), width, high, say));
  return dimmed(group, all.lit && all.step.places.includes(model.id), all);
}

/** Three digits, as the static picture has them. */
function short(count) {
  return String(Number((count / 1e6).toPrecision(3)));
}

/** What a model does, where this stage says something of its own. */
function caption({ say, stage }, id, what) {
  const own = `four_models.${stage}.${id}.${what}`, text = say(own);
  return text === own ? say(`four_models.model.${id}.${what}`) : text;
}

function hatch(x, top, width, height) {
  const lines = [];
  for (let at = x; at < x + width - height; at += 11) lines.push(`M${at} ${top + height}l${height} ${-height}`);
  return svg("path", { d: lines.join(""), class: "mr-hatch" });
}

function flag(x, top, width, height, say) {
  const text = `▼ ${say("four_models.here")}`, wide = text.length * 7.6 + 16;
  return svg("g", { class: "mr-flag" }, box(x - 4, top - 4, width + 8, height + 8),
    box(x + width / 2 - wide / 2, top - 16, wide, 24, { class: "mr-flag-name" }),
    label(x + width / 2, top - 4, text, { class: "mr-size-s mr-bold" }));
}

function drawNode(node, all) {
  const { say, stage, y, target } = all;
  const x = node.x * 10, width = node.width * 10, key = `four_models.node.${node.id}`;
  const gae = node.id === "target" && target === "gae";
  const group = svg("g", { class: node.loss ? "mr-node mr-loss" : "mr-node", "data-place": node.id },
    box(x, y(node.y + 8), width, 80, { class: "mr-cover" }), box(x, y(node.y + 8), width, 80, { class: "mr-edge" }),
    label(x + width / 2, y(node.y + 5.6), say(key), { class: "mr-size-m mr-bold" }),
    label(x + width / 2, y(node.y + 2.4), say(`${key}.formula${gae ? ".gae" : ""}`), { class: "mr-size-s" }));
  if (all.here.includes(node.id)) group.append(flag(x, y(node.y + 8), width, 80, say));
  return dimmed(group, all.lit && all.step.places.includes(node.id), all);
}

function drawArrow(arrow, i, all) {
  const { say, stage, y, trained } = all;
  if (arrow.gradient && !trained[arrow.gradient]) return null;
  const points = arrow.points.map(([px, py]) => [px * 10, y(py)]);
  const [[ax, ay], [bx, by]] = points.slice(-2), long = Math.hypot(bx - ax, by - ay);
  const [dx, dy] = [(bx - ax) / long, (by - ay) / long], head = arrow.gradient ? 12 : 9;
  const [cx, cy] = [bx - dx * head, by - dy * head], half = head / 2;
  const line = [...points.slice(0, -1), [cx, cy]].map((p) => p.join(" ")).join("L");
  const tip = [[bx, by], [cx - dy * half, cy + dx * half], [cx + dy * half, cy - dx * half]];
  const group = svg("g", { class: arrow.gradient ? "mr-arrow mr-gradient" : "mr-arrow", "data-arrow": i },
    svg("path", { d: `M${line}`, class: "mr-line" }),
    svg("path", { d: `M${tip.map((p) => p.join(" ")).join("L")}Z`, class: "mr-tip" }));
  if (arrow.label) {
    const [lx, ly] = [arrow.at[0] * 10, y(arrow.at[1])];
    const turned = { transform: `rotate(-90 ${lx} ${ly})`, class: "mr-size-s mr-halo" };
    const flat = { "text-anchor": "start", class: "mr-size-s mr-halo" };
    const key = arrow.gradient ? "four_models.gradient" : `four_models.arrow.${stage}.${i}`;
    group.append(label(lx, ly, say(key), arrow.gradient ? turned : flat));
  }
  return dimmed(group, all.lit && all.step.arrows.includes(i), all);
}

/** A quantity with its shape, and its mean where a record is there. */
function drawBadge([field, x, up], { say, y, facts, quantities }) {
  const real = facts.fields?.[field], name = say(`four_models.quantity.${field}`);
  const first = `${name} ${shapeText(real, quantities[field])}`.trim();
  const second = real && real.mean !== null ? meanText(field, real, say) : null;
  const wide = Math.max(first.length, (second || "").length) * 7.3 + 16, tall = second ? 38 : 22;
  const [cx, cy] = [Math.min(Math.max(x * 10, wide / 2 + 2), 998 - wide / 2), y(up)];
  return svg("g", { class: "mr-badge", "data-field": field },
    box(cx - wide / 2, cy - tall / 2, wide, tall),
    label(cx, cy - (second ? 8 : 0), first, { class: "mr-size-s mr-bold" }),
    second ? label(cx, cy + 9, second, { class: "mr-size-s" }) : null);
}

/** Real sizes in place of the letters: (B, R) becomes (64, 24); a scalar has no shape. */
function shapeText(real, [symbols]) {
  if (symbols === "()") return "";
  if (!real) return symbols;
  return `(${real.shape.join(", ")}${real.shape.length === 1 ? "," : ""})`;
}

function meanText(field, real, say) {
  const value = number(real.mean, real.shape.length ? 3 : 4);
  return say("four_models.mean", { value });
}
