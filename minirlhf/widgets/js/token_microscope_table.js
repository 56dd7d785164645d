// The token microscope, part 2: the table of one response. It is built once; afterwards only the
// text of its cells changes. One cell at a time can be reached by Tab, arrow keys go to the others.

const SHARED_SCALE = {
  kl: "kl", reward: "money", value: "money", truth: "money", td_target: "money", return: "money",
  delta: "advantage", advantage: "advantage",
};

/** How strongly a cell is coloured: −4 … 4, by the largest value of its kind; blue is positive. */
function shadesOf(numbers, rows, epsilon) {
  const largest = {};
  for (const row of rows) {
    const kind = SHARED_SCALE[row];
    if (!kind || !numbers[row]) continue;
    for (const x of numbers[row])
      if (Number.isFinite(x)) largest[kind] = Math.max(largest[kind] ?? 0, Math.abs(x));
  }
  return (row, x) => {
    if (row === "ratio") return Math.round(4 * Math.max(-1, Math.min(1, (x - 1) / epsilon))) || 0;
    const scale = largest[SHARED_SCALE[row]];
    // a row in which all is shown as 0.00 has no shade
    return scale >= 0.005 ? Math.round((4 * x) / scale) || 0 : 0;
  };
}

/**
 * act: {open(row, token), close(), hide(row), move(row, by), put(row, target), peek(token)}.
 * Returns {element, paint, light, arrange, focus}.
 */
