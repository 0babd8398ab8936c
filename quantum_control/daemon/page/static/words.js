// Figures and times in words, and elements made of text; nothing that is shown becomes markup.

export const NONE = "–";

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
const LONGEST = 99_999; // beyond, sizes are written with a prefix, as in the terminal

export function number(value, digits = 4) {
  if (typeof value !== "number") return NONE;
  value = Number(value.toPrecision(6)); // so that 3.0000000000000027 is 3
  const size = Math.abs(value);
  if (size > LONGEST) {
    const [unit, prefix] = PREFIXES.find(([least]) => size >= least);
    return (value / unit).toPrecision(digits) + prefix;
  }
  if (Number.isInteger(value)) return String(value);
  return size >= 1000 ? value.toFixed(0) : size >= 100 ? value.toFixed(1) : size >= 0.01 ? value.toFixed(2) : value.toPrecision(2);
}

// A figure as an adapter says it, which may be anything.
export function figure(text) {
  const value = Number(text);
  return text.trim() && Number.isFinite(value) ? number(value) : text;
}

export function signed(value) {
  if (typeof value !== "number") return NONE;
  if (Math.abs(value) < 0.0005) return "0.000";
  return (value > 0 ? "+" : "−") + Math.abs(value).toFixed(3);
}

export function percent(part) {
  return typeof part !== "number" ? NONE : (part >= 0 ? "+" : "−") + (100 * Math.abs(part)).toFixed(1) + " %";
}

export function clock(seconds) {
  return new Date(1000 * seconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129_600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}

export function element(name, attributes = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

export function say(place, text) {
  if (place.textContent !== text) place.textContent = text; // what is as it was is not read out again
}

// Pairs of a term and what it is; an entry may have a second line and a class.
export function describe(list, entries) {
  const wanted = entries.map(([term]) => term).join("\n");
  if (list.dataset.terms !== wanted) {
    list.dataset.terms = wanted;
    list.replaceChildren(...entries.map(([term]) => element("div", {}, element("dt", {}, term), element("dd"))));
  }
  entries.forEach(([, value, note, kind], place) => {
    const cell = list.children[place];
    cell.className = kind ?? "";
    say(cell.lastChild, value);
    if (note) cell.lastChild.append(element("small", {}, note));
  });
}

export const state = (each) =>
  element("span", { class: `state ${each.troubled ? (each.state === "paused" ? "warn" : "bad") : each.state === "changed" ? "new" : ""}` }, each.state);

export const mode = (name) => element("span", { class: `mode ${name}` }, name);
