// What stands behind a slash: filled for the conversation that is open, found by name, initials or text, put where one types.

import { openId } from "./live.js";
import { area, literal } from "./composer.js";

const MOST = 50; // shown at once; who has more types another letter
const PATIENCE = 3000; // ms that they are waited for: a slash may be meant as one
const ASKED = /(?:^|[\s，。；：！？、（(“])\/([^\s/]{0,30})$/u;
const KNOWLEDGE = /^(?:kb|zs|zsk|知识?库?)$/u; // what is typed behind a slash to look into the knowledge instead
const LEFT = /\{\{[^{}\n]{0,60}\}\}/u;
let offered = null; // { id, rows } of the conversation that they were filled for
let found = [];
let at = 0;
let closed = ""; // what was typed when Escape was pressed: it stays closed until that changes
const filled = []; // fallbacks that were put in, with the words around them: { id, mode, variable, instead, around }

const box = () => document.getElementById("slash");
const list = () => document.getElementById("slash-list");
const shown = () => box() && !box().hidden;
const whole = (one) => one.parts.map((part) => part.text).join("");

function asked() {
  const field = area();
  if (!field || field !== document.activeElement || field.selectionStart !== field.selectionEnd) return null;
  const before = field.value.slice(0, field.selectionStart);
  const match = ASKED.exec(before);
  return match && { words: match[1].replaceAll("'", "").toLowerCase(), from: before.length - match[1].length - 1, typed: before };
}

// How well a snippet fits, lower is better: by its name, by the initials of its name, by its text.
function rank(one, words) {
  const name = one.name.toLowerCase();
  const tests = [name.startsWith(words), one.initials.startsWith(words), name.includes(words), one.initials.includes(words), whole(one).toLowerCase().includes(words)];
  const place = tests.indexOf(true);
  return place < 0 ? Infinity : place;
}

function matching(words) {
  const own = offered.rows
    .map((one) => [rank(one, words), one])
    .filter(([place]) => place < Infinity)
    .sort(([one], [other]) => one - other)
    .slice(0, MOST)
    .map(([, one]) => one);
  return list().dataset.knowledge && KNOWLEDGE.test(words) ? [...own, { name: list().dataset.knowledge, parts: [], knowledge: true }] : own;
}

function named(name, words) {
  const start = words ? name.toLowerCase().indexOf(words) : -1;
  if (start < 0) return [name];
  const marked = document.createElement("mark");
  marked.textContent = name.slice(start, start + words.length);
  return [name.slice(0, start), marked, name.slice(start + words.length)];
}

function draw(words) {
  const options = found.map((one, number) => {
    const option = document.createElement("div");
    option.className = "opt";
    option.id = `slash-${number}`;
    option.setAttribute("role", "option");
    const name = document.createElement("span");
    name.className = "cut grow";
    name.append(...named(one.name, words));
    option.append(name);
    return option;
  });
  if (!options.length) {
    const none = document.createElement("p");
    none.className = "none";
    none.textContent = offered.rows.length ? list().dataset.none : list().dataset.empty;
    options.push(none);
  }
  list().replaceChildren(...options);
  point(0);
}

function point(to) {
  at = to;
  const text = document.getElementById("slash-text");
  text.replaceChildren();
  area()?.removeAttribute("aria-activedescendant");
  for (const [number, option] of [...list().querySelectorAll(".opt")].entries()) {
    option.setAttribute("aria-selected", String(number === at));
    if (number !== at) continue;
    option.scrollIntoView({ block: "nearest" });
    area().setAttribute("aria-activedescendant", option.id);
    for (const part of found[at].parts) {
      if (!part.variable) text.append(part.text);
      else {
        const value = document.createElement("var");
        value.textContent = part.text;
        value.title = part.variable;
        value.toggleAttribute("data-missing", part.missing);
        text.append(value);
      }
    }
  }
}

function close() {
  if (!shown()) return;
  box().hidden = true;
  for (const field of document.querySelectorAll("#compose textarea")) {
    field.removeAttribute("aria-activedescendant");
    field.removeAttribute("aria-controls");
  }
}

async function fetched(id) {
  const answer = await fetch(`/conversations/${id}/snippets`, { headers: { "HX-Request": "true" }, signal: AbortSignal.timeout(PATIENCE) });
  if (answer.status !== 200) throw new Error("no snippets");
  offered = { id, rows: await answer.json() };
}

let asking = 0;
let coming = 0; // how many are being asked for: until they are there, Enter sends nothing
async function look() {
  const wish = asked();
  if (!wish || wish.typed === closed) return close();
  closed = "";
  const id = openId();
  if (!shown() || offered?.id !== id) {
    const mine = ++asking;
    coming += 1;
    try {
      await fetched(id);
    } catch {
      return;
    } finally {
      coming -= 1;
    }
    // Typing went on, or another conversation was opened: what is filled for one is never shown in another.
    if (mine !== asking || openId() !== id) return;
  }
  const now = asked();
  if (!now || !box()) return close();
  found = matching(now.words);
  box().hidden = false;
  area().setAttribute("aria-controls", "slash-list");
  draw(now.words);
}

function insert(one) {
  const wish = asked();
  const field = area();
  if (!one || !wish || offered?.id !== openId()) return close();
  const text = literal(whole(one));
  close();
  field.setSelectionRange(wish.from, field.selectionStart);
  if (one.knowledge) {
    if (!document.execCommand("delete")) field.setRangeText("", wish.from, field.selectionEnd, "end");
    return document.querySelector("#compose [data-kb]").click();
  }
  // As if it had been typed, so that the browser's undo takes it back.
  if (!document.execCommand("insertText", false, text)) field.setRangeText(text, wish.from, field.selectionEnd, "end");
  const mode = document.getElementById("compose").dataset.mode;
  for (const [number, part] of one.parts.entries()) {
    if (!part.missing) continue;
    const around = (one.parts[number - 1]?.text.slice(-6) ?? "") + part.text + (one.parts[number + 1]?.text.slice(0, 6) ?? "");
    filled.push({ id: openId(), mode, variable: part.variable, instead: part.text, around });
  }
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

// Before something is sent: a value that was empty, or a variable that nobody filled. It stands there until the words are gone.
function warn() {
  const line = document.getElementById("compose-warn");
  const field = area();
  if (!line || !field) return;
  const mode = document.getElementById("compose").dataset.mode;
  const missing = filled.find((one) => one.id === openId() && one.mode === mode && field.value.includes(one.around));
  const open = LEFT.exec(field.value);
  const said = missing ? line.dataset.empty.replace("{what}", missing.variable).replace("{instead}", () => missing.instead)
    : open ? line.dataset.open.replace("{what}", () => open[0]) : "";
  line.hidden = !said;
  if (line.lastElementChild.textContent !== said) line.lastElementChild.textContent = said;
}

function pressed(event) {
  if (event.target !== area() || event.isComposing || event.keyCode === 229) return;
  if (!shown()) {
    if (!coming || event.key !== "Enter" || event.shiftKey || event.altKey || !asked()) return;
    event.preventDefault();
    return event.stopImmediatePropagation(); // the short word is not what was meant to be sent
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && found.length) point((at + step + found.length) % found.length);
  else if (event.key === "Enter" && !event.shiftKey && found.length) insert(found[at]);
  else if (event.key === "Escape") {
    closed = asked()?.typed ?? "";
    close();
  } else return;
  event.preventDefault();
  event.stopImmediatePropagation(); // Enter would send, Escape would close what lies below
}

export function start() {
  document.addEventListener("keydown", pressed, true);
  document.addEventListener("input", (event) => {
    if (!event.target.matches?.("#compose textarea")) return;
    look();
    warn();
  });
  document.addEventListener("click", (event) => {
    const option = event.target.closest("#slash .opt");
    if (option) insert(found[Number(option.id.split("-")[1])]);
    else if (!event.target.closest("#compose")) close();
    else if (event.target.closest("#compose button[data-mode]")) warn(), close();
    if (!event.target.closest("[data-slash]")) return;
    const field = area();
    field.focus();
    const before = field.value.slice(0, field.selectionStart);
    document.execCommand("insertText", false, !before || /\s$/u.test(before) ? "/" : " /");
  });
  // The pointer must not take the cursor out of the text that is being written.
  document.addEventListener("mousedown", (event) => { if (event.target.closest("#slash .slash__l, [data-slash]")) event.preventDefault(); });
  document.addEventListener("htmx:after:swap", warn);
}
