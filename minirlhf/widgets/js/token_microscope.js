// The token microscope, part 3: sliders, one or two tables, and what is said about the open cell.

const SLIDERS = [ // trait, its name in the formulas, symbol, largest value (null = by its start)
  ["kl_coef", "beta", "β", null],
  ["gamma", "gamma", "γ", 1],
  ["lam", "lam", "λ", 1],
  ["clip_range", "epsilon", "ε", 1],
];

/** One response: its prompt and score above, its table below. */
function responseView(response, rows, act, t) {
  const label = t("microscope.response", { row: response.row, n: response.tokens.length,
    end: t(response.ended ? "microscope.ended" : "microscope.cut") });
  const table = tokenTable({ response, rows, label, t, act });
  const score = h("button", { type: "button", class: "mr-tm-score", "data-row": "score",
    onclick: () => act.open("score", response.tokens.length - 1) });
  const note = response.differs
    ? h("p", { class: "mr-note mr-tm-differs" },
      t("microscope.differs", { gap: number(response.differs, 3) }))
    : null;
  const element = h("section", { class: "mr-tm-response", "aria-label": label },
    h("div", { class: "mr-bar" }, h("b", {}, label), score),
    h("div", { class: "mr-tm-prompt" }, `${t("microscope.prompt")} `,
      h("bdi", {}, visible(response.prompt.replace(/ /g, "\u00a0"), 400))),
    note, response.tokens.length ? table.element : h("p", {}, t("microscope.empty")));
  const lightScore = (open, lit) => {
    score.setAttribute("aria-pressed", String(open));
    score.dataset.lit = String(lit);
  };
  return { response, table, element, score, lightScore };
}

/** What the widget shows, and what the reader may do to it. */
class Microscope {
  constructor(model) {
    this.model = model;
    this.t = words(model);
    this.fixed = model.get("_fixed");
    this.now = { estimator: model.get("kl_estimator") }; // the sliders fill in the rest
    this.views = []; // of one or two responses
    this.numbers = []; // their rows of numbers
    this.order = []; // the rows that are shown, from top to bottom
    this.stops = [];
    this.tables = h("div", { class: "mr-tm-responses" });
    this.live = h("div", { class: "mr-hidden", "aria-live": "polite" });
    this.moved = h("p", { class: "mr-note mr-tm-moved" }, this.t("microscope.moved"));
    this.formula = formulaPanel(this.t, () => this.close());
    this.alternatives = alternativesPanel(this.t);
    this.menu = rowMenu(model, this.t, (row, away) => this.hide(row, away));
    this.element = this.assemble();
    this.build();
    const follows = { _responses: () => this.build(), selected: () => this.light(),
      hidden: () => { this.arrange(); this.paint(); }, order: () => this.arrange(),
      digits: () => this.paint() };
    for (const [trait, update] of Object.entries(follows))
      this.stops.push(follow(model, trait, update));
  }

