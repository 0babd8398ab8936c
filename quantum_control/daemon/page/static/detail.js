// One resource: its figures over time, what was decided and why, and what shadow mode would have been worth.

import { Chart } from "./chart.js";
import { clock, describe, duration, element, figure, mode, NONE, number, percent, say, signed, state } from "./words.js";

const at = (id) => document.getElementById(id);

export class Detail {
  constructor() {
    this.place = at("detail");
    this.sizes = new Chart(at("detail-sizes"), "Size and demand", "", 260, [
      { name: "Demand", key: "demand", kind: "demand", drawn: "area" },
      { name: "Size", key: "size", kind: "size", drawn: "steps" },
      { name: "Shadow size", key: "as_if_size", kind: "shadow", drawn: "steps" },
    ]);
    this.forces = new Chart(at("detail-forces"), "Force", "1/s", 130, [{ name: "Force, 1/s", key: "force", kind: "force", drawn: "line" }]);
  }

  path() {
    return `resource.json?${new URLSearchParams({ name: this.name })}`;
  }

  open(name) {
    this.name = name;
    say(at("detail-title"), name);
    for (const each of this.place.querySelectorAll("section, dl, .labels")) each.hidden = true; // until it is told
    at("detail-why").hidden = true;
  }

  show(told) {
    for (const each of this.place.querySelectorAll("section, dl, .labels")) each.hidden = false;
    at("detail-labels").replaceChildren(element("span", { class: "kind" }, told.kind), mode(told.mode), state(told));
    this.why(told.why, told.troubled);
    const [least, most] = told.bounds ?? [null, null];
    const decided = told.mode === "active" ? "Size ordered" : told.mode === "shadow" ? "Shadow size" : "Size found";
    describe(at("detail-figures"), [
      ["Size", number(told.size)],
      [decided, number(told.decided)],
      ["Demand", number(told.demand)],
      ["Force", signed(told.force), told.force === undefined ? "" : " per s"],
      ["Original size", number(told.original)],
      ["Bounds", told.bounds ? `${number(least)} – ${most === null ? "none" : number(most)}` : NONE],
      ["Changes", String(told.changes)],
      ["Failures", String(told.failures), "", told.failures ? "warn" : ""],
    ]);
    this.sizes.show(told.course);
    this.forces.show(told.course);
    this.worth(told.worth, told.mode, told.course.time);
    this.decisions(told.told);
    describe(at("detail-more"), [
      ["Law", told.law],
      ["Roll-backs", String(told.roll_backs)],
      ["Evidence of a loss", number(told.loss_evidence)],
      ["Set by hand", told.set_by_hand === null ? "no" : String(told.set_by_hand)],
      ["Last step late by", `${number(1000 * told.late_seconds)} ms`],
      ...Object.entries(told.metrics ?? {}).map(([name, text]) => [name.replaceAll("_", " "), figure(text)]),
    ]);
  }

  gone() {
    this.open(this.name);
    this.why("No such resource is steered now: it is not in the configuration, or the configuration has changed.", true);
  }

  why(text, bad) {
    const place = at("detail-why");
    say(place, text);
    place.hidden = !text;
    place.classList.toggle("bad", bad);
  }

  worth(worth, kind, times) {
    at("detail-worth").hidden = !worth;
    if (!worth) return;
    const shadow = worth.against === "shadow";
    const [low, high] = worth.interval;
    const verdict = low <= 0 && high >= 0 ? "no clear difference" : low > 0 ? "saves" : "costs more";
    const [first, second] = shadow ? ["As it is", "Shadow"] : ["At the original size", "As steered"];
    say(at("worth-title"), shadow ? "Shadow against what is" : "Steered against the original size");
    say(at("worth-verdict"), `${percent(worth.saving)} of the cost saved, 95 % interval ${percent(low)} to ${percent(high)}: ${verdict}.`);
    at("worth-rows").tBodies[0].replaceChildren(
      ...[[first, worth.mean_size, worth.mean_backlog], [second, worth.other_size, worth.other_backlog]].map(([name, size, backlog]) =>
        element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "number" }, number(size)), element("td", { class: "number" }, number(backlog)))),
    );
    const span = duration(times.at(-1) - times[0]);
    say(at("worth-note"), `Estimated over the last ${span} by the prices of the objective, taking demand to be the same either way.`);
  }

  decisions(told) {
    at("detail-decisions").replaceChildren(...told.map((each) => element("tr", {},
      element("td", { class: "time" }, clock(each.when)),
      element("td", {}, each.outcome, each.times > 1 ? element("small", {}, ` ×${each.times}`) : ""),
      ...[each.demand, each.size, each.wanted, each.allowed].map((value) => element("td", { class: "number" }, number(value))),
      element("td", { class: "why" }, each.reasons.join("; ") || (each.outcome === "changed" ? "as the law asked" : "")),
    )));
  }
}
