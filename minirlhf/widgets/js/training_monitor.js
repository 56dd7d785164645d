// A live dashboard: curves with their healthy ranges, samples, and start, pause, stop and β.
// Buttons send {do: "start" | "pause" | "stop"}; β is a trait. Python does them between two steps.

function render({ model, el }) {
  const t = words(model);
  const send = (command) => model.send({ do: command });
  const go = h("button", { type: "button", name: "go", onclick: () => send(go.dataset.do) });
  const stop = h("button", { type: "button", name: "stop", onclick: () => send("stop") },
    t("training_monitor.stop"));
  const beta = model.get("kl_coef");
  const coef = beta === null ? null : slider({
    name: "kl_coef", label: t("training_monitor.kl_coef"), min: 0, max: Math.max(0.5, 4 * beta),
    step: 0.005, value: beta, digits: 3, apply: () => {},
    settle: (value) => { write(model, "kl_coef", value); say(t("training_monitor.kl_set",
      { value: number(value, 3) })); },
  });
  const status = h("strong", { class: "mr-status" });
  const bar = h("progress", { max: 1, "aria-label": t("training_monitor.progress") });
  const steps = h("span", { class: "mr-code" });
  const error = h("p", { class: "mr-error", role: "alert" });
  const note = pythonNote(model, t("training_monitor.needs_python"));
  const panels = model.get("panels").map((metric) => monitorPanel(metric, t));
  const samples = h("ol", { class: "mr-samples", "aria-label": t("training_monitor.samples") });
  const live = h("div", { class: "mr-hidden", "aria-live": "polite" });
  const say = (text) => { live.textContent = text; };
  let said = "";

  function draw() {
    const [state, step, total] = ["state", "step", "total"].map((name) => model.get(name));
    const action = state === "running" ? "pause" : "start";
    const moving = state === "running" || state === "paused";
    go.dataset.do = action;
    go.textContent = t(`training_monitor.${action === "pause" ? "pause"
      : state === "ready" ? "start" : "resume"}`);
    go.disabled = !hasPython(model) || state === "done";
    stop.disabled = !hasPython(model) || !moving;
    if (coef) coef.input.disabled = !hasPython(model) || state === "done";
    note.update();
    status.textContent = t(`training_monitor.state.${state}`);
    status.dataset.state = state;
    bar.value = total ? step / total : 0;
    steps.textContent = t("training_monitor.steps", { stage: model.get("stage"), step, total });
    error.textContent = model.get("error");
    error.hidden = !model.get("error");
    const quarter = `${state} ${Math.floor((4 * step) / Math.max(1, total))}`;
    if (said && quarter !== said) say(`${status.textContent}, ${steps.textContent}`);
    said = quarter;
  }
  function drawCurves() {
    const [history, total] = [model.get("history"), model.get("total")];
    for (const panel of panels) panel.draw(history, total, model.get("kl_changes"));
  }
  function drawSamples() {
    samples.replaceChildren(...model.get("samples").map(({ step, text, score }) => h("li", {},
      h("span", { class: "mr-code" }, t("training_monitor.sample", { step })),
      score === null ? null : h("span", { class: "mr-code" },
        t("training_monitor.score", { score: number(score) })),
      h("bdi", {}, visibleLine(text)))));
  }

  const root = h("div", { class: "mr mr-monitor", role: "group",
    "aria-label": t("training_monitor.title") },
    h("div", { class: "mr-bar" }, go, stop, coef && coef.element, status, bar, steps),
    note.element, error,
    h("div", { class: "mr-panels" }, panels.map((panel) => panel.element)),
    samples, h("p", { class: "mr-note" }, t("training_monitor.caption")), live);
  el.append(root);
  draw(); drawCurves(); drawSamples();
  const stops = [
    ...["state", "step", "error"].map((name) => follow(model, name, draw)),
    ...["history", "kl_changes"].map((name) => follow(model, name, drawCurves)),
    follow(model, "samples", drawSamples),
    follow(model, "kl_coef", (value) => {
      if (coef && value !== null && document.activeElement !== coef.input) coef.set(value);
    }),
  ];
  return () => { stops.forEach((stopFollowing) => stopFollowing()); root.remove(); };
}

export default { render };
