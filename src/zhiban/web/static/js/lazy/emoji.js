// Emoji: found by their Chinese and English names, put where one writes. They and their names come when first opened.

import { insert } from "../composer.js";
import { initials } from "../pinyin.js";
import { panel, trouble } from "./panel.js";

const MOST = 90; // found at once; who misses one types another letter
const KEPT = 16; // of those used last
const STORE = "zhiban:emoji";
let known = null; // [group, emoji, Chinese name, Chinese words, English name, English words]
let loading = null;

const words = () => document.getElementById("words").dataset;
const list = () => document.getElementById("emo-list");
const { box, field, options, point, close, begin, show, staying, where } = panel("emo", "[data-emoji]", {
  steps: (key, all) => ({ ArrowRight: 1, ArrowLeft: -1, ArrowDown: across(all), ArrowUp: -across(all) })[key],
  choose,
});

// How many stand side by side, as the screen has it.
function across(all) {
  const top = all[0]?.offsetTop;
  return Math.max(2, all.findIndex((one) => one.offsetTop !== top) + 1 ? all.findIndex((one) => one.offsetTop !== top) : all.length);
}

function used() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "[]").filter((one) => typeof one === "string").slice(0, KEPT);
  } catch {
    return []; // not ours, or nothing may be kept here
  }
}

function keep(emoji) {
  try {
    localStorage.setItem(STORE, JSON.stringify([emoji, ...used().filter((one) => one !== emoji)].slice(0, KEPT)));
  } catch { /* then it is not remembered */ }
}

// How well an emoji fits, lower is better: by its names, by its other words, by the initials of its Chinese name.
function rank([, , chinese, also, english, others], typed) {
  const tests = [
    chinese === typed || english.toLowerCase() === typed,
    chinese.startsWith(typed) || english.toLowerCase().startsWith(typed),
    ` ${also} ${others.toLowerCase()} `.includes(` ${typed} `),
    chinese.includes(typed) || ` ${english.toLowerCase()}`.includes(` ${typed}`),
    ` ${also} ${others.toLowerCase()}`.includes(` ${typed}`),
    /^[a-z]{2,}$/.test(typed) && initials(chinese).startsWith(typed),
  ];
  const place = tests.indexOf(true);
  return place < 0 ? Infinity : place;
}

function group(title, rows) {
  const part = document.createElement("div");
  part.className = "emo__g";
  part.setAttribute("role", "group");
  part.setAttribute("aria-label", title);
  const heading = document.createElement("p");
  heading.className = "kb__h";
  heading.textContent = title;
  heading.setAttribute("role", "presentation");
  const grid = document.createElement("div");
  grid.className = "emo__r";
  grid.setAttribute("role", "presentation");
  const chinese = document.documentElement.lang.startsWith("zh");
  for (const row of rows) {
    const one = document.createElement("span");
    one.className = "emo__1";
    one.setAttribute("role", "option");
    one.setAttribute("aria-selected", "false");
    one.title = row[chinese ? 2 : 4];
    one.textContent = row[1];
    grid.append(one);
  }
  part.append(heading, grid);
  return part;
}

function draw() {
  const typed = field().value.normalize("NFKC").trim().toLowerCase();
  const names = JSON.parse(list().dataset.groups);
  const recent = used().map((emoji) => known.find((row) => row[1] === emoji)).filter(Boolean);
  let parts;
  if (typed) {
    const found = known.map((row) => [rank(row, typed), row]).filter(([place]) => place < Infinity).sort(([one], [other]) => one - other);
    parts = found.length ? [group(list().dataset.found, found.slice(0, MOST).map(([, row]) => row))] : [];
  } else {
    parts = Object.entries(names).map(([number, title]) => group(title, known.filter((row) => row[0] === Number(number))));
    if (recent.length) parts.unshift(group(list().dataset.recent, recent));
  }
  list().replaceChildren(...parts);
  const all = options();
  for (const [number, one] of all.entries()) one.id = `emo-${number}`;
  box().querySelector(".kb__none").hidden = all.length > 0;
  document.getElementById("emo-said").textContent = !typed ? "" : all.length ? list().dataset.count.replace("{n}", all.length) : box().querySelector(".kb__none").textContent;
  point(all[0] ?? null);
}

function choose(option, stays) {
  const { mode } = where();
  const emoji = option.textContent;
  keep(emoji);
  if (stays) return staying(() => insert(mode, emoji));
  close();
  insert(mode, emoji);
}

async function load() {
  const [panelled, data] = await Promise.all([fetch("/desk/emoji", { headers: { "HX-Request": "true" } }), fetch(new URL("../../vendor/emoji.json", import.meta.url))]);
  const away = panelled.headers.get("hx-redirect");
  if (away) location.assign(away);
  if (!panelled.ok || !data.ok || away) throw new Error("no emoji");
  known = await data.json();
  return panelled.text();
}

// Answers the field, when it is shown.
export async function open() {
  if (!begin()) return null;
  loading ??= load();
  try {
    if (!show(await loading)) return null;
    draw();
    return field();
  } catch {
    loading = null;
    trouble(words().unopened);
    return null;
  }
}

document.addEventListener("input", (event) => { if (box() && event.target === field()) draw(); });
