// The four-model picture: stages, nine steps, "you are here". Draws from traits only.

const STAGES = ["sft", "reward", "ppo"];

/** A sentence of a step, with the record's numbers where there is one. */
function sentenceOf(say, step, facts) {
  const text = say(`four_models.step.${step}`);
  if (!step || !facts.values) return text;
  const shown = {};
  for (const [name, [value, digits]] of Object.entries(facts.values)) shown[name] = number(value, digits);
  const numbers = say(`four_models.step.${step}.numbers`, shown).replace(/\{\w+\}/g, "–");
  return `${text} ${numbers}`;
}

/** What is passed on in this step: shape, unit, mean, and one response token by token. */
function stepTable(model, say, fields) {
  const facts = model.get("facts"), quantities = model.get("_quantities"), row = model.get("row");
  const tokens = facts.rows[row]?.tokens || [];
  const long = fields.some((f) => f === "response_ids" || facts.fields[f].rows.length);
  const head = h("tr", {}, ["name", "shape", "unit", "average"].map((k) => h("th", { scope: "col" }, say(`four_models.table.${k}`))),
    long ? tokens.map((t) => h("th", { scope: "col", class: "mr-token" }, h("bdi", {}, visible(t)))) : null);
  const body = fields.map((field) => {
    const fact = facts.fields[field], found = fact.rows[row] || [];
    // one number for the whole response belongs to its last token
    const cells = fact.shape.length === 1 ? tokens.map((_, t) => (t === tokens.length - 1 ? found[0] : "")) : found;
    return h("tr", { "data-field": field },
      h("th", { scope: "row" }, say(`four_models.quantity.${field}`)),
      h("td", {}, fact.shape.length ? shapeText(fact, quantities[field]) : say("four_models.table.scalar")),
      h("td", {}, say(`four_models.unit.${quantities[field][1]}`)),
      h("td", {}, fact.mean === null ? "" : number(fact.mean, fact.shape.length ? 3 : 4)),
      cells.map((v) => h("td", { class: "mr-value" }, v === "" ? "" : number(v))));
  });
  return h("div", { class: "mr-wide", tabindex: 0, role: "region", "aria-label": say("four_models.table.label") },
    h("table", {}, h("thead", {}, head), h("tbody", {}, body)));
}

/** Models in rows, stages in columns: absent, trained or frozen. */
function stagesTable(model, say) {
  const trained = model.get("trained"), now = model.get("stage");
  const cell = (id, stage) => {
    const state = id in trained[stage] ? (trained[stage][id] ? "trained.mark" : "frozen.mark") : "table.absent";
    return h("td", { class: stage === now ? "mr-now" : null, "data-stage": stage }, say(`four_models.${state}`));
  };
  const head = h("tr", {}, h("td", {}), STAGES.map((s) =>
    h("th", { scope: "col", class: s === now ? "mr-now" : null, "aria-current": s === now ? "step" : null },
      say(`four_models.stage.${s}`))));
  const ids = model.get("_maps").ppo.models.map(({ id }) => id);
  return h("table", { class: "mr-stages" }, h("thead", {}, head), h("tbody", {},
    ids.map((id) => h("tr", {}, h("th", { scope: "row" }, say(`four_models.model.${id}`)), STAGES.map((s) => cell(id, s))))));
}

/** Buttons of the nine steps, with one before and one after them. */
function stepper(model, say, go) {
  const names = Array.from({ length: 10 }, (_, i) => [String(i), i ? String(i) : say("four_models.whole")]);
  const row = choices({
    label: say("four_models.steps"), options: names, value: String(model.get("step")), apply: (key) => go(Number(key)),
  });
  for (const button of row.element.children) {
    const title = say(`four_models.step.${button.dataset.key}.title`);
    button.setAttribute("aria-label", `${button.textContent}: ${title}`);
    button.title = title;
  }
  const move = (by) => () => go(Math.min(9, Math.max(0, model.get("step") + by)));
  const back = h("button", { type: "button", onclick: move(-1) }, say("four_models.back"));
  const next = h("button", { type: "button", onclick: move(1) }, say("four_models.next"));
  const show = () => {
    const step = model.get("step");
    row.set(String(step));
    back.setAttribute("aria-disabled", String(step === 0));
    next.setAttribute("aria-disabled", String(step === 9));
  };
  return { element: h("div", { class: "mr-bar" }, back, row.element, next), show };
}

