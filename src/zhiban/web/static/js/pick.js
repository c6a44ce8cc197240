// Picking messages of the open thread for a ticket: by mouse, key and finger. What is picked are ids, those of now; what
// is said afterwards is never picked along. Which messages count is the server's to say.

import { openId } from "./live.js";

const picked = new Set();
let at = 0; // the conversation that is picked from, 0 for none
let told = null; // { yes, no, most }, as the server said last
let turn = 0; // grows whenever picking begins or ends
let last = 0; // picked by hand, where a range begins
let focused = 0; // the message whose box had the focus before the page changed
let early = []; // clicked before the server has said what may be picked

const thread = () => document.getElementById("thread");
const words = () => document.getElementById("words").dataset;
const articles = () => [...document.querySelectorAll("#messages .msg[data-mid]")];
const idOf = (article) => Number(article.dataset.mid);
const bar = () => document.getElementById("pickbar");
const usable = (id) => Boolean(told?.yes.has(id));

async function ask() {
  const first = articles().map(idOf).filter(Boolean)[0] ?? 0;
  const asked = turn;
  const answer = await fetch(`/conversations/${at}/pickable?first=${first}`, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error("refused");
  const said = await answer.json();
  if (turn !== asked) return; // left meanwhile, and perhaps begun elsewhere
  told = { yes: new Set(said.yes), no: said.no, most: said.most, seen: new Set(articles().map(idOf)) };
  for (const id of picked) if (!usable(id)) picked.delete(id);
}

async function begin() {
  const id = openId();
  if (!id || at || !document.getElementById("tpl-pick")) return;
  if (!document.getElementById("pick-css")) {
    const sheet = document.createElement("link");
    sheet.id = "pick-css";
    sheet.rel = "stylesheet";
    sheet.href = words().pick;
    document.head.append(sheet);
  }
  at = id;
  const mine = ++turn;
  picked.clear();
  early = [];
  last = 0;
  try {
    await ask();
  } catch {
    if (turn !== mine) return;
    at = 0;
    document.dispatchEvent(new CustomEvent("desk:trouble", { detail: words().unopened }));
    return;
  }
  if (turn !== mine) return;
  if (openId() !== at) return leave();
  document.documentElement.dataset.drawer = "";
  thread().dataset.picking = "";
  thread().append(document.getElementById("tpl-pick").content.cloneNode(true));
  bar().action = `/conversations/${at}/ticket-drafts`;
  bar().querySelector("[name=key]").value = `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  show();
  const boxes = ticks();
  boxes[boxes.length - 1]?.focus();
  for (const click of early.splice(0)) choose(click.id, click.shift);
}

function leave() {
  turn += 1;
  at = 0;
  told = null;
  picked.clear();
  early = [];
  bar()?.remove();
  delete thread()?.dataset.picking;
  for (const one of document.querySelectorAll("#messages .msg > .tick, #messages .why-not")) one.remove();
  for (const one of document.querySelectorAll("#messages .msg")) {
    delete one.dataset.pick;
    delete one.dataset.off;
  }
}

const ticks = () => [...document.querySelectorAll("#messages .msg > .tick:not(:disabled)")];

function box(article) {
  let tick = article.querySelector(":scope > .tick");
  if (!tick) {
    tick = document.createElement("input");
    tick.type = "checkbox";
    tick.className = "tick";
    const who = article.querySelector(".msg__by b")?.textContent ?? "";
    tick.setAttribute("aria-label", words().pickOne.replace("{name}", () => who).replace("{time}", () => article.querySelector("time")?.textContent ?? ""));
    article.prepend(tick);
  }
  return tick;
}

function show() {
  if (!told) return; // not asked yet, or left
  const shown = articles().filter((one) => picked.has(idOf(one)));
  for (const article of articles()) {
    const id = idOf(article);
    const tick = box(article);
    tick.disabled = !usable(id);
    tick.checked = picked.has(id);
    article.toggleAttribute("data-off", tick.disabled);
    if (picked.has(id)) article.dataset.pick = article === shown[0] ? "first" : article === shown[shown.length - 1] ? "last" : "1";
    else delete article.dataset.pick;
    const why = told.seen.has(id) && !usable(id) ? told.no[id] ?? words().pickNo : "";
    let line = article.querySelector(":scope > .why-not");
    if (!why) line?.remove();
    else {
      if (!line) article.append((line = Object.assign(document.createElement("p"), { className: "why-not" })));
      if (line.textContent !== why) line.textContent = why;
    }
  }
  const count = picked.size;
  const times = shown.map((one) => one.querySelector("time")?.textContent).filter(Boolean);
  bar().querySelector("b").textContent = count ? words().pickCount.replace("{n}", count) : words().pickNone;
  bar().querySelector("small").textContent = count >= told.most ? words().pickMost.replace("{n}", told.most) : count ? words().pickSpan.replace("{from}", times[0] ?? "").replace("{to}", times[times.length - 1] ?? "") : words().pickHow;
  bar().toggleAttribute("data-full", count >= told.most);
  for (const button of bar().querySelectorAll("button:not([type=button])")) button.disabled = !count;
}

function set(id, on) {
  if (!usable(id)) return;
  if (!on) picked.delete(id);
  else if (picked.size < told.most) picked.add(id);
}

function toggle(id) {
  set(id, !picked.has(id));
  last = id;
  show();
}

function range(to) {
  const ids = articles().map(idOf);
  const [from, end] = [ids.indexOf(last), ids.indexOf(to)];
  if (from < 0 || end < 0) return toggle(to);
  for (const id of ids.slice(Math.min(from, end), Math.max(from, end) + 1)) set(id, true);
  show();
}

const choose = (id, shift) => (shift && last && usable(id) ? range(id) : toggle(id));

function step(event) {
  const boxes = ticks();
  const here = boxes.indexOf(document.activeElement);
  const next = boxes[here < 0 ? boxes.length - 1 : Math.min(Math.max(here + (event.key === "ArrowDown" ? 1 : -1), 0), boxes.length - 1)];
  if (!next) return;
  if (event.shiftKey) {
    if (!last && here >= 0) last = idOf(boxes[here].parentElement);
    if (last) set(last, true);
    range(idOf(next.parentElement));
  }
  next.focus({ preventScroll: true });
  next.parentElement.scrollIntoView({ block: "nearest" });
}

function submit(event) {
  if (!picked.size) return event.preventDefault();
  const ids = articles().map(idOf).filter((id) => picked.has(id));
  for (const old of bar().querySelectorAll("[name=message]")) old.remove();
  for (const id of ids) bar().append(Object.assign(document.createElement("input"), { type: "hidden", name: "message", value: id }));
}

function pressed(event) {
  if (!told || event.isComposing || event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open], details.menu[open]")) return;
  if (event.key === "Escape") {
    leave();
    document.querySelector("#compose textarea, .compose textarea")?.focus({ preventScroll: true });
  } else if (event.key === "Enter" && !event.target.closest("button, a")) bar().requestSubmit(bar().querySelector("[data-look=solid]"));
  else if (["ArrowUp", "ArrowDown"].includes(event.key) && !event.target.closest("textarea, select, .list")) step(event);
  else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

function clicked(event) {
  if (event.target.closest("[data-pick-messages]") && openId()) {
    event.preventDefault();
    event.stopImmediatePropagation();
    return at ? leave() : begin();
  }
  if (!at) return;
  if (event.target.closest("#pickbar [data-leave]")) return leave();
  const article = event.target.closest("#messages .msg[data-mid]");
  if (!article) return;
  const tick = event.target.closest(".tick");
  if (!tick) event.preventDefault(); // a link in a message is not followed now
  event.stopImmediatePropagation();
  if (told) choose(idOf(article), event.shiftKey);
  else early.push({ id: idOf(article), shift: event.shiftKey });
}

export function start() {
  document.addEventListener("keydown", pressed, true);
  document.addEventListener("click", clicked, true);
  document.addEventListener("mousedown", (event) => { if (at && event.shiftKey && event.target.closest("#messages")) event.preventDefault(); });
  document.addEventListener("submit", (event) => { if (event.target === bar()) submit(event); });
  document.addEventListener("desk:pick", () => (at ? leave() : begin()));
  document.addEventListener("htmx:before:swap", () => { focused = at ? Number(document.activeElement?.closest?.(".msg")?.dataset.mid || 0) : 0; });
  document.addEventListener("htmx:after:swap", async () => {
    if (!at || (!told && openId() === at)) return; // what may be picked is being asked for
    if (openId() !== at || !bar()) return leave();
    show();
    if (focused) document.querySelector(`#messages .msg[data-mid="${focused}"] > .tick`)?.focus({ preventScroll: true });
    // Somebody wrote meanwhile, or took back what was picked.
    if (articles().every((one) => told.seen.has(idOf(one)) && !(one.dataset.state === "recalled" && picked.has(idOf(one))))) return;
    await ask().catch(() => {});
    show();
  });
  addEventListener("pageshow", (event) => { if (event.persisted) leave(); });
}
