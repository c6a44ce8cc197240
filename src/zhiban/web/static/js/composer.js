// The composer: reply or note, sent at once, never lost.

import { refreshList, refreshThread, openId } from "./live.js";
import * as clips from "./clips.js";
import * as drafts from "./drafts.js";
import * as quotes from "./quotes.js";
import { typedAhead } from "./typeahead.js";

const MODES = ["reply", "note"];
const LONGEST = 20_000; // characters, as many as the server takes
const READING = 1500; // ms: what came later than this before Enter was not read yet
const form = () => document.getElementById("compose");
export const area = (mode = form()?.dataset.mode) => document.getElementById(`compose-${mode}`);
const words = () => document.getElementById("words").dataset;
let adopted = null; // which suggestion or entry the reply being written was made of; of several nobody knows which answered
let measured = null; // what the server said of a text: how many messages it takes
let closesTimer = 0;
// How far the open conversation is on the screen, how far it was read, and whether we were told of more to come.
let looked = { id: 0, shown: 0, read: 0, told: false };

// Whether the marks in the reply that is being written are meant; its writer says so, and it is kept with the draft.
export const isFormatted = () => Boolean(form()?.hasAttribute("data-formatted"));

export function setFormatted(on) {
  form().toggleAttribute("data-formatted", on);
  form().querySelector("[data-rich]").setAttribute("aria-pressed", String(on));
  drafts.setFormatted(openId(), on);
}

