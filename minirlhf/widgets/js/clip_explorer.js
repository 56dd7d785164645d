// PPO's clip: ε, a point of your own, a minibatch's tokens over optimiser steps, six cases.

/** ρ, Â, surrogate and gradient of every token after `step` optimiser steps. */
function clipDots({ now, old, advantages }, step, eps) {
  if (!now) return [];
  const row = now[Math.min(step, now.length - 1)];
  return row.map((logProb, i) => {
    const advantage = advantages[i], move = logProb - old[i];
    const ratio = Math.exp(advantage >= 0 ? Math.min(move, 80) : move);
    return { ratio, advantage, ...clipNumbers(ratio, advantage, eps) };
  });
}

function clipSentence(say, point, eps) {
  const at = clipCase(point.ratio, point.advantage, eps);
  return say("clip_explorer.point", {
    ratio: number(point.ratio, 3), advantage: number(point.advantage, 3), free: number(point.free, 3),
    clipped: number(point.clipped, 3), surrogate: number(point.surrogate, 3),
    loss: number(-point.surrogate, 3), gradient: number(point.gradient, 3), case: say(`clip_explorer.case.${at}`),
  });
}

function clipSummary(say, dots, step, eps) {
  const n = dots.length, mean = dots.reduce((sum, d) => sum - d.surrogate, 0) / n;
  const still = dots.filter((d) => d.gradient !== 0).length;
  const outside = dots.filter((d) => Math.abs(d.ratio - 1) > eps).length;
  return say("clip_explorer.summary", { n, step, still, loss: number(mean, 4), outside: number(outside / n, 3) });
}

/** The six cases, how many tokens are in each, and where your own point is. */
function clipTable(say, dots, own, eps) {
  const counts = {};
  for (const dot of dots) {
    const at = clipCase(dot.ratio, dot.advantage, eps);
    counts[at] = (counts[at] || 0) + 1;
  }
  const here = clipCase(own.ratio, own.advantage, eps);
  const cell = (at) => h("td", { "data-case": at, class: at === here ? "mr-here" : null, "aria-current": at === here ? "true" : null },
    at === here ? h("span", { class: "mr-here-mark" }, "◆ ") : null,
    h("strong", {}, say(at === "good.above" || at === "bad.below" ? "clip_explorer.no" : "clip_explorer.yes")),
    " ", say(`clip_explorer.case.${at}`),
    dots.length ? h("div", { class: "mr-count" }, say("clip_explorer.count", { n: counts[at] || 0 })) : null);
  const row = (sign) => h("tr", {}, h("th", { scope: "row" }, say(`clip_explorer.${sign}`)),
    CLIP_CASES.filter((at) => at.startsWith(sign)).map(cell));
  const head = ["below", "inside", "above"].map((side) =>
    h("th", { scope: "col" }, say(`clip_explorer.${side}`, { low: number(1 - eps), high: number(1 + eps) })));
  return h("table", { class: "mr-cases" }, h("thead", {}, h("tr", {}, h("td"), head)), h("tbody", {}, row("good"), row("bad")));
}

export default {
  render({ model, el }) {
    const say = words(model), points = () => model.get("points");
    const made = {};
    const control = (trait, key, options) => {
      made[trait] = slider({
        name: trait, label: say(`clip_explorer.${key}`), value: model.get(trait), ...options,
        apply: (x) => model.set(trait, x), settle: (x) => write(model, trait, x),
      });
      return made[trait].element;
    };
    const bar = h("div", { class: "mr-bar" },
      control("clip_range", "eps", { min: 0.01, max: 1, step: 0.01 }),
      control("ratio", "your_ratio", { min: 0.01, max: FURTHEST, step: 0.01 }),
      control("advantage", "your_advantage", { min: -3, max: 3, step: 0.1, digits: 1 }));
    const tokens = points().tokens || [], steps = (points().now || []).length;
    const second = h("div", { class: "mr-bar" },
      steps > 1 ? control("step", "step", { min: 0, max: steps - 1, step: 1, digits: 0 }) : null,
      tokens.length ? control("token", "token", { min: 0, max: tokens.length - 1, step: 1, digits: 0 }) : null);
    const charts = h("div"), table = h("div"), name = h("bdi", { class: "mr-word" });
    const own = h("span", { class: "mr-own-text" }), looked = h("span", { class: "mr-token-text" });
    const ownLine = h("p", {}, h("span", { "aria-hidden": "true" }, "◆ "), own);
    const tokenLine = h("p", {}, h("span", { "aria-hidden": "true" }, "◉ "), name, " ", looked);
    const summary = h("p", { class: "mr-summary" });
    const draw = () => {
      const eps = model.get("clip_range");
      const mine = { ratio: model.get("ratio"), advantage: model.get("advantage") };
      Object.assign(mine, clipNumbers(mine.ratio, mine.advantage, eps));
      const dots = clipDots(points(), model.get("step"), eps);
      const token = Math.min(model.get("token"), dots.length - 1);
      for (const [trait, { set }] of Object.entries(made)) set(model.get(trait));
      own.textContent = clipSentence(say, mine, eps);
      tokenLine.style.display = summary.style.display = dots.length ? "" : "none";
      if (dots.length) {
        name.textContent = visible(tokens[token] || "");
        looked.textContent = clipSentence(say, dots[token], eps);
        summary.textContent = clipSummary(say, dots, model.get("step"), eps);
      }
      const description = `${say("clip_explorer.title")}. ${own.textContent} ${summary.textContent}`;
      charts.replaceChildren(drawClip({ say, eps, dots, chosen: token, own: mine, description }));
      table.replaceChildren(clipTable(say, dots, mine, eps));
    };
    const stop = ["clip_range", "ratio", "advantage", "step", "token", "points"].map((t) => follow(model, t, draw));
    el.append(h("div", { class: "mr mr-clip" }, bar, second,
      h("div", { class: "mr-clip-text", "aria-live": "polite" }, ownLine, tokenLine, summary),
      charts, table, h("p", { class: "mr-note" }, say("clip_explorer.caption"))));
    draw();
    return () => stop.forEach((end) => end());
  },
};
