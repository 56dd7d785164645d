// PrefixTree: walk through all prefixes of a world; every number is counted, none is estimated.

const COLUMNS = ["pi", "ref", "kl", "prefix", "value", "q", "advantage", "score"];

export default {
  render({ model, el }) {
    const text = words(model, "prefix_tree");
    const [tokens, tree, settings] = ["tokens", "_tree", "_settings"].map((n) => model.get(n));
    const tables = [floats(model.get("_log_pi")), floats(model.get("_ref_log_pi"))];
    const final = scoresOf(model.get("_scores"), model.get("_levels"));
    const eos = tree.words;
    const open = new Set([""]); // prefixes that show what may follow, as "3,0,7"
    let path = [];
    let order = "likely";
    let truth = null;

    const stateOf = (ids) => ids.reduce((s, a) => s * tree.words + 1 + a, 0);
    const isAnswer = (ids) => ids.length > 0 && (ids.at(-1) === eos || ids.length === tree.steps);
    const keyOf = (ids) => ids.join(",");

    /** What stands in a row: the numbers of one prefix, whose last token is an action. */
    const facts = (ids) => {
      if (!ids.length) return { prefix: 1, value: truth.values[0] };
      const parent = stateOf(ids.slice(0, -1));
      const i = parent * truth.V + ids.at(-1);
      const ends = isAnswer(ids);
      return {
        pi: truth.pi[i], ref: truth.refPi[i], kl: truth.kl[i],
        prefix: truth.reach[parent] * truth.pi[i],
        value: ends ? null : truth.values[stateOf(ids)],
        q: truth.q[i], advantage: truth.advantages[i], score: ends ? final[i] : null,
      };
    };
    const children = (ids) => {
      const s = stateOf(ids);
      const all = Array.from({ length: truth.V }, (_, a) => a);
      const chance = (a) => truth.pi[s * truth.V + a];
      if (order === "likely") all.sort((a, b) => chance(b) - chance(a));
      return all.map((a) => [...ids, a]);
    };
    /** All rows that are to be seen, from top to bottom: [ids, place among siblings, siblings]. */
    const rows = (ids = [], place = 1, size = 1) => {
      const own = [[ids, place, size]];
      if (isAnswer(ids) || !open.has(keyOf(ids))) return own;
      const below = children(ids);
      return own.concat(below.flatMap((child, i) => rows(child, i + 1, below.length)));
    };

    const grid = h("div", { role: "tree", class: "mr-tree", "aria-label": text("tree") });
    const heard = h("p", { class: "mr-note", "aria-live": "polite", "data-part": "mass" });
    const whole = h("p", { class: "mr-code", "data-part": "whole" });

    const cell = (name, x) => {
      const shown = x === null || x === undefined ? "" : number(x, name === "prefix" ? 5 : 3);
      const content = name === "pi" && x !== undefined ? [chanceBar(x), shown] : [shown];
      return h("span", { class: "mr-cell", "data-cell": name }, content);
    };
    const rowOf = ([ids, place, size]) => {
      const [key, own, ends] = [keyOf(ids), facts(ids), isAnswer(ids)];
      const name = ids.length ? visible(tokens[ids.at(-1)]) : text("start");
      const known = COLUMNS.filter((c) => own[c] !== null && own[c] !== undefined);
      const spoken = known.map((c) => `${text(c)} ${number(own[c], c === "prefix" ? 5 : 3)}`);
      const chosen = key === keyOf(path);
      const knob = ends ? "■" : open.has(key) ? "▾" : "▸";
      return h("div", {
        role: "treeitem", class: "mr-row", tabindex: chosen ? 0 : -1, "data-key": key,
        "aria-level": ids.length + 1, "aria-posinset": place, "aria-setsize": size,
        "aria-selected": String(chosen), "aria-expanded": ends ? null : String(open.has(key)),
        "aria-label": `${name}${ends ? `, ${text("answer")}` : ""}: ${spoken.join(", ")}`,
        onclick: () => { choose(ids); toggle(ids); settle(); },
      }, h("span", { class: "mr-name", style: `padding-left: ${ids.length}em` }, `${knob} ${name}`),
        COLUMNS.map((c) => cell(c, own[c])));
    };

    const draw = () => {
      const focused = grid.contains(el.getRootNode().activeElement ?? document.activeElement);
      const seen = rows();
      grid.replaceChildren(...seen.map(rowOf));
      if (focused) grid.querySelector('[tabindex="0"]')?.focus();
      let [ended, waiting, answers] = [0, 0, 0];
      for (const [ids] of seen) {
        if (isAnswer(ids)) { ended += facts(ids).prefix; answers += 1; }
        else if (!open.has(keyOf(ids))) waiting += facts(ids).prefix;
      }
      heard.textContent = text("mass", { answers, ended: number(ended, 6),
        waiting: number(waiting, 6), sum: number(ended + waiting, 6) });
      whole.textContent = text("whole", { answers: model.get("_answers").toLocaleString("en"),
        mass: number(truth.mass, 9), score: number(truth.score, 3), kl: number(truth.klSum, 3),
        objective: number(truth.objective, 3) });
    };
    const choose = (ids) => {
      path = ids;
      for (let n = 0; n < ids.length; n++) open.add(keyOf(ids.slice(0, n)));
    };
    const toggle = (ids, wanted = !open.has(keyOf(ids))) => {
      if (isAnswer(ids)) return;
      if (wanted) open.add(keyOf(ids));
      else open.delete(keyOf(ids));
    };
    const settle = () => { draw(); write(model, "path", [...path]); };

    grid.addEventListener("keydown", (event) => {
      event.stopPropagation();
      const list = rows().map(([ids]) => ids);
      const at = list.findIndex((ids) => keyOf(ids) === keyOf(path));
      const shown = open.has(keyOf(path)) && !isAnswer(path);
      const act = {
        ArrowDown: () => choose(list[Math.min(at + 1, list.length - 1)]),
        ArrowUp: () => choose(list[Math.max(at - 1, 0)]),
        Home: () => choose(list[0]),
        End: () => choose(list.at(-1)),
        ArrowRight: () => (shown ? choose(list[at + 1]) : toggle(path, true)),
        ArrowLeft: () => (shown ? toggle(path, false) : choose(path.slice(0, -1))),
        Enter: () => toggle(path),
        " ": () => toggle(path),
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
      settle();
    });

    const heat = (temperature) => {
      truth = exactTruth(...tables, final, tree, settings, temperature);
      draw();
    };
    const control = slider({
      name: "temperature", label: text("temperature"), min: 0.2, max: 3, step: 0.05,
      value: model.get("temperature"), apply: heat, settle: (x) => write(model, "temperature", x),
    });
    const sorted = choices({
      label: text("order"), value: order,
      options: [["likely", text("likely")], ["given", text("given")]],
      apply: (key) => { order = key; draw(); },
    });
    const heads = h("div", { class: "mr-row mr-heads", "aria-hidden": "true" },
      h("span", { class: "mr-name" }, text("token")),
      COLUMNS.map((c) => h("span", { class: "mr-cell", title: text(`${c}_long`) }, text(c))));
    el.append(h("div", { class: "mr", "data-widget": "prefix_tree" },
      h("div", { class: "mr-bar" }, control.element, sorted.element), whole,
      h("div", { class: "mr-scroll" }, heads, grid), heard,
      h("p", { class: "mr-note" }, text("caption"))));
    choose([...model.get("path")]);
    heat(model.get("temperature"));
    const stops = [
      follow(model, "temperature", (x) => { control.set(x); heat(x); }),
      follow(model, "path", (ids) => {
        if (keyOf(ids) === keyOf(path)) return;
        choose([...ids]);
        draw();
      }),
    ];
    return () => stops.forEach((stop) => stop());
  },
};

/** A bar as long as the probability. */
function chanceBar(x) {
  return h("span", { class: "mr-chance", "aria-hidden": "true" },
    h("span", { style: `width: ${(100 * x).toFixed(1)}%` }));
}
