// A guess before the result. Python says what is true; the result stays out of the page until
// there is a guess or the reader asks for it without one.

function drawPredict({ model, el }) {
  const word = words(model);
  const get = (name) => model.get(name);
  let picked = null; // number of an option, not yet locked in
  let asked = false; // "show it without a guess"

  const pick = (key) => { picked = Number(key); update(); };
  const answers = choices({
    label: word("predict.answers"), value: null, apply: pick,
    options: get("options").map((text, number) => [number, text]),
  });
  const buttons = [...answers.element.children];
  const sure = slider({
    name: "confidence", label: word("predict.sure"), min: get("least"), max: 100, step: 5,
    value: get("confidence"), digits: 0, apply: () => {},
    settle: (x) => write(model, "confidence", x),
  });
  const lock = h("button", { type: "button", onclick: lockIn }, word("predict.lock"));
  const skip = h("button", { type: "button", onclick: show }, word("predict.skip"));
  const state = h("p", { class: "mr-note" });
  const result = h("div", { class: "mr-predict-result" });
  const live = h("div", { "aria-live": "polite" }, state, result);
  el.append(h("section", { class: "mr mr-predict", "aria-label": word("predict.name") },
    h("p", { class: "mr-predict-question" }, get("question")),
    h("div", { class: "mr-bar" }, answers.element),
    h("div", { class: "mr-bar" }, sure.element, lock, skip), live));

  function lockIn() {
    if (picked === null) return;
    model.set("confidence", sure.input.valueAsNumber);
    write(model, "guess", picked);
  }

  function show() { asked = true; update(); }

  function update() {
    const guess = get("guess"), truth = get("truth");
    const guessed = guess >= 0, known = truth >= 0, shown = known && (guessed || asked);
    answers.set(guessed ? guess : picked);
    for (const button of buttons) button.disabled = guessed || shown;
    sure.input.disabled = lock.disabled = guessed || shown;
    lock.disabled ||= picked === null;
    skip.hidden = guessed || shown || !known;
    const key = shown ? "shown" : guessed ? "locked" : known ? "ready" : "open";
    state.textContent = word(`predict.state.${key}`);
    state.hidden = shown;
    result.replaceChildren(...(shown ? resultLines(guess, truth) : []));
  }

  function resultLines(guess, truth) {
    const right = guess === truth, options = get("options"), lines = [];
    const verdict = guess < 0 ? "unguessed" : right ? "right" : "wrong";
    lines.push(word(`predict.${verdict}`, {
      truth: options[truth], guess: options[guess] ?? "", sure: number(get("confidence"), 0),
    }));
    if (get("why")) lines.push(get("why"));
    const score = get("score");
    if (guess >= 0 && score.guesses) lines.push(word("predict.score", {
      right: score.right, guesses: score.guesses, sure: number(score.confidence, 0),
      share: number((100 * score.right) / score.guesses, 0),
      brier: number(score.brier), chance: number(score.chance),
    }));
    return lines.map((text) => h("p", {}, text));
  }

  update();
  const stops = ["guess", "truth", "why", "score"].map((trait) => follow(model, trait, update));
  stops.push(follow(model, "confidence", (x) => sure.set(x)));
  return () => stops.forEach((stop) => stop());
}

export default { render: drawPredict };
