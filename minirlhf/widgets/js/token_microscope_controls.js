// The token microscope, part 4: what stands above the tables.

/** Sliders and the KL estimator, in step with the traits; every move paints at once. */
function controls(model, now, fixed, paint, say, t, stops) {
  const settled = () => say(t("microscope.settled", { beta: number(now.beta, 3),
    gamma: number(now.gamma, 3), lam: number(now.lam, 3), epsilon: number(now.epsilon, 3) }));
  const elements = SLIDERS.map(([trait, key, symbol, largest]) => {
    now[key] = model.get(trait);
    const one = slider({
      name: trait, label: `${symbol} ${t(`microscope.slider.${trait}`)}`,
      min: trait === "clip_range" ? 0.005 : 0, max: largest ?? Math.max(1, 2 * fixed[trait]),
      step: 0.005, value: now[key], digits: 3,
      apply: (x) => { now[key] = x; paint(); },
      settle: (x) => { write(model, trait, x); settled(); },
    });
    stops.push(follow(model, trait, (x) => {
      one.set(x);
      if (now[key] === x) return;
      now[key] = x;
      paint();
    }));
    return one.element;
  });
  const estimator = choices({
    label: t("microscope.estimator"), value: now.estimator,
    options: ["k1", "k2", "k3"].map((name) => [name, name]),
    apply: (name) => { now.estimator = name; paint(); write(model, "kl_estimator", name); },
  });
  stops.push(follow(model, "kl_estimator", (name) => {
    estimator.set(name);
    if (now.estimator === name) return;
    now.estimator = name;
    paint();
  }));
  const reset = h("button", { type: "button", onclick: () => {
    for (const trait of ["kl_coef", "gamma", "lam", "clip_range", "kl_estimator"])
      model.set(trait, fixed[trait]);
    model.save_changes();
    settled();
  } }, t("microscope.reset"));
  const choice = h("span", { class: "mr-slider" }, t("microscope.estimator"), estimator.element);
  return h("div", { class: "mr-bar" }, elements, choice, reset);
}

/** A list of check boxes: which rows are shown. */
function rowMenu(model, t, hide) {
  const list = h("div", { class: "mr-tm-menu" });
  const element = h("details", {},
    h("summary", { tabindex: 0 }, t("microscope.rows")), list);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !element.open) return;
    element.open = false;
    element.firstChild.focus();
    event.stopPropagation();
  });
  const boxes = {};
  const set = (order, hidden) => {
    for (const row of order) {
      if (!boxes[row]) {
        const box = h("input", { type: "checkbox", name: row,
          onchange: () => hide(row, !box.checked) });
        boxes[row] = { box, label: h("label", {}, box, ` ${t(`microscope.row.${row}`)}`) };
      }
      boxes[row].box.checked = !hidden.has(row);
    }
    const wanted = order.map((row) => boxes[row].label);
    if (wanted.some((label, i) => list.children[i] !== label)) list.replaceChildren(...wanted);
  };
  return { element, set };
}

/** Which responses are shown; Python sends them, so a page without Python has no choice. */
function responsePickers(model, fixed, t, stops) {
  if (!model.widget_manager) return null;
  const numbersOf = Array.from({ length: fixed.size }, (_, i) => h("option", { value: i }, i));
  const picker = (trait, label, extra) => {
    const options = [extra, ...numbersOf].filter(Boolean).map((option) => option.cloneNode(true));
    const show = () => { select.value = String(model.get(trait) ?? ""); };
    const select = h("select", { name: trait, "aria-label": label, onchange: () =>
      write(model, trait, select.value === "" ? null : Number(select.value)) }, options);
    show();
    stops.push(follow(model, trait, show));
    return h("label", {}, `${label} `, select);
  };
  return [picker("row", t("microscope.pick.row")),
    picker("other", t("microscope.pick.other"),
      h("option", { value: "" }, t("microscope.pick.none")))];
}

/** The score of a response, and what became of it before it entered the last R_t. */
function scoreText(response, limit, penalty, digits, t) {
  const score = number(response.score, digits);
  const known = penalty !== null && penalty !== undefined;
  const key = known ? (response.ended ? "ended" : "cut") : "unknown";
  const text = t(`microscope.score.${key}`, { score, penalty: number(penalty, digits),
    raw: number(response.score + (penalty ?? 0), digits) });
  if (limit === null) return text;
  return t("microscope.score.clipped", { text, limit: number(limit, digits),
    clipped: number(clipScore(response.score, limit), digits) });
}

/** Copies the table; where the page may not touch the clipboard, the text is shown to be copied. */
function copyButton(csv, say, t) {
  const place = h("textarea", { class: "mr-tm-csv", rows: 4, readonly: true, hidden: true,
    "aria-label": t("microscope.copy") });
  const button = h("button", { type: "button", name: "csv", onclick: async () => {
    try {
      await navigator.clipboard.writeText(csv());
      button.textContent = t("microscope.copied");
      setTimeout(() => { button.textContent = t("microscope.copy"); }, 2000);
      say(t("microscope.copied"));
    } catch {
      place.value = csv();
      place.hidden = false;
      place.select();
      say(t("microscope.copy_by_hand"));
    }
  } }, t("microscope.copy"));
  return [button, place];
}

/** What the open cell is made of. Returns {element, show(found, row)}; null = no cell is open. */
function formulaPanel(t, onclose) {
  const symbols = h("div", { class: "mr-tm-symbols mr-code" });
  const sums = h("div", { class: "mr-tm-sums mr-code" });
  const about = h("div", { class: "mr-note" });
  const close = h("button", { type: "button", onclick: onclose }, t("all.close"));
  const element = h("section",
    { class: "mr-tm-panel mr-tm-formula", "aria-label": t("microscope.formula") },
    h("div", { class: "mr-tm-title" }, t("microscope.formula"), close), symbols, sums, about);
  const show = (found, row) => {
    close.hidden = !found;
    const texts = found ? [found.symbols, found.sums, t(`microscope.about.${row}`)]
      : [t("microscope.formula_hint"), "", ""];
    [symbols, sums, about].forEach((place, i) => {
      if (place.textContent !== texts[i]) place.textContent = texts[i];
    });
  };
  return { element, show };
}
