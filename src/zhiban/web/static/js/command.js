// The command bar (Ctrl K): what can be done with the open conversation, as its own buttons do it, and where one can go.

import { initials } from "./pinyin.js";
import { back, left, typedAhead } from "./typeahead.js";

const MOST = 6; // of the conversation's verbs, before anything is typed
const bar = () => document.getElementById("cmd");
const field = () => document.getElementById("cmd-q");
const part = (name) => bar().querySelector(`[data-${name}]`);
const options = () => [...bar().querySelectorAll(".opt")].filter((one) => !one.hidden && !one.parentElement.hidden);
let buttons = new Map(); // what a verb's option presses, or does
let times = null; // reads a date and time that was typed, once it is there
let timed = null; // the option for it, and what it stands for
let asked = 0;
let timer = 0;

// What a button says, without its picture and its remark.
function saying(button) {
  const copy = button.cloneNode(true);
  for (const one of copy.querySelectorAll("small, svg, .av, .dot")) one.remove();
  return copy.textContent.trim().replace(/\s+/g, " ");
}

const on = (button) => button.getAttribute("aria-pressed") === "true";

// Everything that the open conversation's own buttons do: words, button, icon, key.
function verbs() {
  const words = bar().dataset;
  const named = (pattern, button) => pattern.replace("{name}", () => saying(button));
  const all = (selector) => [...document.querySelectorAll(selector)];
  return [
    ...all("#resolve, #reopen").map((one) => [saying(one), one, one.id === "resolve" ? "check" : "refresh", one.id === "resolve" ? "Alt E" : ""]),
    ...all("#menu-resolve .opt").map((one) => [saying(one), one, "check", ""]),
    ...all("#compose button[data-mode]").map((one) => [words[one.dataset.mode], one, one.dataset.mode === "note" ? "lock" : "reply", one.dataset.mode === "note" ? "Alt P" : "Alt L"]),
    ...all("#compose [data-kb]").map((one) => [words.kb, one, "book", "Alt B"]),
    ...all("#compose [data-emoji]").map((one) => [words.emoji, one, "smile", "Alt S"]),
    ...all("#menu-snooze .opt").map((one) => [named(words.snooze, one), one, "snooze", "Alt M"]),
    ...all("#menu-snooze label").map((one) => [named(words.snooze, one), () => snoozeAt(), "snooze", "Alt M"]),
    ...all("#menu-owner form[hx-post$='/assign'] .opt").map((one) => [/^\d+$/.test(one.value) ? named(words.assign, one) : saying(one), one, "user-plus", "Alt A"]),
    ...all("#menu-owner form[hx-post$='/team'] .opt").map((one) => [named(on(one) ? words.unteam : words.team, one), one, "users", "Alt A"]),
    ...all("#menu-macros .opt").map((one) => [named(words.macro, one), one, "bolt", "Alt R"]),
    ...all("#menu-flows .opt").map((one) => [named(words.flow, one), one, "messages", ""]),
    ...all("#menu-labels .opt").map((one) => [named(on(one) ? words.unlabel : words.label, one), one, "tag", "Alt G"]),
    ...all("#menu-transcript .opt").map((one) => [`${saying(document.querySelector("#menu-transcript summary"))}：${saying(one)}`, one, "download", ""]),
    ...all("#menu-block summary").map((one) => [saying(one), askToBlock, "user-off", ""]),
    ...all("#unblock").map((one) => [saying(one), one, "user", ""]),
    ...all("#menu-priority .opt:not([aria-current])").map((one) => [named(words.priority, one), one, "flag", ""]),
  ];
}

// The field of the conversation's own menu, with this value at once, if any: what is refused is said beneath it.
function snoozeAt(value = "") {
  // Later, as the click that chose this closes menus.
  setTimeout(() => {
    const field = document.getElementById("snooze-at");
    if (!field) return;
    document.getElementById("menu-snooze").open = true;
    field.focus();
    if (!value) return;
    field.value = value;
    field.form.requestSubmit();
  });
}

