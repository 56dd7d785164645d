// What every widget shares. It is put in front of the widget's own file, so all of this is in scope.
// Text that comes from data only ever becomes a text node; nothing here builds markup from strings.

/** An element: h("button", {class: "x", onclick: f, "aria-label": "…"}, "text", child, …). */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, attributes, children);
  return element;
}

/** The same in SVG. */
function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(element, attributes, children);
  return element;
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(name, String(value));
  }
  // Jupyter's own shortcuts ("d d" deletes the cell) must not fire while this has the focus
  if (/^(button|input|select|textarea|a)$/i.test(element.tagName) || "tabindex" in attributes)
    element.dataset.lmSuppressShortcuts = "true";
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
}

/** Two decimals (or more), a real minus sign, and never "−0.00"; the same as Python's `number`. */
function number(x, digits = 2) {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const text = x.toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : text.replace("-", "−");
}

/** Control characters and marks that turn text round, made visible; long tokens are cut in the middle. */
function visible(token, longest = 24) {
  const shown = token
    .replace(/ /g, "␣")
    .replace(/\n/g, "⏎")
    .replace(/\t/g, "⇥")
    .replace(/[\u0000-\u001f\u007f-\u009f]/g, "�")
    .replace(/[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, "◌");
  const characters = Array.from(shown);
  if (characters.length <= longest) return shown === "" ? "∅" : shown;
  const half = Math.floor((longest - 1) / 2);
  return characters.slice(0, half).join("") + "…" + characters.slice(-half).join("");
}

/**
 * Words of the reader's language, by key, which may leave out a prefix that is given here; {name}
 * is put in. A missing key shows itself.
 */
function words(model, prefix = null) {
  const table = model.get("_strings") || {};
  const full = (key) => (prefix === null ? key : `${prefix}.${key}`);
  return (key, values = {}) => (table[full(key)] ?? full(key))
    .replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/**
 * A labelled slider. `apply(value)` runs at once while it moves; `settle(value)` when it is let go.
 * `tell(value)` says it in words; a slider over the places of a list tells what stands there.
 * Returns {element, input, set(value)}; `set` moves it without running either.
 */
function slider({ name, label, min, max, step, value, digits = 2, tell = (x) => number(x, digits),
                  apply, settle = () => {} }) {
  const shown = h("output", { class: "mr-readout" });
  const input = h("input", { type: "range", min, max, step, value, name, "aria-label": label });
  const show = (x) => {
    shown.textContent = tell(x);
    input.setAttribute("aria-valuetext", tell(x));
  };
  show(value);
  input.addEventListener("input", () => { show(input.valueAsNumber); apply(input.valueAsNumber); });
  input.addEventListener("change", () => settle(input.valueAsNumber));
  input.addEventListener("keydown", (event) => event.stopPropagation());
  return {
    element: h("label", { class: "mr-slider" }, h("span", {}, label), input, shown),
    input,
    set(x) { input.value = x; show(x); },
  };
}

/**
 * A row of choices, one of which is pressed; arrow keys move. Returns {element, set(value)}.
 * Tab leads to the one that is pressed, or to the first where the value is none of them.
 */
function choices({ label, options, value, apply }) {
  const buttons = options.map(([key, text]) =>
    h("button", { type: "button", role: "radio", "data-key": key, onclick: () => pick(key) }, text));
  const element = h("div", { class: "mr-choices", role: "radiogroup", "aria-label": label }, buttons);
  const set = (key) => {
    const chosen = buttons.findIndex((button) => button.dataset.key === String(key));
    buttons.forEach((button, i) => {
      button.setAttribute("aria-checked", String(i === chosen));
      button.tabIndex = i === Math.max(chosen, 0) ? 0 : -1;
    });
  };
  const pick = (key) => { set(key); apply(key); };
  element.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    event.stopPropagation();
    if (!move) return;
    event.preventDefault();
    const at = buttons.indexOf(event.target);
    const next = buttons[(at + move + buttons.length) % buttons.length];
    pick(next.dataset.key);
    next.focus();
  });
  set(value);
  return { element, set };
}

/** Keep a trait and a callback in step; returns the function that stops it. */
function follow(model, trait, update) {
  const listener = () => update(model.get(trait));
  model.on(`change:${trait}`, listener);
  return () => model.off(`change:${trait}`, listener);
}

/** Write a trait and tell Python, where there is one. */
function write(model, trait, value) {
  model.set(trait, value);
  model.save_changes();
}
