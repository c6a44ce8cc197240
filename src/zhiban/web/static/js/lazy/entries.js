// Entries of the knowledge, looked up beside what is being written and put where one writes. Loaded when first opened.

import { area, insert } from "../composer.js";
import { openId } from "../live.js";

const REST = 180; // ms without another letter
let where = null; // { id, mode } of the text that it was opened for
let timer = 0;
let asking = null; // what stops the request that is under way

const box = () => document.getElementById("kb");
const field = () => document.getElementById("kb-q");
const options = () => [...box().querySelectorAll(".opt")];
const chosen = () => box().querySelector(".opt[aria-selected=true]");
const trouble = (words) => document.dispatchEvent(new CustomEvent("desk:trouble", { detail: words }));
const words = () => document.getElementById("words").dataset;

function close(back = true) {
  clearTimeout(timer);
  asking?.abort();
  box()?.remove();
  if (back && where && openId() === where.id) area(where.mode)?.focus();
}

async function fetched(path) {
  asking?.abort();
  asking = new AbortController();
  const answer = await fetch(path, { headers: { "HX-Request": "true" }, signal: asking.signal });
  const away = answer.headers.get("hx-redirect");
  if (away) location.assign(away);
  if (!answer.ok || away) throw Object.assign(new Error("refused"), { said: answer.status < 500 ? await answer.text() : "" });
  return answer;
}

// A request that another one took the place of has nothing to say.
function failed(error, otherwise) {
  if (error.name !== "AbortError") trouble(error.said ?? otherwise);
}

function told() {
  point(chosen());
  document.getElementById("kb-said").textContent = document.getElementById("kb-list").dataset.count || (box().querySelector(".kb__none")?.textContent ?? "");
}

function point(to) {
  for (const one of options()) one.setAttribute("aria-selected", String(one === to));
  if (to) {
    field().setAttribute("aria-activedescendant", to.id);
    to.scrollIntoView({ block: "nearest" });
  } else field().removeAttribute("aria-activedescendant");
}

async function look() {
  const { id } = where;
  try {
    const answer = await fetched(`/conversations/${id}/knowledge?${new URLSearchParams({ q: field().value })}`);
    const rows = await answer.text();
    if (!box() || openId() !== id) return;
    document.getElementById("kb-found").innerHTML = rows;
    told();
  } catch (error) {
    failed(error, words().unopened);
  }
}

async function choose(option) {
  if (!option || box().hasAttribute("aria-busy")) return;
  clearTimeout(timer); // what is chosen stays what it is
  box().setAttribute("aria-busy", "true");
  const { id, mode } = where;
  const { article, chunk } = option.dataset;
  try {
    const answer = await fetched(`/conversations/${id}/knowledge/${article}?${new URLSearchParams({ chunk, mode })}`);
    const { text, ref, told: said } = await answer.json();
    if (openId() !== id) return;
    close();
    insert(mode, text, ref);
    if (said) trouble(said);
  } catch (error) {
    box()?.removeAttribute("aria-busy");
    failed(error, words().unopened);
  }
}

function pressed(event) {
  if (!box()?.contains(event.target) || event.isComposing || event.keyCode === 229) return;
  const all = options();
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && all.length) point(all[(all.indexOf(chosen()) + step + all.length) % all.length]);
  else if (event.key === "Enter" && event.target === field()) choose(chosen());
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

export async function open() {
  if (box()) return close();
  const id = openId();
  const compose = document.getElementById("compose");
  if (!id || !compose) return;
  where = { id, mode: compose.dataset.mode };
  try {
    const panel = await (await fetched(`/conversations/${id}/knowledge`)).text();
    if (openId() !== id || box()) return;
    compose.insertAdjacentHTML("afterbegin", panel);
    told();
    field().focus();
  } catch (error) {
    failed(error, words().unopened);
  }
}

document.addEventListener("keydown", pressed, true);
document.addEventListener("input", (event) => {
  if (event.target !== field()) return;
  clearTimeout(timer);
  timer = setTimeout(look, REST);
});
document.addEventListener("click", (event) => {
  if (!box()) return;
  const option = event.target.closest("#kb .opt");
  if (option) choose(option);
  else if (event.target.closest("[data-kb-close]")) close();
  else if (!event.target.closest("#kb, [data-kb]")) close(false);
});
// The pointer must not take the cursor out of the field: that would close the panel before the click arrives.
document.addEventListener("mousedown", (event) => { if (event.target.closest("#kb .kb__l") && !event.target.closest("a")) event.preventDefault(); });
document.addEventListener("mousemove", (event) => {
  const option = event.target.closest?.("#kb .opt");
  if (option && option.getAttribute("aria-selected") !== "true") point(option);
});
document.addEventListener("focusin", (event) => {
  if (box() && !box().contains(event.target) && !event.target.closest?.("[data-kb]")) close(false);
});
