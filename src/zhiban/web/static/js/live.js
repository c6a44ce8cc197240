// Live updates: the server names conversations that changed, the page fetches the ordinary parts again and morphs them.

const app = document.querySelector(".app[data-stream]");
const html = document.documentElement;
const PACE = 1000; // ms between two fetches of the list while others' conversations change
const PACE_MINE = 200; // and while the agent's own do
const PACE_NUMBERS = 3000; // and while only numbers beside the list may be others
const PACE_SLOWEST = 10_000;
const AGAIN = 2000; // ms until what could not be fetched is fetched again, twice as many each time
const AGAIN_SLOWEST = 30_000;
const STILL = 2500; // a pointer that rests this long reads, and no longer aims
const fine = matchMedia("(hover: hover) and (pointer: fine)");
let source = null;
let last = "";
let listDirty = false;
let moved = 0; // when the pointer last moved over the list
let listTimer = 0;
let listDue = 0; // when the list is fetched next, 0: not asked for
let listAt = -Infinity; // when it was fetched last
let listTook = 0; // how long that took, in ms
let waitTimer = 0;
let threadTimer = 0;
let sleepTimer = 0;
const changedAt = new Map(); // by conversation, 0: all of them
const failures = new Map(); // by part: how often in a row it could not be fetched, and the timer of the next time

export const thread = () => document.getElementById("thread");
export const openId = () => Number(thread()?.dataset.id || 0);

// Which list is on the screen, as the server wants to be asked for it.
function shown(list) {
  const { queue = "mine", tab = "open", ...more } = list?.dataset ?? {};
  const said = { queue, status: tab };
  for (const name of ["label", "view", "inbox", "team", "filter", "sort"]) if (more[name]) said[name] = more[name];
  return said;
}

export const listQuery = (list) => new URLSearchParams(shown(list));

// Fetch the list anew. Where one change follows the other it is fetched at once and then at a pace that the server can
// keep for everybody: once a second, five times where `mine` says that one's own conversations changed, every three
// or four seconds where `numbers` says that no row of it did, and slower than that as soon as the answers take long.
// `force`: the agent did something, and it shows at once. `spread`: how many ms the first fetch may wait, so that not
// every desk comes at the same moment, of which numbers take three times as much.
export function refreshList(force = false, { mine = false, numbers = false, spread = 0 } = {}) {
  const list = document.getElementById("list");
  if (!list) return;
  const bar = document.getElementById("freshen");
  // Rows must not move under the pointer.
  const left = moved + STILL - performance.now();
  if (!force && fine.matches && left > 0 && list.querySelector("#rows-scroll:hover")) {
    listDirty = true;
    if (bar) bar.hidden = false;
    clearTimeout(waitTimer);
    waitTimer = setTimeout(() => { if (listDirty) refreshList(); }, left + 50);
    return;
  }
  listDirty = false;
  if (bar) bar.hidden = true;
  const now = performance.now();
  const usual = numbers ? PACE_NUMBERS * (1 + Math.random() / 3) : PACE;
  const pace = mine ? Math.max(PACE_MINE, listTook * 4) : Math.max(usual, listTook * 20);
  const due = Math.max(now + 30 + (force || mine ? 0 : Math.random() * spread * (numbers ? 3 : 1)), force ? 0 : listAt + Math.min(pace, PACE_SLOWEST));
  if (listDue && listDue <= due) return;
  listDue = due;
  clearTimeout(listTimer);
  listTimer = setTimeout(fetchList, due - now);
}

// Whether nothing that changed can be a row of the list on the screen: what somebody else has, or the assistant, is in
// neither of the two queues that agents work from, unless it was there a moment ago. Only among what
// is open: what is resolved or snoozed is listed by more than whose it is.
function besidesRows(said) {
  const { queue = "mine", tab = "open", label, view, filter } = document.getElementById("list")?.dataset ?? {};
  if (!["mine", "unassigned"].includes(queue) || tab !== "open" || label || view || filter) return false;
  if (said.everything || said.mine || said.unclaimed) return false;
  return !said.conversations.some((id) => document.getElementById(`row-${id}`));
}

async function fetchList() {
  listAt = performance.now();
  listDue = 0;
  const now = document.getElementById("list");
  if (!now) return;
  const limit = document.getElementById("rows-limit")?.value || "50";
  const query = new URLSearchParams({ ...shown(now), limit, live: "true" });
  await htmx.ajax("GET", `${app.dataset.list}?${query}`, { source: "#rows", swap: "none" });
  listTook = performance.now() - listAt;
}