// The text so that nothing of it is a mark.
export const escaped = (text) => text.replace(/[\\`*[\]]/g, "\\$&");

// A text from elsewhere as it has to stand in what is being written.
export const literal = (text, mode = form()?.dataset.mode) => (mode === "reply" && isFormatted() ? escaped(text) : text);

export function setMode(mode, focus = true) {
  const compose = form();
  if (!compose) return;
  compose.dataset.mode = mode;
  for (const button of compose.querySelectorAll("button[data-mode]")) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  if (focus) area().focus();
}

const sizes = { bytes: (text) => new TextEncoder().encode(text).length, characters: (text) => [...text].length };

// What the channel still allows, and what stands in the way of sending now: words for it, or nothing.
function standing() {
  const limit = document.getElementById("limit")?.dataset ?? {};
  const text = area("reply")?.value.trim() ?? "";
  const left = limit.left === undefined ? Infinity : Number(limit.left);
  const files = clips.count();
  const least = Math.max(files ? 0 : 1, Math.ceil((sizes[limit.unit] ?? sizes.bytes)(text) / Number(limit.part || Infinity)));
  const parts = files + (text && measured?.id === openId() && measured.text.trim() === text ? measured.parts : least);
  let trouble = "";
  if (limit.closed !== undefined) trouble = limit.closed || words().closed;
  else if (text.length > LONGEST) trouble = words().longest.replace("{n}", LONGEST);
  else if (clips.busy()) trouble = words().uploading;
  else if (parts > left) trouble = words().over.replace("{n}", parts).replace("{left}", left);
  return { closed: limit.closed !== undefined, parts, trouble };
}

// Everything on the screen when a conversation is opened counts as read; what comes later, after a moment.
function look() {
  const id = openId();
  const shown = Number(document.getElementById("messages")?.dataset.last || 0);
  if (looked.id !== id) looked = { id, shown, read: shown, told: false };
  else if (shown > looked.shown) {
    looked.shown = shown;
    if (looked.told) Object.assign(looked, { read: shown, told: false });
    else setTimeout(() => { if (looked.id === id) looked.read = Math.max(looked.read, shown); }, READING);
  }
  return looked.read;
}

// Whoever is told of an answer that came meanwhile has it before their eyes, now or with the next update.
function told() {
  Object.assign(looked, { read: looked.shown, told: looked.read === looked.shown });
}

// Show what a reply will cost, and whether it can go out at all. Runs with every stroke and every live update.
export function measure() {
  const compose = form();
  if (!compose) return;
  look();
  const { closed, parts, trouble } = standing();
  compose.toggleAttribute("data-closed", closed);
  const button = compose.querySelector("button.btn[data-for=reply]");
  button.disabled = Boolean(trouble);
  button.title = trouble;
  const line = document.getElementById("parts");
  const said = closed ? "" : trouble || (parts > 1 ? words().parts.replace("{n}", parts) : "");
  if (line.textContent !== said) line.textContent = said;
  line.toggleAttribute("data-over", Boolean(trouble));
  watchTheClock();
}

// A reply window that ends while nothing happens sends no event: look again at that moment.
function watchTheClock() {
  clearTimeout(closesTimer);
  const limit = document.getElementById("limit")?.dataset;
  const left = limit?.closes && limit.closed === undefined ? Date.parse(limit.closes) - Date.now() : NaN;
  if (left < 2 ** 31 - 1) closesTimer = setTimeout(refreshThread, Math.max(left, 0) + 500);
}

// A conversation was opened, perhaps in place of another: what was typed here earlier comes back, whoever has it, also
// where it is later than what the server knew when it was asked, at `askedAt`.
export function opened(before, askedAt) {
  if (before) drafts.giveUp(before);
  const compose = form();
  if (!compose) return;
  const id = openId();
  const lost = drafts.takeUnsent(id);
  for (const mode of MODES) {
    const box = area(mode);
    takeUp(box, drafts.newer(id, mode, askedAt));
    const unsent = lost.filter((one) => one.mode === mode).map((one) => one.text);
    if (unsent.length) putBack(id, mode, drafts.joined(unsent));
    else drafts.know(id, mode, box.value);
  }
  quotes.opened();
  const here = drafts.newer(id, "reply", askedAt) === undefined ? isFormatted() : drafts.isFormatted(id);
  setFormatted(here || lost.some((one) => one.formatted));
  if (isFormatted()) later("rich", "show");
  if (lost.length) {
    setMode(lost.at(-1).mode, false);
    document.dispatchEvent(new CustomEvent("desk:trouble", { detail: words().kept }));
  }
  measure();
}

// A draft goes before what the server showed, and not before what was typed until now: that stays where it was typed.
function takeUp(box, draft) {
  if (draft === undefined) return;
  const { value: now, defaultValue: before } = box;
  if (now === before) { // nobody typed it here
    box.value = draft; // the value first: the cursor stands behind it, and not before it
    box.defaultValue = draft;
  } else if (now.startsWith(before)) box.value = draft + now.slice(before.length);
  else if (now.endsWith(before)) box.value = now.slice(0, -before.length) + draft;
  else box.value = drafts.joined([draft, now]);
}

// Words that did not go out stand before what has been typed since.
function putBack(id, mode, text) {
  const box = area(mode);
  box.value = drafts.joined([text, box.value]);
  drafts.keep(id, mode, box.value, 0);
  measure();
}

export function adopt() {
  const { text, ref } = document.getElementById("suggestion-text")?.dataset ?? {};
  const box = area("reply");
  if (!text || !box) return false;
  box.setSelectionRange(box.value.length, box.value.length);
  insert("reply", text, ref);
  return true;
}

// Words that stand ready elsewhere, put where one writes; what is written stays, also what is selected.
export function insert(mode, words, ref = "") {
  const box = area(mode);
  const text = literal(words, mode);
  const at = box.selectionEnd;
  setMode(mode);
  box.setSelectionRange(at, at);
  // As if it had been typed, so that the browser's undo takes it back.
  if (!document.execCommand("insertText", false, text)) box.setRangeText(text, at, at, "end");
  box.dispatchEvent(new Event("input", { bubbles: true }));
  if (mode !== "reply" || !ref) return;
  const other = adopted?.id === openId() && adopted.ref !== ref;
  adopted = { id: openId(), ref: other ? "" : ref };
}

function pending(mode, text, key, names = []) {
  const node = document.getElementById("tpl-sending").content.firstElementChild.cloneNode(true);
  node.dataset.key = key;
  node.querySelector("time").textContent = new Date().toTimeString().slice(0, 5);
  const say = node.querySelector(".say");
  text.split("\n").forEach((line, number) => {
    if (number) say.append(document.createElement("br"));
    say.append(line);
  });
  if (names.length) {
    const list = document.createElement("div");
    list.className = "say-files";
    for (const name of names) list.append(Object.assign(document.createElement("span"), { textContent: `+ ${name}` }));
    say.append(list);
  }
  if (mode === "note") {
    node.dataset.by = "note";
    node.querySelector("b").after(words().note);
  }
  document.getElementById("sending").append(node);
  const talk = document.getElementById("talk");
  talk.scrollTop = talk.scrollHeight;
  return node;
}

// What is seldom asked for is loaded when it is.
function later(name, what = "open", ...how) {
  return import(`./lazy/${name}.js`).then((one) => one[what](...how), () => document.dispatchEvent(new CustomEvent("desk:trouble", { detail: words().unopened })));
}

// A panel with a field; one that is open is closed by the same key.
const ahead = (name, id) => (document.getElementById(id) ? later(name) : typedAhead(() => later(name)));

async function post(node, id, mode, text, key, { files = [], quote = null } = {}) {
  node.dataset.state = "sending";
  node.querySelector(".receipt").textContent = words().sending;
  const formatted = "formatted" in node.dataset;
  drafts.sending(key, id, mode, text, formatted);
  const url = `/conversations/${id}/${mode === "note" ? "notes" : "replies"}`;
  let why = mode === "note" ? words().unnoted : words().failed;
  if (openId() === id) node.dataset.seen = look();
  const { adopted: ref, seen } = node.dataset;
  try {
    await drafts.settled(id, mode);
    const body = new URLSearchParams({ text, key, ...(mode === "reply" && { seen, ...(ref && { adopted: ref }), ...(formatted && { formatted }) }) });
    for (const file of clips.ids(files)) body.append("files", file);
    if (quote) body.append("reply_to", quote.id);
    const answer = await fetch(url, {
      method: "POST",
      body,
      headers: { "HX-Request": "true" },
      keepalive: text.length < drafts.SMALL, // goes on when the page is left
      signal: AbortSignal.timeout(20_000),
    });
    const away = answer.headers.get("hx-redirect");
    if (away) {
      drafts.failed(key);
      return location.assign(away);
    }
    if (answer.ok) {
      drafts.sent(key);
      node.dataset.done = "";
      refreshList(true);
      if (openId() === id) await refreshThread();
      setTimeout(() => node.remove(), 4000); // the server's row takes its place much earlier
      return;
    }
    if (answer.status < 500) return refused(node, id, mode, text, key, { files, quote }, await answer.text());
    why = words().broken;
  } catch { /* not reached: the words say it */ }
  drafts.failed(key);
  if (!node.isConnected) return drafts.giveUp(id);
  node.dataset.state = "failed";
  const receipt = node.querySelector(".receipt");
  receipt.dataset.state = "failed";
  receipt.textContent = `${why} `;
  const again = document.createElement("button");
  again.type = "button";
  again.className = "link";
  again.textContent = words().again;
  again.addEventListener("click", () => { delete receipt.dataset.state; post(node, id, mode, text, key, { files, quote }); });
  receipt.append(again);
}

// The server will not take it as it is, so another try would not help: the text goes back to where it was written.
function refused(node, id, mode, text, key, { files, quote }, why) {
  node.remove();
  if (openId() === id) told();
  if (openId() === id) {
    drafts.sent(key);
    putBack(id, mode, text);
    if (node.dataset.adopted) adopted = { id, ref: node.dataset.adopted };
    clips.putBack(files);
    quotes.putBack(quote);
  } else {
    drafts.failed(key);
    drafts.giveUp(id);
  }
  document.dispatchEvent(new CustomEvent("desk:trouble", { detail: why }));
  refreshThread();
}

// Our dimmed messages leave as soon as the server's rows are there.
export function settle() {
  const box = document.getElementById("sending");
  if (!box) return;
  for (const node of [...box.children]) {
    const note = node.dataset.by === "note" && "done" in node.dataset;
    if (note || document.getElementById(`m-${node.dataset.key}`)) node.remove();
  }
}

export function send() {
  const compose = form();
  const text = area()?.value.trim();
  const mode = compose?.dataset.mode;
  const withFiles = mode === "reply" && (clips.count() || clips.busy());
  if (!compose || !(text || withFiles)) return;
  if (mode === "reply" && standing().trouble) return;
  const key = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const id = Number(compose.dataset.id);
  area().value = "";
  if (isFormatted()) later("rich", "show"); // what it showed is gone
  const files = mode === "reply" ? clips.take() : [];
  measure();
  const node = pending(mode, text, key, clips.names(files));
  if (mode === "reply") {
    if (isFormatted()) node.dataset.formatted = "";
    if (adopted?.id === id && adopted.ref) node.dataset.adopted = adopted.ref;
    adopted = null;
  }
  post(node, id, mode, text, key, { files, quote: mode === "reply" ? quotes.take() : null });
}

// Whoever ends a conversation says how far they have read.
const ENDING = /^\/conversations\/\d+\/(resolve|macros\/\d+)$/;
const ends = (ctx) => ctx?.request?.method === "POST" && ENDING.test(new URL(ctx.request.action, location.origin).pathname);

export function start() {
  document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
    if (ends(ctx)) ctx.request.body.set("seen", look());
  });
  document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
    if (!ends(ctx) || ctx.response?.status !== 409) return;
    told();
    refreshThread();
  });
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "compose") return;
    event.preventDefault();
    send();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("#compose button[data-mode]");
    if (button) setMode(button.dataset.mode);
    if (event.target.closest("[data-adopt]")) adopt();
    if (event.target.closest("[data-kb]")) ahead("entries", "kb");
    if (event.target.closest("[data-emoji]")) ahead("emoji", "emo");
    if (event.target.closest("[data-rich]")) later("rich", "toggle");
  });
  document.addEventListener("keydown", (event) => {
    if (event.target !== area() || event.isComposing || event.keyCode === 229) return;
    const mark = (event.ctrlKey !== event.metaKey) && !event.altKey && !event.shiftKey && { KeyB: "strong", KeyI: "emphasis" }[event.code];
    if (mark && area() === area("reply")) {
      event.preventDefault();
      later("rich", "mark", mark);
    } else if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowRight" && !area().value && !event.altKey && !event.ctrlKey && !event.metaKey && adopt()) {
      event.preventDefault();
    }
  });
  document.addEventListener("input", (event) => {
    const mode = MODES.find((one) => event.target === area(one));
    if (!mode) return;
    drafts.keep(openId(), mode, event.target.value);
    measure();
  });
  document.addEventListener("desk:measured", (event) => {
    if (event.detail.parts === undefined) return;
    measured = event.detail;
    measure();
  });
  document.addEventListener("desk:clips", measure);
  document.addEventListener("focusout", (event) => { if (MODES.some((one) => event.target === area(one))) drafts.flush(); });
  addEventListener("online", () => drafts.flush());
  document.addEventListener("desk:connected", () => drafts.flush());
  addEventListener("pagehide", () => drafts.flushAway());
  drafts.flush();
  drafts.forgetOld();
}
