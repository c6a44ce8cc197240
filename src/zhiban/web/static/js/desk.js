// Puts the desk together: what happens when a thread opens, where it scrolls, what is read, and words about what was done.

import * as live from "./live.js";
import * as composer from "./composer.js";
import { flush } from "./drafts.js";
import * as keys from "./keys.js";
import * as mentions from "./mentions.js";
import * as snippets from "./snippets.js";
import * as bulk from "./bulk.js";
import * as clips from "./clips.js";
import * as quotes from "./quotes.js";
import * as assist from "./assist.js";
import * as pick from "./pick.js";
import * as typing from "./typing.js";
import * as viewers from "./viewers.js";

const html = document.documentElement;
const NEAR = 80;
let stuck = true; // whether the reader is at the end of the thread
let seen = 0; // the newest message that was on the screen
let first = ""; // the oldest message on the screen, and how far from the end the reader was before it changed
let height = 0;
let known = 0; // how tall the thread was when we last looked

const talk = () => document.getElementById("talk");
const atEnd = () => !talk() || talk().scrollHeight - talk().scrollTop - talk().clientHeight < NEAR;
const oldest = () => document.getElementById("first-shown")?.value;
const newest = () => Number(document.getElementById("messages")?.dataset.last || 0);

function toEnd() {
  const box = talk();
  if (box) box.scrollTop = box.scrollHeight;
  known = box?.scrollHeight || 0;
  stuck = true;
  const pill = document.getElementById("below");
  if (pill) pill.hidden = true;
}

function markRead() {
  const id = live.openId();
  const last = newest();
  if (!id || !last || document.hidden || !stuck || last <= seen) return;
  seen = last;
  fetch(`/conversations/${id}/read`, { method: "POST", body: new URLSearchParams({ message_id: last }), keepalive: true })
    .then(() => live.refreshList(), () => { seen = 0; });
}

function showCurrent() {
  const id = live.openId();
  for (const row of document.querySelectorAll("#rows .conv")) {
    if (Number(row.dataset.id) === id) {
      row.setAttribute("aria-current", "true");
      row.removeAttribute("data-unread");
      row.querySelector(".unread")?.remove();
    } else row.removeAttribute("aria-current");
  }
  const list = document.getElementById("list")?.dataset ?? {};
  for (const link of document.querySelectorAll(".rail .nav[data-queue]")) {
    if (!list.filter && ["queue", "label", "view", "inbox", "team"].every((name) => (link.dataset[name] ?? "") === list[name])) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function countInTitle() {
  const unread = document.querySelectorAll("#rows .conv[data-unread]").length;
  const title = document.title.replace(/^\(\d+\) /, "");
  document.title = unread ? `(${unread}) ${title}` : title;
}

function opened(before, askedAt) {
  const id = live.openId();
  html.dataset.pane = id ? "thread" : "list";
  html.dataset.drawer = "";
  seen = newest();
  toEnd();
  composer.opened(before, askedAt);
  typing.show();
  viewers.look();
  showCurrent();
  if (!id) return;
  if (innerWidth > 760) composer.area()?.focus({ preventScroll: true });
  else document.getElementById("thread-name")?.focus({ preventScroll: true });
  if (lookedFor()) return;
  const unread = document.getElementById("unread-line");
  if (unread && unread.offsetTop < talk().scrollTop) {
    unread.scrollIntoView({ block: "start" });
    stuck = atEnd();
  }
}

// Whoever comes from a search is shown the message; from then on the address is that of the conversation again.
function lookedFor() {
  const address = new URL(location.href);
  const wanted = address.searchParams.get("message");
  const found = wanted && document.querySelector(`#messages .msg[data-mid="${CSS.escape(wanted)}"]`);
  if (!wanted) return false;
  address.searchParams.delete("message");
  history.replaceState(history.state, "", address);
  if (!found) return false;
  jump(found);
  return true;
}

function jump(found) {
  found.scrollIntoView({ block: "center" });
  found.focus({ preventScroll: true });
  const colour = getComputedStyle(html).getPropertyValue("--accent");
  found.querySelector(".say, .doc, .pic")?.animate([{ boxShadow: `0 0 0 2px ${colour}` }, { boxShadow: `0 0 0 2px ${colour}`, offset: 0.8 }, { boxShadow: "0 0 0 2px transparent" }], 3000);
  stuck = atEnd();
}

function countBelow() {
  const pill = document.getElementById("below");
  if (!pill || stuck) return;
  const fresh = [...document.querySelectorAll("#messages .msg:not([data-side=us])")].filter((one) => Number(one.dataset.mid) > seen).length;
  if (!fresh) return;
  const words = document.getElementById("words").dataset;
  pill.querySelector("span").textContent = fresh === 1 ? words.one : words.many.replace("99", String(fresh));
  pill.hidden = false;
}

// New words in the list are said aloud for those who do not see it; the open thread is a log and speaks for itself.
let heard = new Map();
let heardIn = "";
function announce() {
  const list = document.getElementById("list");
  if (!list) return;
  const where = String(live.listQuery(list));
  const now = new Map([...list.querySelectorAll(".conv[data-unread]")].map((row) => [row.dataset.id, Number(row.querySelector(".unread")?.dataset.n || 0)]));
  if (where === heardIn) {
    const fresh = [...now].filter(([id, count]) => count > (heard.get(id) || 0)).map(([id]) => list.querySelector(`.conv[data-id="${id}"] b`).textContent);
    if (fresh.length) document.getElementById("said").textContent = document.getElementById("words").dataset.fresh.replace("{name}", fresh.join("、"));
  }
  heard = now;
  heardIn = where;
}

function toasts() {
  for (const toast of document.querySelectorAll("[data-toast]:not([data-timed])")) {
    toast.dataset.timed = "";
    setTimeout(() => toast.remove(), toast.textContent.length > 40 ? 15_000 : 6000); // time to read it
  }
}

// A reader who has just scrolled is believed, unless it is the content that grew.
document.addEventListener("htmx:before:swap", () => {
  if (talk()?.scrollHeight === known) stuck = atEnd();
  first = oldest();
  height = talk() ? talk().scrollHeight - talk().scrollTop : 0;
});

// What somebody asked for, as opposed to what the page fetches by itself, which tries again without a word.
const asked = (ctx) => ctx?.sourceElement?.matches("a, button, form");

document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail || {};
  if (ctx?.response?.status >= 400) {
    const said = ctx.sourceElement.hasAttribute(`hx-status:${ctx.response.status}`); // beside the field
    if (asked(ctx) && !said) trouble(ctx.text);
  } else if (ctx?.request?.method === "POST") live.refreshList(true); // what I did myself may move rows at once
});

