// Which message the reply answers: chosen in the thread, shown above the words, kept while the page lives.

import { openId } from "./live.js";
import { setMode } from "./composer.js";

const box = () => document.getElementById("quote");
const name = (id) => `zhiban:quote:${document.getElementById("words").dataset.agent}:${id}`;

function stored(id) {
  try {
    return JSON.parse(sessionStorage.getItem(name(id)) || "null");
  } catch {
    return null;
  }
}

function keep(id, quote) {
  try {
    if (quote) sessionStorage.setItem(name(id), JSON.stringify(quote));
    else sessionStorage.removeItem(name(id));
  } catch { /* no room or not allowed: it is shown all the same */ }
}

function show(quote) {
  const line = box();
  if (!line) return;
  line.hidden = !quote;
  line.dataset.id = quote?.id ?? "";
  line.querySelector("b").textContent = quote ? line.dataset.about.replace("{name}", () => quote.who) : "";
  line.querySelector("span").textContent = quote?.text ?? "";
}

function choose(quote) {
  keep(openId(), quote);
  show(quote);
}

// The message that the reply answers, or nothing; it goes out with it. `putBack` is for a reply that was refused.
export function take() {
  const quote = box()?.hidden === false ? stored(openId()) ?? { id: box().dataset.id, who: "", text: "" } : null;
  choose(null);
  return quote;
}

export const putBack = (quote) => { if (quote) choose(quote); };
export const opened = () => show(stored(openId()));

function quoteOf(message) {
  const said = message.querySelector(".say")?.innerText || message.querySelector(".doc .cut, .thing b")?.textContent || message.querySelector("img.shot")?.alt || "";
  let by = message; // of several in a row the first one says who wrote them
  while (by.hasAttribute("data-more") && by.previousElementSibling) by = by.previousElementSibling;
  return { id: message.dataset.mid, who: by.querySelector(".msg__by b")?.textContent ?? "", text: said.replace(/\s+/g, " ").trim().slice(0, 200) };
}

export function start(jump) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-quote]");
    if (button) {
      choose(quoteOf(button.closest(".msg")));
      setMode("reply");
    }
    if (event.target.closest("[data-unquote]")) {
      choose(null);
      setMode("reply");
    }
    const link = event.target.closest("a.quote");
    const there = link && document.querySelector(`#messages .msg[data-mid="${CSS.escape(link.dataset.to)}"]`);
    if (there) {
      event.preventDefault();
      jump(there);
    }
  });
}