export default {
  render({ model, el }) {
    const say = words(model), set = (trait) => (value) => { write(model, trait, value); };
    const stages = choices({
      label: say("four_models.stages"), value: model.get("stage"), apply: set("stage"),
      options: STAGES.map((s) => [s, say(`four_models.stage.${s}`)]),
    });
    const steps = stepper(model, say, set("step"));
    const map = h("div"), details = h("div");
    const title = h("strong"), text = h("span");
    const spoken = h("p", { class: "mr-sentence", "aria-live": "polite" }, title, " ", text);
    const prompt = h("bdi", { class: "mr-soft" });
    const facts = () => model.get("facts");
    const rows = facts().rows ? slider({
      name: "row", label: say("four_models.row"), min: 0, max: facts().rows.length - 1, step: 1,
      value: model.get("row"), digits: 0,
      apply: (x) => { model.set("row", x); }, settle: set("row"),
    }) : null;
    const which = h("div", { class: "mr-bar" }, rows?.element, prompt);
    const legend = h("p", { class: "mr-note" }, say("four_models.caption"));

    const draw = () => {
      const stage = model.get("stage"), mode = model.get("mode"), step = model.get("step");
      const stepping = mode === "steps" && stage === "ppo", at = stepping ? step : 0;
      const now = at ? model.get("_steps")[at - 1] : null;
      stages.element.style.display = mode === "here" ? "none" : "";
      steps.element.style.display = stepping ? "" : "none";
      stages.set(stage);
      steps.show();
      map.replaceChildren(drawMap({
        map: model.get("_maps")[stage], say, stage, step: now, here: model.get("here"),
        trained: model.get("trained")[stage], counts: model.get("counts"), facts: facts(),
        quantities: model.get("_quantities"), target: model.get("_target"),
      }));
      title.textContent = headline(model, say, at);
      text.textContent = mode === "here" ? "" : stepping ? sentenceOf(say, at, facts()) : say(`four_models.about.${stage}`);
      which.style.display = now && rows ? "" : "none";
      rows?.set(model.get("row"));
      prompt.textContent = rows ? visible(facts().rows[model.get("row")]?.prompt || "", 80) : "";
      details.replaceChildren();
      if (mode === "stages") details.append(stagesTable(model, say));
      else if (now && rows) details.append(stepTable(model, say, now.badges.map(([field]) => field)));
    };
    const traits = ["stage", "step", "row", "mode", "here", "trained", "counts", "facts"];
    const stop = traits.map((trait) => follow(model, trait, draw));
    el.append(h("div", { class: "mr mr-four" },
      h("div", { class: "mr-bar" }, stages.element), steps.element, spoken, map, which, details, legend));
    draw();
    return () => stop.forEach((end) => end());
  },
};

/** "Step 3 of 9: the Reference compares.", the stage, or where you are. */
function headline(model, say, step) {
  const stage = model.get("stage"), mode = model.get("mode");
  if (mode === "here") {
    const name = (id) => say(id in model.get("counts") || /^[A-Z]/.test(id) ? `four_models.model.${id}` : `four_models.node.${id}`);
    return `${say("four_models.here")}: ${model.get("here").map(name).join(", ") || say(`four_models.stage.${stage}`)}`;
  }
  if (mode === "steps" && stage === "ppo" && step)
    return say("four_models.step.of", { step, title: say(`four_models.step.${step}.title`) });
  return `${say(`four_models.stage.${stage}`)}.`;
}
