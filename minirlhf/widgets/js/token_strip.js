// A table with tokens as columns, rows of numbers, and one row of bars. It is only read, so it is
// not a grid of cells to move in; where it is wide, it can be scrolled by keyboard.

/**
 * rows: [[key, symbol, name], …]. Returns {element, set(key, texts), bars(values, name),
 * mark(i)}. Text is changed in place.
 */
function tokenStrip({ tokens, rows, label, corner }) {
  const cells = {};
  const heads = tokens.map((token, i) => h("th", { scope: "col", title: visible(token, 200) },
    h("span", { class: "mr-tm-t" }, i), h("bdi", {}, visible(token))));
  const barName = document.createTextNode("");
  const bars = tokens.map(() => {
    const bar = h("i");
    return { bar, td: h("td", {}, h("span", { class: "mr-strip-bar" }, bar)) };
  });
  const lines = rows.map(([key, symbol, name]) => {
    cells[key] = tokens.map(() => document.createTextNode(""));
    return h("tr", { "data-row": key },
      h("th", { scope: "row" }, h("span", { class: "mr-tm-symbol" }, symbol), " ",
        h("span", { class: "mr-tm-name" }, name)),
      cells[key].map((text) => h("td", {}, text)));
  });
  const table = h("table", { "aria-label": label },
    h("colgroup", {}, h("col", { class: "mr-tm-names" }), heads.map(() => h("col"))),
    h("thead", {}, h("tr", {}, h("th", { scope: "row" }, corner), heads)),
    h("tbody", {}, h("tr", { class: "mr-strip-bars", "aria-hidden": "true" },
      h("th", { scope: "row" }, h("span", { class: "mr-tm-name" }, barName)),
      bars.map(({ td }) => td)), lines));
  table.style.width = `calc(var(--mr-tm-names) + ${tokens.length} * var(--mr-tm-cell))`;
  return {
    element: h("div", { class: "mr-tm-scroll", tabindex: 0, role: "region", "aria-label": label },
      table),
    set(key, texts) {
      cells[key].forEach((node, i) => {
        if (node.data !== texts[i]) node.data = texts[i];
      });
    },
    /** Bars above and below a middle line; `scale` is the value that fills one half. */
    bars(values, name, scale = Math.max(...values.map(Math.abs), 0)) {
      barName.data = name;
      bars.forEach(({ bar }, i) => {
        const part = scale >= 0.005 ? Math.min(50, (50 * Math.abs(values[i])) / scale) : 0;
        bar.dataset.sign = values[i] < 0 ? "-" : "+";
        bar.style.height = `${part || 0}%`;
      });
    },
    mark(i) {
      heads.forEach((head, j) => { head.dataset.lit = String(i === j); });
    },
  };
}

/** Put the strip of these tokens into a place, or words where there are none; gives it or null. */
function placeStrip(place, tokens, rows, w) {
  const strip = tokens.length
    ? tokenStrip({ tokens, rows, label: w("scroll"), corner: w("token") }) : null;
  place.replaceChildren(strip ? strip.element : h("p", {}, w("empty")));
  return strip;
}

/** A button that puts the traits back to where they started. */
function resetButton(model, text) {
  return h("button", { type: "button", onclick: () => {
    for (const [trait, value] of Object.entries(model.get("_start"))) model.set(trait, value);
    model.save_changes();
  } }, text);
}