export function refreshThread() {
  const id = openId();
  if (!id) return;
  clearTimeout(threadTimer);
  threadTimer = setTimeout(() => {
    if (openId() !== id) return;
    const list = document.getElementById("list");
    const query = new URLSearchParams(shown(list));
    for (const [name, field] of [["first", "first-shown"], ["unread_after", "unread-after"]]) {
      const value = document.getElementById(field)?.value;
      if (value && value !== "0") query.set(name, value);
    }
    return htmx.ajax("GET", `/conversations/${id}/live?${query}`, { source: "#thread", swap: "none" });
  }, 20);
}

// A part that the server had no time for, or that a broken line kept from us, is fetched again, each desk at its own
// moment: no other news may come for long.
function fetchedAgain({ sourceElement: { id } = {} } = {}, failed) {
  const fetchIt = { rows: () => refreshList(), thread: refreshThread }[id];
  if (!fetchIt) return;
  const before = failures.get(id);
  clearTimeout(before?.timer);
  if (!failed) return failures.delete(id);
  const times = before?.times ?? 0;
  const wait = Math.min(AGAIN * 2 ** times, AGAIN_SLOWEST) * (0.5 + Math.random());
  failures.set(id, { times: times + 1, timer: setTimeout(fetchIt, wait) });
}

// Whether it changed after that moment: what was asked for then may not show it.
export const changedSince = (id, at) => Math.max(changedAt.get(id) ?? 0, changedAt.get(0) ?? 0) >= at;

function offline(is) {
  const strip = document.getElementById("strip");
  const line = document.getElementById("offline");
  if (!is) return line?.remove();
  if (line || !strip) return;
  const holder = document.createElement("div");
  holder.id = "offline";
  holder.append(document.getElementById("tpl-offline").content.cloneNode(true));
  strip.before(holder);
}

function connect() {
  source?.close();
  source = new EventSource(app.dataset.stream + (last ? `?after=${last}` : ""));
  source.addEventListener("open", () => {
    offline(false);
    document.dispatchEvent(new Event("desk:connected"));
    document.dispatchEvent(new Event("desk:presence"));
    document.dispatchEvent(new Event("desk:notified"));
  });
  source.addEventListener("error", () => setTimeout(() => source?.readyState === 1 || offline(true), 1500));
  source.addEventListener("typing", (event) => {
    document.dispatchEvent(new CustomEvent("desk:typing", { detail: JSON.parse(event.data) }));
  });
  source.addEventListener("changed", (event) => {
    const said = JSON.parse(event.data);
    last = event.lastEventId;
    html.dataset.live = last;
    if (said.access) return location.reload();
    if (said.presence) document.dispatchEvent(new Event("desk:presence"));
    if (said.notified) document.dispatchEvent(new Event("desk:notified"));
    if (!said.everything && !said.conversations.length) return;
    for (const id of said.everything ? [0] : said.conversations) changedAt.set(id, Date.now());
    refreshList(false, { mine: said.mine, numbers: besidesRows(said), spread: said.spread });
    if (said.everything || said.conversations.includes(openId())) refreshThread();
  });
}

export function start() {
  if (!app) return;
  connect();
  document.addEventListener("visibilitychange", () => {
    clearTimeout(sleepTimer);
    if (document.hidden) {
      // A browser allows few connections to one server; a tab nobody looks at gives its own back.
      sleepTimer = setTimeout(() => { source?.close(); source = null; }, 60_000);
    } else if (!source) connect();
  });
  addEventListener("pagehide", () => source?.close());
  addEventListener("offline", () => { offline(true); source?.close(); source = null; });
  addEventListener("online", () => { if (!source) connect(); });
  document.addEventListener("htmx:after:request", ({ detail: { ctx } = {} }) => fetchedAgain(ctx, ctx?.response?.status >= 500));
  document.addEventListener("htmx:error", ({ detail: { ctx } = {} }) => fetchedAgain(ctx, true));
  document.addEventListener("pointermove", (event) => {
    if (event.target.closest?.("#rows-scroll")) moved = performance.now();
  }, { passive: true });
  document.addEventListener("pointerover", (event) => {
    if (listDirty && !event.target.closest?.("#rows-scroll")) refreshList();
  });
  document.addEventListener("click", (event) => { if (event.target.closest("#freshen")) refreshList(true); });
  // Waiting times grow by themselves.
  setInterval(() => { if (!document.hidden) refreshList(); }, 60_000);
}
