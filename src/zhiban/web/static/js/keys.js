// Keys of the desk. Letters are matched by their place on the keyboard; nothing happens while an input method composes.

import { openKeys } from "./command.js";
import { setMode } from "./composer.js";

const html = document.documentElement;
let before = null;

export function drawer(name) {
  const was = html.dataset.drawer;
  if (name && was !== name) before = document.activeElement;
  html.dataset.drawer = name;
  if (name) document.querySelector(name === "rail" ? ".rail a" : "#side button")?.focus();
  else if (was) before?.focus?.();
}

function step(by) {
  const rows = [...document.querySelectorAll("#rows .conv")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.hasAttribute("aria-current"));
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by];
  if (next) {
    next.scrollIntoView({ block: "nearest" });
    next.click();
  }
}

function menu(id) {
  const found = document.getElementById(id);
  if (!found) return;
  found.open = !found.open;
  (found.open ? found.querySelector(".opt") : found.querySelector("summary"))?.focus();
}

const ACTIONS = {
  KeyJ: () => step(1),
  KeyK: () => step(-1),
  KeyL: () => setMode("reply"),
  KeyP: () => setMode("note"),
  KeyE: () => document.getElementById("resolve")?.click(),
  KeyM: () => menu("menu-snooze"),
  KeyA: () => menu("menu-owner"),
  KeyT: () => document.dispatchEvent(new Event("desk:pick")),
  KeyR: () => menu("menu-macros"),
  KeyG: () => {
    if (innerWidth <= 1260 && document.getElementById("menu-labels")) drawer("side");
    menu("menu-labels");
  },
  KeyB: () => document.querySelector("#compose [data-kb]")?.click(),
  KeyS: () => document.querySelector("#compose [data-emoji]")?.click(),
  KeyI: () => {
    if (innerWidth > 1260) document.getElementById("side")?.querySelector("a, button, [tabindex]")?.focus();
    else if (document.getElementById("thread")?.dataset.id) drawer(html.dataset.drawer === "side" ? "" : "side");
  },
};

export function start() {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey && ACTIONS[event.code]) {
      event.preventDefault();
      ACTIONS[event.code]();
    } else if (event.key === "Escape") {
      if (html.dataset.drawer) drawer("");
    } else if (event.key === "?" && !event.target.closest?.("input, textarea, select, [contenteditable]")) {
      openKeys();
    }
  });
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) {
      if (innerWidth <= 1260 || opener.dataset.open === "") drawer(opener.dataset.open);
    } else if (html.dataset.drawer && (event.target.closest(".rail a") || !event.target.closest(".rail, .side"))) drawer("");
  });
}
