// The assistant helps with what is being written. Its words take the place of the draft and can be undone; nothing is sent.

import { area, setMode } from "./composer.js";
import { openId } from "./live.js";

const trouble = (words) => document.dispatchEvent(new CustomEvent("desk:trouble", { detail: words }));

async function ask(path, fields) {
  const menu = document.getElementById("assist");
  menu.setAttribute("aria-busy", "true");
  try {
    const body = new URLSearchParams(fields);
    const answer = await fetch(path, { method: "POST", body, headers: { "HX-Request": "true" }, signal: AbortSignal.timeout(30_000) });
    if (answer.ok) return (await answer.json()).text;
    trouble(answer.status < 500 ? await answer.text() : document.getElementById("words").dataset.broken);
  } catch {
    trouble(document.getElementById("words").dataset.undone);
  } finally {
    menu.removeAttribute("aria-busy");
  }
  return null;
}

// As if it had been typed, so that the browser's undo brings the old words back.
function put(box, text) {
  box.focus();
  box.select();
  if (!document.execCommand("insertText", false, text)) {
    box.value = text;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

async function rewrite(style) {
  const [id, box] = [openId(), area()];
  const before = box.value;
  const text = await ask(`/conversations/${id}/drafts/rewritten`, { style, text: before });
  if (text === null || openId() !== id) return;
  if (box.value === before) put(box, text);
  else trouble(document.getElementById("assist").dataset.kept);
}

async function summarise() {
  const id = openId();
  const text = await ask(`/conversations/${id}/summary`, {});
  if (text === null || openId() !== id) return;
  setMode("note");
  const box = area("note");
  put(box, box.value.trim() ? `${box.value.trimEnd()}\n${text}` : text);
}

export function start() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("#assist .opt");
    if (!button) return;
    if (button.dataset.style) rewrite(button.dataset.style);
    else summarise();
  });
}
