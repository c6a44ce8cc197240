// Colleagues behind an @ in a note, members of a group behind one in a reply: found by any part of their name.

import { area } from "./composer.js";

const MOST = 8;
const ASKED = /@([^@\s]{0,30})$/u;
let found = [];
let at = 0;
let closed = ""; // what was typed when Escape was pressed

const box = () => document.getElementById("mates");
const names = (field) => (field.id === "compose-note" ? box()?.dataset.names : box()?.dataset.members);
const shown = () => box() && !box().hidden;

function asked() {
  const field = area();
  if (!field || !names(field) || field !== document.activeElement || field.selectionStart !== field.selectionEnd) return null;
  const before = field.value.slice(0, field.selectionStart);
  const match = ASKED.exec(before);
  return match && { words: match[1].toLowerCase(), from: before.length - match[1].length, typed: before };
}

function close() {
  if (!shown()) return;
  box().hidden = true;
  for (const field of document.querySelectorAll("#compose textarea")) {
    field.removeAttribute("aria-activedescendant");
    field.removeAttribute("aria-controls");
  }
}

function point(to) {
  at = to;
  for (const [number, option] of [...box().children].entries()) {
    option.setAttribute("aria-selected", String(number === at));
    if (number === at) area().setAttribute("aria-activedescendant", option.id);
  }
}

function look() {
  const wish = asked();
  if (!box() || !wish || wish.typed === closed) return close();
  closed = "";
  found = JSON.parse(names(area())).filter((name) => name.toLowerCase().includes(wish.words)).slice(0, MOST);
  // Whoever has written the whole name is done with it.
  if (!found.length || found.some((name) => name.toLowerCase() === wish.words)) return close();
  box().replaceChildren(...found.map((name, number) => {
    const option = document.createElement("div");
    option.className = "opt";
    option.id = `mate-${number}`;
    option.setAttribute("role", "option");
    option.textContent = name;
    return option;
  }));
  box().hidden = false;
  area().setAttribute("aria-controls", "mates");
  point(0);
}

function insert(name) {
  const wish = asked();
  const field = area();
  if (!name || !wish) return close();
  field.setSelectionRange(wish.from, field.selectionStart);
  close();
  // As if it had been typed, so that the browser's undo takes it back.
  if (!document.execCommand("insertText", false, `${name} `)) field.setRangeText(`${name} `, wish.from, field.selectionEnd, "end");
}

function pressed(event) {
  if (!shown() || event.target !== area() || event.isComposing || event.keyCode === 229) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) point((at + step + found.length) % found.length);
  else if ((event.key === "Enter" && !event.shiftKey) || event.key === "Tab") insert(found[at]);
  else if (event.key === "Escape") {
    closed = asked()?.typed ?? "";
    close();
  } else return;
  event.preventDefault();
  event.stopImmediatePropagation(); // Enter would send or add it, Escape would close what lies below
}

export function start() {
  document.addEventListener("keydown", pressed, true);
  document.addEventListener("input", (event) => { if (event.target.matches?.("#compose textarea")) look(); });
  document.addEventListener("click", (event) => {
    const option = event.target.closest("#mates .opt");
    if (option) insert(found[Number(option.id.split("-")[1])]);
    else close();
  });
  document.addEventListener("mousedown", (event) => { if (event.target.closest("#mates")) event.preventDefault(); });
}
