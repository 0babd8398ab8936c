// Curves in SVG: a small one for each row, and large ones with axes and a reading under the pointer.

import { clock, element, number, say } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

function drawn(name, attributes = {}, ...inside) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

const known = (values) => values.filter((value) => value !== null);
const short = (value) => Math.round(value * 10) / 10;

// Path through values that are known; a gap begins a new one. A size holds until the next: steps.
function path(xs, ys, steps) {
  let text = "", before = null;
  ys.forEach((y, place) => {
    if (y === null) before = null;
    else {
      const at = `${short(xs[place])} ${short(y)}`;
      text += before === null ? `M${at}` : steps ? `H${short(xs[place])}V${short(y)}` : `L${at}`;
      before = y;
    }
  });
  return text;
}

// The same as an area down to `floor`.
function area(xs, ys, floor) {
  let text = "", last = null;
  const close = () => {
    if (last !== null) text += `L${last} ${floor}Z`;
    last = null;
  };
  ys.forEach((y, place) => {
    if (y === null) return close();
    const x = short(xs[place]);
    text += last === null ? `M${x} ${floor}L${x} ${short(y)}` : `L${x} ${short(y)}`;
    last = x;
  });
  close();
  return text;
}

const extent = (name, values) => {
  const there = known(values);
  return there.length ? `${name} ${number(Math.min(...there))} to ${number(Math.max(...there))}` : `no ${name}`;
};

export function spark(svg, course, width = 132, height = 30) {
  const { size = [], demand = [], as_if_size: shadow = [] } = course;
  const most = Math.max(1e-9, ...known(size), ...known(demand), ...known(shadow)) * 1.08;
  const xs = size.map((_, place) => (size.length < 2 ? width : (place / (size.length - 1)) * width));
  const scaled = (values) => values.map((value) => (value === null ? null : height - 1 - (value / most) * (height - 3)));
  if (!svg.firstChild) {
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("role", "img");
    svg.append(drawn("path", { class: "demand area" }), drawn("path", { class: "shadow" }), drawn("path", { class: "size" }));
  }
  const [filled, dashed, line] = svg.children;
  filled.setAttribute("d", area(xs, scaled(demand), height));
  dashed.setAttribute("d", path(xs, scaled(shadow), true));
  line.setAttribute("d", path(xs, scaled(size), true));
  svg.setAttribute("aria-label", `${extent("size", size)}, ${extent("demand", demand)}`);
}

export const emptySpark = () => drawn("svg", { class: "spark" });

// Round numbers that divide a range into about four.
function ticks(low, high) {
  const rough = (high - low) / 4 || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * unit).find((each) => each >= rough);
  const found = [];
  for (let tick = Math.ceil(low / step); tick * step <= high + step * 1e-9; tick++) found.push(tick * step);
  return found;
}

const MARGIN = { left: 52, right: 12, top: 10, bottom: 22 };

// `series`: name, key in the course, kind (class), and how it is drawn: "area", "steps" or "line".
export class Chart {
  constructor(place, title, unit, height, series) {
    Object.assign(this, { title, unit, height, series, course: null, under: null });
    this.svg = drawn("svg", { class: "chart", role: "img", height });
    this.legend = element("ul", { class: "legend" });
    for (const each of series) {
      each.value = element("b");
      each.item = element("li", { class: each.kind }, element("i", { "aria-hidden": "true" }), each.name, " ", each.value);
      this.legend.append(each.item);
    }
    this.moment = element("span", { class: "moment" });
    place.append(element("figure", {}, element("figcaption", {}, element("span", { class: "what" }, title), this.legend, this.moment), this.svg));
    this.svg.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  show(course) {
    this.course = course;
    this.draw();
  }

  draw() {
    const width = this.svg.clientWidth, { course, height } = this;
    if (!course || !width) return;
    const times = course.time, there = this.series.filter(({ key }) => known(course[key]).length);
    const values = there.flatMap(({ key }) => known(course[key]));
    let low = Math.min(0, ...values), high = Math.max(0, ...values);
    if (low === high) high = low + 1;
    const room = (high - low) * 0.06;
    high += room;
    if (low < 0) low -= room;
    const first = times[0] ?? 0, last = Math.max(times.at(-1) ?? 1, first + 1e-3);
    const inner = width - MARGIN.left - MARGIN.right, tall = height - MARGIN.top - MARGIN.bottom;
    this.x = (time) => MARGIN.left + ((time - first) / (last - first)) * inner;
    this.y = (value) => MARGIN.top + (1 - (value - low) / (high - low)) * tall;
    const xs = times.map(this.x);
    const parts = ticks(low, high).flatMap((tick) => [
      drawn("line", { class: tick ? "grid" : "grid zero", x1: MARGIN.left, x2: width - MARGIN.right, y1: this.y(tick), y2: this.y(tick) }),
      drawn("text", { class: "tick", x: MARGIN.left - 8, y: this.y(tick) + 4, "text-anchor": "end" }, number(tick, 3)),
    ]);
    const marks = Math.max(2, Math.min(6, Math.floor(inner / 120)));
    for (let mark = 0; mark < marks && times.length > 1; mark++) {
      const time = first + ((last - first) * mark) / (marks - 1);
      const anchor = mark === 0 ? "start" : mark === marks - 1 ? "end" : "middle";
      parts.push(drawn("text", { class: "tick", x: this.x(time), y: height - 5, "text-anchor": anchor }, clock(time)));
    }
    for (const { key, kind, drawn: how } of there) {
      const ys = course[key].map((value) => (value === null ? null : this.y(value)));
      if (how === "area") parts.push(drawn("path", { class: `${kind} area`, d: area(xs, ys, this.y(0)) }));
      parts.push(drawn("path", { class: kind, d: path(xs, ys, how === "steps") }));
    }
    this.cursor = drawn("line", { class: "cursor", y1: MARGIN.top, y2: height - MARGIN.bottom, visibility: "hidden" });
    parts.push(this.cursor);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...parts);
    const told = there.map(({ name, key }) => extent(name.toLowerCase(), course[key])).join(", ");
    this.svg.setAttribute("aria-label", times.length ? `${this.title} from ${clock(first)} to ${clock(last)}: ${told}` : `${this.title}: nothing yet`);
    for (const each of this.series) each.item.hidden = !there.includes(each);
    this.point(this.under);
  }

  // Reads the values at a place under the pointer, or the latest.
  point(under) {
    this.under = under;
    const { course } = this;
    if (!course || !this.cursor || !course.time.length) return;
    let place = course.time.length - 1;
    if (under !== null) while (place > 0 && this.x(course.time[place]) > under) place--;
    for (const { key, value } of this.series) say(value, number(course[key][place]));
    say(this.moment, under === null ? "" : `at ${clock(course.time[place])}`);
    const at = this.x(course.time[place]);
    this.cursor.setAttribute("x1", at);
    this.cursor.setAttribute("x2", at);
    this.cursor.setAttribute("visibility", under === null ? "hidden" : "visible");
  }
}
