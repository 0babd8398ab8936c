// The list: a table of fifty resources at a time, picked and sorted by the daemon.

import { emptySpark, spark } from "./chart.js";
import { describe, element, mode, number, say, signed, state } from "./words.js";

const at = (id) => document.getElementById(id);
const TYPING_MILLISECONDS = 150;

export class List {
  // `asked` is called when something else is to be shown.
  constructor(asked) {
    this.place = at("list");
    this.asked = asked;
    this.wanted = new URLSearchParams();
    this.rows = new Map();
    let typing;
    at("text").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.want({ text: at("text").value.trim(), first: "" }), TYPING_MILLISECONDS);
    });
    at("filters").addEventListener("submit", (event) => event.preventDefault());
    for (const id of ["mode", "state"]) at(id).addEventListener("change", () => this.want({ [id]: at(id).value, first: "" }));
    for (const head of document.querySelectorAll("th[data-sort]")) head.firstChild.addEventListener("click", () => this.sort(head.dataset.sort));
    at("before").addEventListener("click", () => this.turn(this.previous));
    at("after").addEventListener("click", () => this.turn(this.next));
  }

  path() {
    return `resources.json?${this.wanted}`;
  }

  hash() {
    const text = String(this.wanted);
    return text ? `#/?${text}` : "#/";
  }

  // Begins to show what an address says.
  open(wanted) {
    this.wanted = wanted;
    if (document.activeElement !== at("text")) at("text").value = wanted.get("text") ?? "";
    for (const id of ["mode", "state"]) this.choose(at(id), wanted.get(id) ?? "");
    for (const head of document.querySelectorAll("th[data-sort]")) {
      const by = head.dataset.sort === wanted.get("sort");
      if (by) head.setAttribute("aria-sort", wanted.get("order") === "falling" ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  want(changes) {
    for (const [key, value] of Object.entries(changes)) value ? this.wanted.set(key, value) : this.wanted.delete(key);
    this.open(this.wanted);
    this.asked();
  }

  // Rising, falling, and then by trouble again.
  sort(by) {
    const same = this.wanted.get("sort") === by, fell = this.wanted.get("order") === "falling";
    this.want({ sort: same && fell ? "" : by, order: same && !fell ? "falling" : "", first: "" });
  }

  turn(first) {
    this.want({ first: first ? String(first) : "" });
    this.place.querySelector(".scroll").scrollTop = 0;
  }

  choose(select, value) {
    if (value && ![...select.options].some((each) => each.value === value)) select.append(element("option", { value }, value));
    select.value = value;
  }

  show(told) {
    describe(at("summary"), [
      ["Resources", String(told.total)],
      ["Active", String(told.modes.active ?? 0)],
      ["Shadow", String(told.modes.shadow ?? 0)],
      ["Observed", String(told.modes.observe ?? 0)],
      ["In trouble or paused", String(told.trouble), "", told.trouble ? "warn" : ""],
    ]);
    this.options(at("mode"), Object.keys(told.modes).sort());
    this.options(at("state"), ["trouble", ...Object.keys(told.states).sort()]);
    say(at("found"), told.found === told.total ? "" : `${told.found} of ${told.total} shown`);
    const end = told.first + told.rows.length;
    say(at("range"), told.found ? `${told.first + 1}–${end} of ${told.found}` : "");
    this.previous = Math.max(0, told.first - told.per_page);
    this.next = end;
    at("before").disabled = told.first === 0;
    at("after").disabled = end >= told.found;
    at("paging").hidden = told.found <= told.per_page;
    at("nothing").hidden = told.found > 0;
    say(at("nothing"), told.total ? "Nothing matches the filters." : "No resource is configured.");
    this.place.querySelector(".scroll").hidden = !told.found;
    this.fill(told.rows);
  }

  options(select, values) {
    const there = [...select.options].slice(1).map((each) => each.value);
    if (there.join() === values.join()) return;
    const value = select.value;
    select.replaceChildren(select.options[0], ...values.map((each) => element("option", { value: each }, each)));
    this.choose(select, value);
  }

  // Rows are kept by name and only moved, so that what has the focus keeps it.
  fill(rows) {
    const body = at("rows").tBodies[0], focused = document.activeElement, names = new Set(rows.map((each) => each.resource));
    for (const [name, row] of this.rows) if (!names.has(name)) row.remove(), this.rows.delete(name);
    rows.forEach((each, place) => {
      let row = this.rows.get(each.resource);
      if (!row) this.rows.set(each.resource, (row = this.row(each.resource)));
      this.update(row, each);
      if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
    });
    if (body.contains(focused) && document.activeElement !== focused) focused.focus({ preventScroll: true });
  }

  row(name) {
    const link = element("a", { href: `#/${encodeURIComponent(name)}` }, name);
    const row = element("tr", {}, element("th", { scope: "row" }, link, element("small")));
    for (const kind of ["", "", "number", "number", "number", "number", "spark", "why"]) row.append(element("td", { class: kind }));
    row.children[7].append(emptySpark());
    return row;
  }

  update(row, each) {
    const [head, kind, standing, size, decided, demand, force, curve, why] = row.children;
    say(head.lastChild, each.kind);
    if (kind.textContent !== each.mode) kind.replaceChildren(mode(each.mode));
    if (standing.textContent !== each.state || standing.dataset.troubled !== String(each.troubled)) {
      standing.dataset.troubled = each.troubled;
      standing.replaceChildren(state(each));
    }
    say(size, number(each.size));
    say(decided, number(each.decided));
    decided.classList.toggle("differs", each.decided !== each.size);
    say(demand, number(each.demand));
    say(force, signed(each.force));
    spark(curve.firstChild, each.course);
    say(why, each.why);
    why.title = each.why;
  }
}
