// Entries of the knowledge, looked up beside what is being written and put where one writes. Loaded when first opened.

import { insert } from "../composer.js";
import { openId } from "../live.js";
import { panel, trouble } from "./panel.js";

const REST = 180; // ms without another letter
const LONG_REST = 900; // after which an embedder that is paid may be asked, too
let timer = 0;
let asking = null; // what stops the request that is under way
let pointed = null; // the row that was pointed at when the rows came
let stepped = false; // whether somebody went through them since

const words = () => document.getElementById("words").dataset;
const { box, field, chosen, point, close, begin, show, where } = panel("kb", "[data-kb]", {
  steps: (key) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[key];
    stepped ||= Boolean(step);
    return step;
  },
  choose,
  closed: () => {
    clearTimeout(timer);
    asking?.abort();
  },
});

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
function failed(error) {
  if (error.name !== "AbortError") trouble(error.said ?? words().unopened);
}

const choosing = () => stepped || pointed !== chosen();

function told(kept = null) {
  point(kept ?? chosen());
  pointed = chosen();
  stepped = Boolean(kept);
  document.getElementById("kb-said").textContent = document.getElementById("kb-list").dataset.count || (box().querySelector(".kb__none")?.textContent ?? "");
}

async function look(typing) {
  const { id } = where();
  try {
    const answer = await fetched(`/conversations/${id}/knowledge?${new URLSearchParams({ q: field().value, typing })}`);
    const rows = await answer.text();
    if (!box() || openId() !== id) return;
    if (!typing && choosing()) return; // somebody is choosing from what the words found
    // What somebody went to meanwhile stays chosen, where it is among what came: nobody's Enter may hit something else.
    const { article, chunk } = choosing() ? chosen()?.dataset ?? {} : {};
    document.getElementById("kb-found").innerHTML = rows;
    const same = article && [...box().querySelectorAll(".opt")].find((one) => one.dataset.article === article && one.dataset.chunk === chunk);
    told(same);
    if ("byWords" in document.getElementById("kb-list").dataset) timer = setTimeout(look, LONG_REST - REST, false);
  } catch (error) {
    failed(error);
  }
}

async function choose(option) {
  if (box().hasAttribute("aria-busy")) return;
  clearTimeout(timer); // what is chosen stays what it is
  box().setAttribute("aria-busy", "true");
  const { id, mode } = where();
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
    failed(error);
  }
}

// Answers the field, when it is shown.
export async function open() {
  const { id } = begin() ?? {};
  if (!id) return null;
  try {
    if (!show(await (await fetched(`/conversations/${id}/knowledge`)).text())) return null;
    told();
    return field();
  } catch (error) {
    failed(error);
    return null;
  }
}

document.addEventListener("input", (event) => {
  if (!box() || event.target !== field()) return;
  clearTimeout(timer);
  timer = setTimeout(look, REST, true);
});
