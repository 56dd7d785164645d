// Bars, one for each model, and the same numbers as a table. The budget is a dashed line.

const KINDS = ["weights", "gradients", "optimiser", "activations"];
const FILLS = ["var(--mr-blue)", "var(--mr-sky)", "var(--mr-orange)", "var(--mr-purple)"];
const CHOICES = ["language", "scorer", "precision", "optimiser", "sharing", "attention"];
const NUMBERS = [ // trait, min, max, step
  ["lora_rank", 0, 64, 1], ["rows", 1, 64, 1], ["length", 32, 2048, 32], ["budget", 1, 256, 1],
];
const WIDE = 640, LINE = 24, LEFT = 100, GIB = 2 ** 30;

function drawMemory({ model, el }) {
  const word = words(model), tables = model.get("tables");
  const s = Object.fromEntries([...CHOICES, ...NUMBERS.map(([name]) => name), "checkpointing"]
    .map((name) => [name, model.get(name)]));
  const known = { language: Object.keys(tables.shapes), scorer: Object.keys(tables.shapes),
    precision: Object.keys(tables.precisions), optimiser: Object.keys(tables.optimisers),
    sharing: tables.sharing, attention: tables.attentions };
  const stops = [];

  const menus = CHOICES.map((name) => {
    const menu = h("select", { name, onchange: () => change(name, menu.value) },
      known[name].map((key) => h("option", { value: key }, key)));
    menu.value = s[name];
    menu.addEventListener("keydown", (event) => event.stopPropagation());
    stops.push(follow(model, name, (x) => { s[name] = menu.value = x; update(); }));
    return h("label", {}, word(`memory_planner.${name}`), menu);
  });
  const sliders = NUMBERS.map(([name, min, max, step]) => {
    const one = slider({
      name, min, max, step, digits: 0, label: word(`memory_planner.${name}`), value: s[name],
      apply: (x) => { s[name] = x; update(); }, settle: (x) => write(model, name, x),
    });
    stops.push(follow(model, name, (x) => { s[name] = x; one.set(x); update(); }));
    return one.element;
  });
  const box = h("input", { type: "checkbox", name: "checkpointing",
    onchange: () => change("checkpointing", box.checked) });
  box.checked = s.checkpointing;
  stops.push(follow(model, "checkpointing", (x) => { s.checkpointing = box.checked = x; update(); }));

  const verdict = h("p", { "aria-live": "polite" });
  const bars = svg("svg", { viewBox: `0 0 ${WIDE} ${5 * LINE + 22}`, width: WIDE, role: "img" });
  const table = h("table", {});
  el.append(h("section", { class: "mr mr-memory", "aria-label": word("memory_planner.name") },
    h("div", { class: "mr-bar" }, menus),
    h("div", { class: "mr-bar" }, sliders, h("label", {}, box, word("memory_planner.checkpointing"))),
    verdict, bars, legend(), table, h("p", { class: "mr-note" }, word("memory_planner.caption"))));

  function change(name, value) { s[name] = value; update(); write(model, name, value); }

  function legend() {
    return h("div", { class: "mr-bar" }, KINDS.map((kind, i) => h("span", {},
      svg("svg", { width: 12, height: 12, "aria-hidden": "true" },
        svg("rect", { width: 12, height: 12, fill: FILLS[i] })),
      ` ${i + 1} ${word(`memory_planner.${kind}`)}`)));
  }

  function update() {
    const plan = memoryPlan(s, tables);
    bars.replaceChildren();
    table.replaceChildren();
    if (!plan) {
      verdict.textContent = word("memory_planner.needs_lora", { sharing: s.sharing });
      return;
    }
    const worst = worstMoment(plan), peak = sumOf(worst);
    verdict.textContent = word(peak <= s.budget ? "memory_planner.fits" : "memory_planner.too_much",
      { peak: number(peak), budget: number(s.budget, 0) });
    bars.setAttribute("aria-label", verdict.textContent);
    drawBars(plan, worst);
    drawTable(plan, peak);
  }

  function drawBars(plan, worst) {
    const most = Math.max(...Object.values(plan).map(sumOf), sumOf(worst), 1e-9);
    const scale = (WIDE - LEFT - 60) / most;
    [...Object.entries(plan), [word("memory_planner.peak"), worst]].forEach(([name, part], row) => {
      const y = row * LINE;
      let x = LEFT;
      bars.append(svg("text", { x: 0, y: y + 16 }, name));
      KINDS.forEach((kind, i) => {
        const width = (part[kind] / GIB) * scale;
        bars.append(svg("rect", { x, y: y + 3, width, height: LINE - 6, fill: FILLS[i] }));
        if (width > 14) bars.append(svg("text", { x: x + 4, y: y + 16,
          class: i ? "mr-memory-number" : "mr-memory-number mr-on-dark" }, String(i + 1)));
        x += width;
      });
      bars.append(svg("text", { x: x + 5, y: y + 16 }, number(sumOf(part))));
    });
    const limit = LEFT + s.budget * scale; // of the device: only the last bar must stay below it
    if (limit > WIDE - 4) return;
    bars.append(
      svg("line", { class: "mr-memory-line", x1: limit, x2: limit, y1: 4 * LINE, y2: 5 * LINE }),
      svg("text", { x: limit, y: 5 * LINE + 14, "text-anchor": "middle" },
        word("memory_planner.budget_line", { budget: number(s.budget, 0) })));
  }

  function sumOf(part) { return KINDS.reduce((sum, kind) => sum + part[kind], 0) / GIB; }

  function drawTable(plan, peak) {
    const head = h("tr", {}, h("th", {}, "GiB"),
      KINDS.map((kind) => h("th", { scope: "col" }, word(`memory_planner.${kind}`))));
    const rows = Object.entries(plan).map(([name, part]) =>
      h("tr", { "data-model": name }, h("th", { scope: "row" }, name),
        KINDS.map((kind) => h("td", { "data-kind": kind }, number(part[kind] / GIB)))));
    table.append(h("thead", {}, head), h("tbody", {}, rows), h("tfoot", {}, h("tr", {},
      h("th", { scope: "row" }, word("memory_planner.peak")),
      h("td", { colspan: 4, class: "mr-memory-peak" }, number(peak)))));
  }

  update();
  return () => stops.forEach((stop) => stop());
}

export default { render: drawMemory };