document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => { ctx.askedAt = Date.now(); });

let shown = live.thread(); // morphing keeps the node, opening another conversation replaces it
document.addEventListener("htmx:after:swap", ({ detail }) => {
  composer.settle();
  composer.measure();
  showCurrent();
  toasts();
  if (live.thread() !== shown) {
    const before = Number(shown?.dataset.id || 0);
    shown = live.thread();
    const askedAt = detail?.ctx?.askedAt ?? 0;
    opened(before, askedAt);
    // It may be older than what was said while it was on its way.
    if (live.changedSince(live.openId(), askedAt)) live.refreshThread();
    return;
  }
  if (stuck && oldest() === first) {
    toEnd();
    markRead();
    return;
  }
  // Older messages came in above: the reader's place stays, also in browsers that do not anchor the scroll.
  if (oldest() !== first) talk().scrollTop = talk().scrollHeight - height;
  first = oldest();
  known = talk()?.scrollHeight || 0;
  countBelow();
});

function trouble(text) {
  const holder = document.getElementById("toasts");
  const line = document.createElement("div");
  line.className = "toast new";
  line.dataset.toast = "";
  line.textContent = text && text.length < 300 && !text.startsWith("<") ? text : document.getElementById("words").dataset.broken;
  holder.append(line);
  toasts();
}

document.addEventListener("htmx:finally:swap", () => { countInTitle(); announce(); });
document.addEventListener("htmx:error", (event) => {
  const { ctx } = event.detail || {};
  const words = document.getElementById("words").dataset;
  if (asked(ctx)) trouble(ctx.request?.method === "POST" ? words.undone : words.unopened);
});
// The draft of a conversation that was left shows in its row.
document.addEventListener("desk:measured", (event) => { if (event.detail.id !== live.openId()) live.refreshList(); });
document.addEventListener("desk:trouble", (event) => trouble(event.detail));
document.addEventListener("desk:toasted", toasts);
document.addEventListener("scroll", (event) => {
  if (event.target.id !== "talk") return;
  stuck = atEnd();
  if (stuck) {
    document.getElementById("below").hidden = true;
    markRead();
  }
}, true);
document.addEventListener("click", (event) => {
  if (event.target.closest("#below")) toEnd(), markRead();
  if (event.target.closest("[data-toast] button")) event.target.closest("[data-toast]").remove();
  const back = event.target.closest("[data-back]");
  if (back && innerWidth <= 760) {
    event.preventDefault();
    flush();
    html.dataset.pane = "list";
    history.pushState({}, "", back.getAttribute("href"));
    live.refreshList(true);
  }
  const row = event.target.closest("#rows .conv");
  // The same conversation again, on a phone: just show it.
  if (row && Number(row.dataset.id) === live.openId()) html.dataset.pane = "thread";
});
document.addEventListener("visibilitychange", () => { if (!document.hidden && stuck) markRead(); });
// What is folded in the rail stays so: the next page comes with it folded.
document.addEventListener("toggle", (event) => {
  if (!event.target.matches("[data-fold]")) return;
  const folded = [...document.querySelectorAll("[data-fold]:not([open])")].map((one) => one.dataset.fold).join(".");
  document.cookie = `folded=${folded}; path=/; max-age=31536000; samesite=lax`;
}, true);

pick.start(); // before the others: while messages are picked, their keys and clicks are not the thread's
live.start();
composer.start();
keys.start();
snippets.start();
mentions.start();
bulk.start();
clips.start();
quotes.start(jump);
assist.start();
typing.start();
viewers.start();
opened(0, Date.now() - performance.now());
countInTitle();
announce();
toasts();
html.dataset.ready = "";

// Looks of what is shown only when it is asked for.
for (const name of ["tools", "compose", "assist"]) {
  const sheet = document.createElement("link");
  sheet.rel = "stylesheet";
  sheet.href = document.getElementById("words").dataset[name];
  document.head.append(sheet);
}
