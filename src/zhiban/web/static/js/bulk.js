// Several conversations of the list at once: which are selected, and what is done with them.
// What is selected are ids, those of now: a conversation that comes later is never changed along.

import { refreshList, listQuery } from "./live.js";

const chosen = new Set();
let where = ""; // the list that they were chosen in
let last = 0; // chosen by hand, where a range begins
let matching = null; // { ids, more }: everything in this list, once asked for
let busy = false;
const told = new Map(); // what a refusal said of those that were left out: once more does it

const list = () => document.getElementById("list");
const boxes = () => [...document.querySelectorAll("#rows li > input[type=checkbox]")];
const place = () => String(listQuery(list()));
const slot = () => document.getElementById("bulk");

async function bar() {
  const holder = slot();
  if (!holder || holder.firstElementChild || "asked" in holder.dataset) return;
  holder.dataset.asked = "";
  const query = place();
  try {
    const [shown, all] = await Promise.all([
      fetch(`/desk/bulk?${query}`, { headers: { "HX-Request": "true" } }),
      fetch(`/desk/matching?${query}`, { headers: { "HX-Request": "true" } }),
    ]);
    if (!shown.ok || !all.ok) throw new Error("refused");
    const [html, found] = [await shown.text(), await all.json()];
    if (slot() !== holder || !chosen.size) return;
    holder.innerHTML = html;
    matching = found;
    show();
  } catch { /* the next choice asks again */ } finally {
    delete holder.dataset.asked;
  }
}

function show() {
  const here = list();
  if (!here) return;
  if (place() !== where) {
    where = place();
    chosen.clear();
    matching = null;
    last = 0;
    delete here.dataset.picking;
  }
  for (const box of boxes()) box.checked = chosen.has(Number(box.value));
  here.toggleAttribute("data-chosen", chosen.size > 0);
  if (!chosen.size) {
    slot()?.replaceChildren();
    matching = null;
    return;
  }
  if (!slot().firstElementChild) return bar();
  const count = slot().querySelector(".bulk__n b");
  count.textContent = count.dataset.words.replace("{n}", chosen.size);
  const all = slot().querySelector("[data-all]");
  const ids = matching?.ids ?? [];
  all.hidden = ids.length < 2 || ids.every((id) => chosen.has(id));
  all.textContent = (matching?.more ? all.dataset.more : all.dataset.words).replace("{n}", ids.length);
}

function toggle(id, on) {
  if (on) chosen.add(id);
  else chosen.delete(id);
  last = id;
}

function range(to, on) {
  const ids = boxes().map((box) => Number(box.value));
  const [from, end] = [ids.indexOf(last), ids.indexOf(to)];
  if (from < 0 || end < 0) return toggle(to, on);
  for (const id of ids.slice(Math.min(from, end), Math.max(from, end) + 1)) {
    if (on) chosen.add(id);
    else chosen.delete(id);
  }
  last = to;
}

// When something happened last in these, as shown in the list.
function seen(ids) {
  const rows = new Map(boxes().map((box) => [box.value, Number(box.dataset.seen)]));
  return ids.split(",").map((id) => [id, Math.max(rows.get(id) ?? matching?.seen?.[id] ?? 0, told.get(id) ?? 0)])
    .filter((one) => one[1]).map((one) => one.join(":")).join(",");
}

function none() {
  chosen.clear();
  if (list()) delete list().dataset.picking;
  show();
}

function toast(words, undo) {
  const line = document.createElement("div");
  line.className = "toast new";
  line.dataset.toast = "";
  const text = document.createElement("span");
  text.className = "grow";
  text.textContent = words;
  line.append(text);
  if (undo) {
    const back = document.createElement("button");
    back.type = "button";
    back.textContent = document.getElementById("words").dataset.undo;
    back.addEventListener("click", () => act(undo.do, undo.to ?? "", undo.ids, { was: undo.was ?? "" }));
    line.append(back);
  }
  document.getElementById("toasts").append(line);
  document.dispatchEvent(new Event("desk:toasted"));
}

// `why` is where a refusal is told beside what was chosen; without it, in a passing word.
async function act(what, to, ids, { at = "", why = null, was = "" } = {}) {
  if (busy) return;
  busy = true;
  slot()?.firstElementChild?.setAttribute("aria-busy", "true");
  const key = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const words = document.getElementById("words").dataset;
  if (why) why.textContent = "";
  try {
    const answer = await fetch("/desk/bulk", {
      method: "POST",
      body: new URLSearchParams({ do: what, to, ids, key, seen: seen(ids), was, ...(why && { at }) }),
      headers: { "HX-Request": "true" },
    });
    const away = answer.headers.get("hx-redirect");
    if (away) return location.assign(away);
    if (!answer.ok) {
      const said = await answer.text();
      const sentence = answer.status < 500 && said.length < 300 && !said.startsWith("<") ? said : words.broken;
      if (why && answer.status === 409) why.textContent = sentence;
      else toast(sentence);
      return;
    }
    const done = await answer.json();
    toast(done.words, done.undo);
    for (const menu of slot()?.querySelectorAll("details.menu[open]") ?? []) menu.open = false;
    // What could not be changed stays selected, so that one sees which.
    chosen.clear();
    for (const id of done.refused) chosen.add(id);
    for (const [id, at] of Object.entries(done.seen)) told.set(id, at);
    show();
    refreshList(true);
  } catch {
    toast(words.undone);
  } finally {
    busy = false;
    slot()?.firstElementChild?.removeAttribute("aria-busy");
  }
}

function pressed(event) {
  const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable], dialog");
  if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey || typing) return;
  if (event.code === "KeyX" && !event.shiftKey) {
    const row = document.activeElement?.closest?.("#rows .conv") ?? document.querySelector("#rows .conv[aria-current]") ?? document.querySelector("#rows .conv");
    if (!row?.parentElement.querySelector("input[type=checkbox]")) return;
    event.preventDefault();
    const id = Number(row.dataset.id);
    toggle(id, !chosen.has(id));
    show();
  } else if (event.key === "Escape" && chosen.size && !document.querySelector("details.menu[open]")) none();
}

export function start() {
  where = place();
  document.addEventListener("keydown", pressed, true);
  document.addEventListener("click", (event) => {
    const box = event.target.closest("#rows li > input[type=checkbox]");
    if (box) {
      const id = Number(box.value);
      if (event.shiftKey && last) range(id, box.checked);
      else toggle(id, box.checked);
      return show();
    }
    const row = event.target.closest("#rows .conv");
    if (row && list()?.hasAttribute("data-picking")) {
      event.preventDefault();
      event.stopImmediatePropagation();
      toggle(Number(row.dataset.id), !chosen.has(Number(row.dataset.id)));
      return show();
    }
    if (event.target.closest("[data-pick]")) {
      if (list().hasAttribute("data-picking")) return none();
      list().dataset.picking = "";
    }
    if (!event.target.closest("#bulk")) return;
    if (event.target.closest("[data-none]")) none();
    if (event.target.closest("[data-all]")) {
      for (const id of matching?.ids ?? []) chosen.add(id);
      show();
    }
    const wish = event.target.closest("[data-do]");
    if (wish) act(wish.dataset.do, wish.dataset.to ?? "", [...chosen].join(","));
  }, true);
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-bulk-at]")) return;
    event.preventDefault();
    const field = event.target.elements.at;
    act("snooze", "", [...chosen].join(","), { at: field.value, why: document.getElementById(field.getAttribute("aria-describedby")) });
  });
  document.addEventListener("htmx:after:swap", show);
}