function tokenTable({ response, rows, label, t, act }) {
  const cells = {};
  const lines = {};
  const corner = h("th", { scope: "row", tabindex: -1, "data-row": "token", "data-token": -1 },
    t("microscope.token"));
  const heads = response.tokens.map((token, i) =>
    h("th", { scope: "col", tabindex: -1, "data-row": "token", "data-token": i,
      title: visible(token, 200) },
    h("span", { class: "mr-tm-t" }, i), h("bdi", {}, visible(token))));
  const body = h("tbody");
  for (const row of rows) {
    cells[row] = response.tokens.map((_, i) => {
      const text = document.createTextNode("");
      const td = h("td", { tabindex: -1, "data-row": row, "data-token": i }, text);
      return { td, text, shade: "0" };
    });
    lines[row] = h("tr", {}, rowHead(row, t, act), cells[row].map((cell) => cell.td));
  }
  const table = h("table", { role: "grid", "aria-label": label },
    h("colgroup", {}, h("col", { class: "mr-tm-names" }), heads.map(() => h("col"))),
    h("thead", {}, h("tr", {}, corner, heads)), body);
  table.style.width = `calc(var(--mr-tm-names) + ${heads.length} * var(--mr-tm-cell))`;
  const element = h("div", { class: "mr-tm-scroll" }, table);
  let shown = rows;
  let wide = 2; // decimals that a column has room for
  let current = heads[0] ?? corner;
  current.tabIndex = 0;

  const at = (row, token) => {
    if (row === "token") return token < 0 ? corner : heads[token];
    return token < 0 ? lines[row]?.firstChild : cells[row]?.[token]?.td;
  };
  const rove = (cell) => {
    current.tabIndex = -1;
    current = cell;
    current.tabIndex = 0;
  };
  const focus = (row, token) => {
    const cell = at(row, token);
    if (!cell) return;
    rove(cell);
    cell.focus({ preventScroll: true });
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const place = (event) => {
    const cell = event.target.closest?.("[data-token]");
    return cell ? [cell.dataset.row, Number(cell.dataset.token), cell] : [];
  };
  const peek = (event) => {
    const [row, token] = place(event);
    if (row && token >= 0) act.peek(token);
  };
  table.addEventListener("focusin", (event) => {
    const [, , cell] = place(event);
    if (cell) rove(cell);
    peek(event);
  });
  table.addEventListener("pointerover", peek);
  table.addEventListener("click", (event) => {
    const [row, token] = place(event);
    if (row && row !== "token" && token >= 0) act.open(row, token);
  });
  table.addEventListener("keydown", (event) => {
    const [row, token] = place(event);
    if (!row) return;
    const all = ["token", ...shown];
    if (gridKey(event, all, row, token, heads.length - 1, focus, act)) {
      event.preventDefault();
      event.stopPropagation();
    }
  });
  body.addEventListener("pointerdown", (event) => dragRow(event, body, act));

  return {
    element,
    focus,
    /** Write all numbers that changed. */
    paint(numbers, { epsilon }, digits) {
      const shade = shadesOf(numbers, rows, epsilon);
      if (wide !== digits) element.style.setProperty("--mr-tm-cell", `${42 + 8 * digits}px`);
      wide = digits;
      for (const row of shown) {
        const values = numbers[row];
        cells[row].forEach((cell, i) => {
          const error = row === "truth" && response.errors ? response.errors[i] : undefined;
          const text = cellText(row, values[i], error, digits, t);
          if (cell.text.data !== text) cell.text.data = text;
          const level = row === "clip" ? values[i] : String(shade(row, values[i]));
          if (cell.shade !== level) cell.td.dataset.shade = cell.shade = level;
        });
      }
    },
    /** Mark the open cell and those it is made from; nothing = unmark. */
    light(open, parts = []) {
      for (const cell of table.querySelectorAll("[data-lit], [aria-selected]")) {
        delete cell.dataset.lit;
        cell.removeAttribute("aria-selected");
      }
      if (open) at(...open)?.setAttribute("aria-selected", "true");
      for (const [row, token] of parts) {
        const cell = at(row, token);
        if (cell) cell.dataset.lit = "true";
      }
    },
    /** Show these rows in this order; the cell that has the focus keeps it. */
    arrange(order) {
      const focused = table.contains(document.activeElement) ? document.activeElement : null;
      shown = order.filter((row) => lines[row]);
      body.replaceChildren(...shown.map((row) => lines[row]));
      if (!table.contains(current)) rove(heads[0] ?? corner);
      if (focused) (table.contains(focused) ? focused : current).focus({ preventScroll: true });
    },
  };
}

/** The label of a row: a grip to drag it, its symbol and name, and a button that hides it. */
function rowHead(row, t, act) {
  const name = t(`microscope.row.${row}`);
  return h("th",
    { scope: "row", tabindex: -1, "data-row": row, "data-token": -1,
      title: t(`microscope.about.${row}`), "aria-keyshortcuts": "Alt+ArrowUp Alt+ArrowDown Delete" },
    h("span", { class: "mr-tm-grip", "aria-hidden": "true", title: t("microscope.drag") }, "⠿"),
    h("span", { class: "mr-tm-symbol" }, symbolOf(row)), " ",
    h("span", { class: "mr-tm-name" }, name),
    h("button", { type: "button", class: "mr-tm-hide", tabindex: -1,
      "aria-label": t("microscope.hide", { row: name }), onclick: () => act.hide(row) }, "×"));
}

/** What a key does in the table; true when it does something. */
function gridKey(event, all, row, token, last, focus, act) {
  const y = all.indexOf(row);
  const up = event.key === "ArrowUp" ? -1 : 1;
  if (event.ctrlKey || event.metaKey) {
    if (event.key === "Home") return focus(all[0], 0), true;
    if (event.key === "End") return focus(all[all.length - 1], last), true;
    return false;
  }
  switch (event.key) {
    case "ArrowUp":
    case "ArrowDown":
      if (event.altKey) row === "token" || act.move(row, up);
      else focus(all[Math.max(0, Math.min(all.length - 1, y + up))], token);
      return true;
    case "ArrowLeft": return focus(row, Math.max(-1, token - 1)), true;
    case "ArrowRight": return focus(row, Math.min(last, token + 1)), true;
    case "Home": return focus(row, -1), true;
    case "End": return focus(row, last), true;
    case "Enter":
    case " ":
      if (event.target.closest("button")) return false;
      if (row !== "token" && token >= 0) act.open(row, token);
      return true;
    case "Escape": return act.close(), true;
    case "Delete":
      if (row === "token" || token >= 0) return false;
      act.hide(row);
      focus(all[y + 1 < all.length ? y + 1 : y - 1], -1);
      return true;
    default: return false;
  }
}

/** Drag a row by its grip: it changes places with the row under the pointer. */
function dragRow(event, body, act) {
  const grip = event.target.closest(".mr-tm-grip");
  if (!grip || event.button !== 0) return;
  event.preventDefault();
  const line = grip.closest("tr");
  const row = line.firstChild.dataset.row;
  line.classList.add("mr-tm-dragged");
  const move = ({ clientY }) => {
    for (const other of body.rows) {
      const { top, bottom } = other.getBoundingClientRect();
      if (other !== line && clientY > top && clientY < bottom)
        act.put(row, other.firstChild.dataset.row);
    }
  };
  const stop = () => {
    line.classList.remove("mr-tm-dragged");
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointerup", stop);
    window.removeEventListener("pointercancel", stop);
  };
  window.addEventListener("pointermove", move);
  window.addEventListener("pointerup", stop);
  window.addEventListener("pointercancel", stop);
}