  assemble() {
    const { model, t, stops } = this;
    const say = (text) => this.say(text);
    const copy = copyButton(
      () => csvOf(this.views.map((view) => view.response), this.numbers, this.order), say, t);
    const root = h("div", { class: "mr mr-tm" },
      h("p", { class: "mr-note" }, t("microscope.caption")),
      controls(model, this.now, this.fixed, () => this.paint(), say, t, stops),
      h("div", { class: "mr-bar" }, responsePickers(model, this.fixed, t, stops),
        this.menu.element, copy),
      this.moved, this.tables,
      h("div", { class: "mr-tm-panels" }, this.formula.element, this.alternatives.element),
      h("p", { class: "mr-note" }, t("microscope.keys")), this.live);
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && model.get("selected")) this.close();
    });
    return root;
  }

  /** New tables, for responses that Python has sent. */
  build() {
    const sent = this.model.get("_responses") || [];
    this.views = sent.map((one, which) => {
      const response = unpack(one, this.fixed.n);
      const rows = this.model.get("order").filter((row) => row !== "truth" || response.truth);
      return responseView(response, rows, this.act(which), this.t);
    });
    this.tables.replaceChildren(...this.views.map((view) => view.element));
    this.arrange();
    this.paint();
    this.light();
    const first = this.views[0]?.response;
    if (first?.tokens.length) this.alternatives.show(first, 0);
  }

  settings() { return { ...this.now, limit: this.fixed.score_clip ?? null }; }

  say(text) { this.live.textContent = text; }

  /** Compute everything anew and write what has changed. */
  paint() {
    const [all, digits] = [this.settings(), this.model.get("digits")];
    this.numbers = this.views.map(({ response }) => tokenNumbers(response, all));
    this.views.forEach(({ response, table, score }, which) => {
      table.paint(this.numbers[which], all, digits);
      const text = scoreText(response, all.limit, this.fixed.penalty, digits, this.t);
      if (score.textContent !== text) score.textContent = text;
    });
    const start = this.fixed.kl_coef === all.beta && this.fixed.gamma === all.gamma;
    this.moved.style.visibility = start ? "hidden" : "visible";
    this.showFormula();
  }

  /** The formula of the open cell with the numbers of now; null where no cell is open. */
  showFormula() {
    const cell = this.model.get("selected");
    const found = cell && this.numbers[cell.response] ? formulaOf(cell.row, cell.token,
      this.views[cell.response].response, this.numbers[cell.response], this.settings(), this.t)
      : null;
    this.formula.show(found, cell?.row);
    return found;
  }

  /** Mark the open cell and the cells that it is made from. */
  light() {
    const cell = this.model.get("selected");
    const found = this.showFormula();
    this.views.forEach((view, which) => {
      const here = found && cell.response === which;
      const parts = here ? found.parts : [];
      view.table.light(here && cell.row !== "score" ? [cell.row, cell.token] : null, parts);
      const lit = parts.some(([row]) => row === "score");
      view.lightScore(Boolean(here && cell.row === "score"), lit);
    });
    return found;
  }

  arrange() {
    const hidden = new Set(this.model.get("hidden"));
    this.order = this.model.get("order").filter((row) => !hidden.has(row));
    this.views.forEach((view) => view.table.arrange(this.order));
    this.menu.set(this.model.get("order"), hidden);
  }

  open(which, row, token) {
    if (token < 0) return;
    write(this.model, "selected", { response: which, row, token });
    const found = this.light();
    const parts = found.parts.map(([name, i]) => symbolOf(name, i)).join(", ");
    this.say(`${found.symbols}. ${found.sums}. `
      + (parts && this.t("microscope.made_from", { parts })));
  }

  close() {
    write(this.model, "selected", null);
    this.light();
  }

  hide(row, away = true) {
    const others = this.model.get("hidden").filter((name) => name !== row);
    write(this.model, "hidden", away ? [...others, row] : others);
    const key = away ? "microscope.hidden" : "microscope.shown";
    this.say(this.t(key, { row: this.t(`microscope.row.${row}`) }));
  }

  /** The rows on the screen; god's-eye V only where it was given. */
  visibleRows() {
    return this.order.filter((row) => row !== "truth" || this.views[0]?.response.truth);
  }

  /** Put a row where another one is. */
  put(row, target) {
    const all = [...this.model.get("order")];
    const to = all.indexOf(target);
    all.splice(all.indexOf(row), 1);
    all.splice(to, 0, row);
    write(this.model, "order", all);
    const rows = this.visibleRows();
    this.say(this.t("microscope.put", { row: this.t(`microscope.row.${row}`),
      place: rows.indexOf(row) + 1, of: rows.length }));
  }

  move(row, by) {
    const rows = this.visibleRows();
    const target = rows[rows.indexOf(row) + by];
    if (target) this.put(row, target);
  }

  /** What the table of one response calls. */
  act(which) {
    return {
      open: (row, token) => this.open(which, row, token),
      close: () => this.close(),
      hide: (row) => this.hide(row),
      put: (row, target) => this.put(row, target),
      move: (row, by) => this.move(row, by),
      peek: (token) => this.alternatives.show(this.views[which].response, token),
    };
  }
}

function render({ model, el }) {
  const microscope = new Microscope(model);
  el.append(microscope.element);
  return () => {
    microscope.stops.forEach((stop) => stop());
    microscope.element.remove();
  };
}

export default { render };
