// You are the human: two answers, choose with mouse or keys. The answers are the trait `choices`;
// Python writes them down, and {do: "train"} makes it train on them.

/** The same counts as minirlhf.labelling: agreement with gold, and with the earlier self. */
function agreements(questions, choices) {
  const gold = { same: 0, of: 0 }, self = { same: 0, of: 0 };
  choices.forEach((side, i) => {
    const q = questions[i];
    const better = side === "left" ? q.left_gold - q.right_gold : q.right_gold - q.left_gold;
    gold.same += better > 0;
    gold.of += better !== 0;
    if (q.repeats !== null) {
      self.same += choices[q.repeats] !== side; // the sides are swapped
      self.of += 1;
    }
  });
  return { gold, self };
}

function render({ model, el }) {
  const t = words(model);
  const questions = model.get("questions");
  const button = (name, onclick, ...children) =>
    h("button", { type: "button", name, onclick }, ...children);
  const texts = { left: h("bdi", {}), right: h("bdi", {}) };
  const pick = Object.fromEntries(["left", "right"].map((side) => {
    const element = button(side, () => choose(side), texts[side],
      h("span", { class: "mr-faint", "aria-hidden": true }, side === "left" ? "←" : "→"));
    element.className = "mr-answer";
    return [side, element];
  }));
  const undo = button("undo", () => takeBack(), t("preference_labeler.undo"));
  const train = button("train", () => model.send({ do: "train" }));
  const prompt = h("bdi", {});
  const asked = h("div", {}, h("p", { class: "mr-note" }, t("preference_labeler.question")),
    h("p", { class: "mr-prompt" }, prompt),
    h("div", { class: "mr-answers", role: "group",
      "aria-label": t("preference_labeler.question") }, pick.left, pick.right));
  const allDone = h("p", {}, t("preference_labeler.all_done"));
  const bar = h("progress", { max: questions.length,
    "aria-label": t("preference_labeler.progress") });
  const count = h("span", { class: "mr-code" });
  const gold = h("span", { class: "mr-code", "data-agreement": "gold" });
  const self = h("span", { class: "mr-code", "data-agreement": "self" });
  const trainBar = h("progress", { max: 1, "aria-label": t("preference_labeler.training") });
  const doing = h("span", { class: "mr-code" });
  const training = h("div", { class: "mr-bar" }, trainBar, doing);
  const error = h("p", { class: "mr-error", role: "alert" });
  const note = pythonNote(model, t("preference_labeler.needs_python"));
  const result = h("div", { class: "mr-result" });
  const live = h("div", { class: "mr-hidden", "aria-live": "polite" });
  const done = () => model.get("choices").length;
  const busy = () => model.get("state") === "training";
  const say = (key) => {
    live.textContent = t(`preference_labeler.said_${key}`,
      { done: done(), total: questions.length });
  };

  function choose(side) {
    if (busy() || done() >= questions.length) return;
    write(model, "choices", [...model.get("choices"), side]);
    say(side);
    if (done() === questions.length) (train.disabled ? undo : train).focus();
  }
  function takeBack() {
    if (busy() || done() === 0) return;
    write(model, "choices", model.get("choices").slice(0, -1));
    say("undo");
  }
  function draw() {
    const number = done(), open = number < questions.length, question = questions[number];
    const counted = agreements(questions, model.get("choices"));
    asked.hidden = !open;
    allDone.hidden = open || model.get("state") !== "labelling";
    if (open) {
      prompt.textContent = visibleLine(question.prompt);
      for (const side of ["left", "right"]) {
        texts[side].textContent = visibleLine(question[side]);
        pick[side].setAttribute("aria-label",
          `${t(`preference_labeler.choose_${side}`)}: ${texts[side].textContent}`);
        pick[side].disabled = busy();
      }
    }
    bar.value = number;
    count.textContent = t("preference_labeler.count", { done: number, total: questions.length });
    gold.textContent = t("preference_labeler.gold", counted.gold);
    self.textContent = t("preference_labeler.self", counted.self);
    undo.disabled = busy() || number === 0;
    train.disabled = busy() || !hasPython(model);
    train.textContent = t(`preference_labeler.${open ? "train_rest" : "train"}`);
    note.update();
  }
  function drawTraining() {
    const [step, total] = [model.get("step"), model.get("total")];
    training.hidden = !busy();
    trainBar.value = total ? step / total : 0;
    doing.textContent = busy() && model.get("doing")
      ? t(`preference_labeler.doing.${model.get("doing")}`, { step, total }) : "";
    error.textContent = model.get("error");
    error.hidden = !model.get("error");
  }

  const root = h("div", { class: "mr mr-labeler", role: "group",
    "aria-label": t("preference_labeler.title") },
    asked, allDone,
    h("div", { class: "mr-bar" }, undo, bar, count, gold, self),
    h("div", { class: "mr-bar" }, train,
      h("span", { class: "mr-faint" }, t("preference_labeler.keys"))),
    note.element, training, error, result,
    h("p", { class: "mr-note" }, t("preference_labeler.caption")), live);
  asked.addEventListener("keydown", keys);
  undo.addEventListener("keydown", keys);
  function keys(event) {
    const act = { ArrowLeft: () => choose("left"), ArrowRight: () => choose("right"),
      Backspace: takeBack }[event.key];
    event.stopPropagation();
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }
  el.append(root);
  const drawAll = () => { draw(); drawTraining(); };
  const drawOutcome = () => {
    result.replaceChildren(...drawResult(model, t));
    showVerdict(model, result, t);
  };
  drawAll();
  drawOutcome();
  const stops = [
    ...["choices", "state"].map((name) => follow(model, name, drawAll)),
    ...["step", "total", "doing", "error"].map((name) => follow(model, name, drawTraining)),
    ...["result", "simulated_answers"].map((name) => follow(model, name, drawOutcome)),
    follow(model, "verdict", () => showVerdict(model, result, t)),
    follow(model, "state", (state) => { if (state === "done") say("done"); }),
  ];
  return () => { stops.forEach((stopFollowing) => stopFollowing()); root.remove(); };
}

export default { render };