// What asks before it acts is asked here too: its menu opens, in the drawer where the side is one.
function askToBlock() {
  setTimeout(() => {
    const menu = document.getElementById("menu-block");
    if (!menu) return;
    if (!menu.offsetParent) document.documentElement.dataset.drawer = "side";
    menu.open = true;
    menu.scrollIntoView({ block: "nearest" });
    menu.querySelector("form button").focus();
  });
}

function readTime() {
  const zone = document.querySelector("#menu-snooze label + span")?.textContent;
  return zone ? times?.read(field().value.normalize("NFKC").trim(), zone) ?? null : null;
}

function drawTime() {
  const until = readTime();
  timed.hidden = !until;
  if (until) timed.querySelector(".grow").textContent = bar().dataset.until.replace("{when}", until.words);
  buttons.set(timed, () => snoozeAt(until?.value));
}

function drawVerbs() {
  const group = part("verbs");
  for (const one of group.querySelectorAll(".opt")) one.remove();
  buttons = new Map();
  const icons = bar().querySelector("use").getAttribute("href").split("#")[0];
  for (const [words, button, icon, key] of [["", null, "snooze", ""], ...verbs()]) {
    const option = document.createElement("div");
    option.className = "opt";
    option.setAttribute("role", "option");
    const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    drawing.setAttribute("class", "i");
    drawing.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `${icons}#${icon}`);
    drawing.append(use);
    const said = document.createElement("span");
    said.className = "grow cut";
    said.textContent = words;
    option.append(drawing, said);
    if (key) {
      const hint = document.createElement("span");
      hint.className = "kbd";
      hint.textContent = key;
      option.append(hint);
    }
    group.append(option);
    buttons.set(option, button);
  }
  timed = group.querySelector(".opt");
  const name = document.getElementById("thread-name")?.textContent.trim() ?? "";
  document.getElementById("cmd-now").textContent = `${bar().dataset.now} · ${name}`;
}

function fits(option, typed) {
  const words = (option.querySelector(".grow") ?? option).textContent.trim().toLowerCase();
  return words.includes(typed) || (/^[a-z0-9]+$/.test(typed) && initials(words).includes(typed));
}

// What was typed, and of what kind it may be: `>` of things to do, `@` of people.
function wish() {
  const text = field().value.normalize("NFKC").trim().toLowerCase();
  const kind = [">", "@"].includes(text[0]) ? text[0] : "";
  return { kind, typed: kind ? text.slice(1).trim() : text };
}

// What was chosen stays chosen when results come in above it: nobody's Enter may hit something else.
function filter(chosen = null) {
  const { kind, typed } = wish();
  let left = typed ? Infinity : MOST;
  for (const option of part("verbs").querySelectorAll(".opt")) if (option !== timed) option.hidden = kind === "@" || !fits(option, typed) || left-- <= 0;
  drawTime();
  for (const option of bar().querySelectorAll("[data-fixed] .opt")) option.hidden = kind === "@" || !fits(option, typed);
  part("found").hidden = kind === ">" || !typed;
  for (const group of part("found").children) group.hidden = part("found").hidden || (kind === "@" && !("people" in group.dataset));
  for (const group of bar().querySelectorAll("[data-verbs], [data-fixed]")) group.hidden = ![...group.querySelectorAll(".opt")].some((one) => !one.hidden);
  point(Math.max(0, options().indexOf(chosen)));
}

function point(to) {
  const all = options();
  for (const old of bar().querySelectorAll("[aria-selected=true]")) old.setAttribute("aria-selected", "false");
  for (const [number, one] of all.entries()) one.id = `cmd-${number}`;
  const chosen = all[to];
  if (chosen) {
    chosen.setAttribute("aria-selected", "true");
    chosen.scrollIntoView({ block: "nearest" });
    field().setAttribute("aria-activedescendant", chosen.id);
  } else field().removeAttribute("aria-activedescendant");
  bar().querySelector(".cmd__none").hidden = all.length > 0;
  const said = all.length ? bar().dataset.count.replace("{n}", all.length) : bar().querySelector(".cmd__none").textContent;
  if (document.getElementById("cmd-said").textContent !== said) document.getElementById("cmd-said").textContent = said;
}

