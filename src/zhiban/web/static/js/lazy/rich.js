// Formatting of a reply: a bar with marks, and what the contact will see of them. Loaded when it is first chosen.

import { area, escaped, isFormatted, setFormatted } from "../composer.js";
import { openId } from "../live.js";

const REST = 300; // ms without another letter
const MARKS = { strong: ["**", "**"], emphasis: ["*", "*"], code: ["`", "`"], link: ["[", "](https://)"] };
const LISTS = { bullets: () => "- ", numbers: (n) => `${n + 1}. ` };
let timer = 0;
let asking = null;
let bar = null; // its HTML, once it was fetched

const box = () => document.getElementById("rich");
const see = () => document.getElementById("rich-see");

function replace(field, from, to, text, start, end) {
  field.focus();
  field.setSelectionRange(from, to);
  // As if it had been typed, so that the browser's undo takes it back.
  if (!document.execCommand("insertText", false, text)) field.setRangeText(text, from, to, "end");
  field.setSelectionRange(start, end);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

// Put marks around what is selected, or take them away; of a list one before each line.
function apply(name) {
  const field = area("reply");
  const { value, selectionStart: from, selectionEnd: to } = field;
  if (LISTS[name]) {
    const start = value.lastIndexOf("\n", from - 1) + 1;
    const lines = value.slice(start, to).split("\n").map((line, n) => LISTS[name](n) + line.replace(/^\s*(?:[-*]|\d{1,3}[.)、])\s+/u, ""));
    const text = lines.join("\n");
    return replace(field, start, to, text, start + text.length, start + text.length);
  }
  const [open, close] = MARKS[name];
  const marked = value.slice(from - open.length, from) === open && value.slice(to, to + close.length) === close;
  const words = value.slice(from, to);
  if (marked && value[from - open.length - 1] !== "*") replace(field, from - open.length, to + close.length, words, from - open.length, to - open.length);
  else if (name === "link") replace(field, from, to, open + words + close, words ? to + 3 : from + 1, words ? to + 11 : from + 1);
  else replace(field, from, to, open + words + close, from + open.length, to + open.length);
}

async function look() {
  const id = openId();
  const text = area("reply")?.value ?? "";
  if (!see()) return;
  asking?.abort();
  if (!text.trim()) return see().replaceChildren();
  asking = new AbortController();
  const answer = await fetch(`/conversations/${id}/draft/preview`, { method: "POST", body: new URLSearchParams({ text: text.slice(0, 20_000) }), headers: { "HX-Request": "true" }, signal: asking.signal }).catch(() => null);
  if (!answer?.ok || answer.headers.get("hx-redirect")) return; // the next letter asks again
  const html = await answer.text();
  if (openId() === id && see()) see().innerHTML = html;
}

function hide() {
  clearTimeout(timer);
  asking?.abort();
  box()?.remove();
}

// The bar as the composer says: there where the reply is formatted, gone where it is not.
export async function show() {
  if (!isFormatted()) return hide();
  if (!box()) {
    bar ??= fetch("/desk/rich-bar", { headers: { "HX-Request": "true" } }).then((answer) => (answer.ok ? answer.text() : Promise.reject(answer)));
    try {
      const html = await bar;
      if (!isFormatted() || box()) return;
      area("reply").insertAdjacentHTML("afterend", html);
    } catch {
      bar = null; // the next time asks again; the marks are meant all the same
      return;
    }
  }
  look();
}

// What is there already has no marks that were meant.
export async function toggle() {
  const field = area("reply");
  const on = !isFormatted();
  setFormatted(on);
  if (on && field.value) replace(field, 0, field.value.length, escaped(field.value), escaped(field.value).length, escaped(field.value).length);
  else field.dispatchEvent(new Event("input", { bubbles: true })); // kept with the draft
  await show();
  field.focus();
}

export async function mark(name) {
  if (!isFormatted()) await toggle();
  apply(name);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("#rich [data-mark]");
  if (button) apply(button.dataset.mark);
});
document.addEventListener("mousedown", (event) => { if (event.target.closest("#rich [data-mark]")) event.preventDefault(); });
document.addEventListener("input", (event) => {
  if (event.target !== area("reply") || !isFormatted()) return;
  clearTimeout(timer);
  timer = setTimeout(look, REST);
});
