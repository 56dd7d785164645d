// For widgets whose buttons need Python. An exported page has none, and says so.

const hasPython = (model) => Boolean(model.widget_manager);

/** A note that is shown where no Python answers. Returns {element, update()}. */
function pythonNote(model, text) {
  const element = h("p", { class: "mr-note", role: "note" }, text);
  const update = () => { element.hidden = hasPython(model); };
  update();
  return { element, update };
}