function look() {
  filter();
  clearTimeout(timer);
  const mine = ++asked;
  const { kind, typed } = wish();
  if (!typed || kind === ">") return part("found").replaceChildren();
  timer = setTimeout(async () => {
    const answer = await fetch(`/command?${new URLSearchParams({ q: typed })}`, { headers: { "HX-Request": "true" } }).catch(() => null);
    if (mine !== asked || !answer?.ok) return; // another letter came, or there is no network: what is here stays
    const text = await answer.text();
    if (mine !== asked) return;
    const chosen = bar().querySelector("[aria-selected=true]");
    part("found").innerHTML = text;
    filter(chosen);
  }, 150);
}

async function choose(option) {
  const button = buttons.get(option);
  bar().close();
  if (typeof button === "function") button();
  else if (button) button.click();
  else if (option.dataset.lookName) {
    const body = new URLSearchParams({ [option.dataset.lookName]: option.dataset.lookValue });
    if ((await fetch("/preferences", { method: "POST", body, redirect: "manual" }).catch(() => null)) !== null) location.reload();
  } else location.assign(option.href);
}

function pressed(event) {
  event.stopPropagation(); // the desk's own keys rest while the bar is open
  if (event.isComposing || event.keyCode === 229) return;
  const all = options();
  const at = all.findIndex((one) => one.getAttribute("aria-selected") === "true");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && all.length) point((at + step + all.length) % all.length);
  else if (event.key === "Enter" && all[at]) choose(all[at]);
  else if (isShortcut(event)) bar().close();
  else return;
  event.preventDefault();
}

function ready() {
  bar().addEventListener("keydown", pressed);
  bar().addEventListener("input", look);
  bar().addEventListener("click", (event) => {
    const option = event.target.closest(".opt");
    if (option) event.preventDefault(), choose(option);
    else if (event.target === bar()) bar().close(); // beside it
  });
  bar().addEventListener("mousemove", (event) => {
    const option = event.target.closest(".opt");
    if (option && option.getAttribute("aria-selected") !== "true") point(options().indexOf(option));
  });
}

let loading = null;
async function load() {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL("../css/command.css", import.meta.url);
  const styled = new Promise((done) => { style.onload = style.onerror = done; });
  document.head.append(style);
  const answer = await fetch("/command", { headers: { "HX-Request": "true" } });
  const away = answer.headers.get("hx-redirect");
  if (away) return location.assign(away);
  if (!answer.ok) throw new Error("no command bar");
  document.body.insertAdjacentHTML("beforeend", await answer.text());
  await styled;
  ready();
}

async function loaded() {
  loading ??= load();
  try {
    await loading;
  } catch {
    loading = null;
  }
  return loading !== null;
}

// All keys of the desk, which come along with the bar.
export async function openKeys() {
  if (await loaded() && !document.querySelector("dialog[open]")) document.getElementById("keys")?.showModal();
}

export function open() {
  return bar() ? show() : typedAhead(async () => ((await loaded()) ? show() : null));
}

// Answers the field, when it is shown.
function show() {
  if (!bar() || bar().open || document.querySelector("dialog[open]") || left()) return null;
  asked++; // what is still on its way belongs to another time
  clearTimeout(timer);
  if (document.getElementById("snooze-at")) import("./lazy/times.js").then((found) => { times = found; }, () => {});
  field().value = "";
  part("found").replaceChildren();
  drawVerbs();
  filter();
  back(); // the bar remembers where the keys were, for when it is closed
  bar().showModal();
  field().focus();
  return field();
}

const isShortcut = (event) => (event.ctrlKey !== event.metaKey) && !event.altKey && !event.shiftKey && event.code === "KeyK";

document.addEventListener("keydown", (event) => {
  if (!isShortcut(event) || event.isComposing) return;
  event.preventDefault();
  open();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-command]") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  open();
});
