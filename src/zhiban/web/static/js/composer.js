// The composer: reply or note, sent at once, never lost.

import { refreshList, refreshThread, openId } from "./live.js";

const form = () => document.getElementById("compose");
const area = () => form()?.querySelector("textarea");
const words = () => document.getElementById("words").dataset;
let draftTimer = 0;
let saved = "";

export function setMode(mode, focus = true) {
  const compose = form();
  if (!compose || (mode === "reply" && compose.hasAttribute("data-closed"))) return;
  compose.dataset.mode = mode;
  for (const button of compose.querySelectorAll("button[data-mode]")) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  const text = area();
  text.placeholder = text.dataset[mode];
  text.setAttribute("aria-label", compose.querySelector(`button[data-mode=${mode}]`).textContent.trim());
  if (focus) text.focus();
}

export function saveDraft(beacon = false) {
  clearTimeout(draftTimer);
  const compose = form();
  if (!compose) return;
  const text = area().value;
  const mark = `${compose.dataset.id} ${compose.dataset.mode} ${text}`;
  if (mark === saved) return;
  saved = mark;
  const body = new URLSearchParams({ text, mode: compose.dataset.mode });
  const url = `/conversations/${compose.dataset.id}/draft`;
  if (beacon) navigator.sendBeacon(url, body);
  else fetch(url, { method: "POST", body, keepalive: true }).catch(() => { saved = ""; });
}

export function remember() {
  const compose = form();
  saved = compose ? `${compose.dataset.id} ${compose.dataset.mode} ${area().value}` : "";
}

export function adopt() {
  const text = document.getElementById("suggestion-text")?.dataset.text;
  const box = area();
  if (!text || !box) return false;
  setMode("reply");
  if (form().dataset.mode !== "reply") return false;
  box.focus();
  // As if it had been typed, so that the browser's undo takes it back.
  box.setSelectionRange(box.value.length, box.value.length);
  if (!document.execCommand("insertText", false, text)) box.value += text;
  box.dispatchEvent(new Event("input", { bubbles: true }));
  return true;
}

function pending(mode, text, key) {
  const node = document.getElementById("tpl-sending").content.firstElementChild.cloneNode(true);
  node.dataset.key = key;
  node.querySelector("time").textContent = new Date().toTimeString().slice(0, 5);
  const say = node.querySelector(".say");
  text.split("\n").forEach((line, number) => {
    if (number) say.append(document.createElement("br"));
    say.append(line);
  });
  if (mode === "note") {
    node.dataset.by = "note";
    node.querySelector("b").after(words().note);
  }
  document.getElementById("sending").append(node);
  const talk = document.getElementById("talk");
  talk.scrollTop = talk.scrollHeight;
  return node;
}

async function post(node, id, mode, text, key) {
  node.dataset.state = "sending";
  node.querySelector(".receipt").textContent = words().sending;
  const url = `/conversations/${id}/${mode === "note" ? "notes" : "replies"}`;
  let why = words().failed;
  try {
    const answer = await fetch(url, {
      method: "POST",
      body: new URLSearchParams({ text, key }),
      headers: { "HX-Request": "true" },
      signal: AbortSignal.timeout(20_000),
    });
    if (answer.headers.get("hx-redirect")) return location.assign(answer.headers.get("hx-redirect"));
    if (answer.ok) {
      node.dataset.done = "";
      refreshList(true);
      if (openId() === id) await refreshThread();
      setTimeout(() => node.remove(), 4000); // the server's row takes its place much earlier
      return;
    }
    why = (await answer.text()) || why;
  } catch { /* not reached: the words say it */ }
  node.dataset.state = "failed";
  const receipt = node.querySelector(".receipt");
  receipt.dataset.state = "failed";
  receipt.textContent = `${why} `;
  const again = document.createElement("button");
  again.type = "button";
  again.className = "link";
  again.textContent = words().again;
  again.addEventListener("click", () => { delete receipt.dataset.state; post(node, id, mode, text, key); });
  receipt.append(again);
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
  if (!compose || !text) return;
  const mode = compose.dataset.mode;
  if (mode === "reply" && compose.hasAttribute("data-closed")) return;
  const key = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const id = Number(compose.dataset.id);
  area().value = "";
  clearTimeout(draftTimer);
  saved = `${id} ${mode} `;
  post(pending(mode, text, key), id, mode, text, key);
}

export function start() {
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "compose") return;
    event.preventDefault();
    send();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("#compose button[data-mode]");
    if (button) setMode(button.dataset.mode);
    if (event.target.closest("[data-adopt]")) adopt();
  });
  document.addEventListener("keydown", (event) => {
    if (event.target !== area() || event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowRight" && !area().value && !event.altKey && !event.ctrlKey && !event.metaKey && adopt()) {
      event.preventDefault();
    }
  });
  document.addEventListener("input", (event) => {
    if (event.target !== area()) return;
    clearTimeout(draftTimer);
    draftTimer = setTimeout(saveDraft, 600);
  });
  document.addEventListener("focusout", (event) => { if (event.target === area()) saveDraft(); });
  addEventListener("pagehide", () => saveDraft(true));
}
