// Looks at the daemon every two seconds and shows the list or one resource, as the address says.

import { Detail } from "./detail.js";
import { List } from "./list.js";
import { clock, duration, say } from "./words.js";

const EVERY_MILLISECONDS = 2000;
const PATIENCE_MILLISECONDS = 8000;

const at = (id) => document.getElementById(id);
const list = new List(() => {
  history.replaceState(null, "", list.hash());
  look();
});
const detail = new Detail();
let view = list, version = "", lostSince = null, timer, asking;

// The address: "#/?sort=size" is the list, "#/NAME" one resource.
function open(event) {
  if (event && location.hash === "#main") return; // the link that skips to the content
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const name = decoded(path);
  const left = view === detail ? detail.name : null;
  view = name ? detail : list;
  list.place.hidden = view !== list;
  detail.place.hidden = view !== detail;
  document.title = name ? `${name} · quantum_control` : "quantum_control";
  if (name) detail.open(name);
  else list.open(new URLSearchParams(query));
  if (event) {
    window.scrollTo(0, 0);
    // Whoever comes by keyboard goes on where the view has changed.
    (name ? at("detail-title") : list.rows.get(left)?.querySelector("a") ?? at("main")).focus({ preventScroll: true });
  }
  look();
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand; no resource has such a name
  }
}

async function look() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController()), shown = view;
  try {
    const told = await ask(mine.signal);
    if (mine.signal.aborted) return;
    reached();
    if (told === null) detail.gone();
    else {
      if (version && told.version !== version) location.reload(); // of another version of the daemon
      version = told.version;
      shown.show(told);
      if (shown === list) health(told);
    }
  } finally {
    if (asking === mine && !document.hidden) timer = setTimeout(look, EVERY_MILLISECONDS);
  }
}

// What the daemon tells; null of a resource that it does not know. Does not come back while it tells nothing.
async function ask(ended) {
  for (;;) {
    const patience = AbortSignal.timeout(PATIENCE_MILLISECONDS);
    try {
      const answer = await fetch(view.path(), { signal: AbortSignal.any([ended, patience]) });
      if (answer.status === 404) return null;
      if (answer.ok) return await answer.json();
      lost(`it answers ${answer.status}`);
    } catch {
      if (ended.aborted) return null;
      lost("");
    }
    await new Promise((done) => setTimeout(done, EVERY_MILLISECONDS));
    if (ended.aborted) return null;
  }
}

function lost(why) {
  lostSince ??= Date.now() / 1000;
  document.body.classList.add("lost");
  say(at("connection"), "Not reachable");
  at("outage").hidden = false;
  say(at("outage"), `Daemon not reachable since ${clock(lostSince)}${why && `: ${why}`}. What is shown is as it was then; the page goes on by itself.`);
}

function reached() {
  lostSince = null;
  document.body.classList.remove("lost");
  say(at("connection"), "Live");
  at("outage").hidden = true;
  say(at("outage"), "");
}

function health(told) {
  const late = told.late_seconds < 0.1 ? "steps on time" : `a step was ${told.late_seconds.toFixed(2)} s late`;
  const audit = told.audit_lost ? `${told.audit_lost} records of the audit log lost` : "audit log complete";
  say(at("health"), `Daemon ${told.version}, up ${duration(told.now - told.began)} · ${late} · ${audit}`);
  at("health").classList.toggle("bad", told.audit_lost > 0);
}

window.addEventListener("hashchange", open);
document.addEventListener("visibilitychange", () => document.hidden || look());
open();
