// What came of the labels: the model before and after, and the answer that fools the reward model.

function resultTable(result, t) {
  const cell = (answer) => [h("bdi", {}, visibleLine(answer.text)), " ",
    h("span", { class: "mr-code mr-faint" },
      `${t("preference_labeler.score")} ${number(answer.score)}`)];
  const head = ["prompt", "before", "after"].map((key) =>
    h("th", { scope: "col" }, t(`preference_labeler.${key}`)));
  const rows = result.before.map((before, i) => h("tr", {},
    h("th", { scope: "row" }, h("bdi", {}, visibleLine(before.prompt))),
    h("td", {}, cell(before)), h("td", {}, cell(result.after[i]))));
  return h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows));
}

/** The last question: the two answers. */
function lastQuestion(model, [new_, old], t) {
  const buttons = [["left", new_], ["right", old]].map(([side, answer]) =>
    h("button", { type: "button", class: "mr-answer", name: `verdict_${side}`,
      onclick: () => write(model, "verdict", side) },
      h("bdi", {}, visibleLine(answer.text)),
      h("span", { class: "mr-code mr-faint" },
        `${t("preference_labeler.score")} ${number(answer.score)}, ` +
        `${t("preference_labeler.judged")} ${number(answer.judged)}`)));
  return [
    h("p", {}, t("preference_labeler.fooled_text", {
      score: number(new_.score - old.score), judged: number(old.judged - new_.judged) })),
    h("p", { class: "mr-prompt" }, h("bdi", {}, visibleLine(new_.prompt))),
    h("div", { class: "mr-answers" }, buttons),
    h("p", { class: "mr-verdict", "aria-live": "polite" }),
  ];
}

/** What your choice means. In place: a button that is pressed keeps the focus. */
function showVerdict(model, result, t) {
  const verdict = model.get("verdict"), said = result.querySelector(".mr-verdict");
  if (said) said.textContent = verdict ? t(`preference_labeler.verdict_${verdict}`) : "";
  for (const button of result.querySelectorAll("button[name^=verdict_]"))
    button.setAttribute("aria-pressed", String(button.name === `verdict_${verdict}`));
}

function drawResult(model, t) {
  const result = model.get("result");
  if (!result || !result.before) return [];
  const simulated = model.get("simulated_answers");
  return [
    h("h4", {}, t("preference_labeler.results")),
    simulated ? h("p", { class: "mr-simulated" }, t("preference_labeler.simulated",
      { simulated, total: model.get("questions").length })) : null,
    h("p", {}, t("preference_labeler.held_out", result), " ", t("preference_labeler.moved",
      { before: number(result.scores[0]), after: number(result.scores[1]) })),
    resultTable(result, t),
    h("h4", {}, t("preference_labeler.fooled")),
    ...(result.fooled.length ? lastQuestion(model, result.fooled, t)
      : [h("p", {}, t("preference_labeler.not_fooled"))]),
  ].filter(Boolean);
}
