// The pages of tickets: drawers and keys, filters that need no button, and what others change. They work without it, too.

import "./drawer.js";

document.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    document.activeElement?.closest(".say-more")?.requestSubmit();
    document.activeElement?.closest(".drafting")?.requestSubmit(document.querySelector(".drafting [value=open]"));
  } else if (event.altKey && !event.ctrlKey && event.code === "KeyN") {
    event.preventDefault();
    document.querySelector(".trio__top a[data-look=solid]")?.click();
  } else if (event.altKey && !event.ctrlKey && event.code === "KeyE") {
    event.preventDefault();
    document.querySelector(".trio__m > .bar button[name=state]")?.click();
  }
});

document.querySelector(".sift")?.addEventListener("change", (event) => {
  if (event.target.matches("select")) event.currentTarget.requestSubmit();
});

// Another repository: what is alike there, and how its readers will read it.
document.querySelector(".drafting [data-save]")?.addEventListener("change", (event) => {
  event.target.form.requestSubmit(event.target.form.querySelector("[value=save]"));
});

// What is typed or looked at stays: only the list, the board and the comments are drawn anew.
let moves = 0;
let moving = null; // the card that is dragged

async function refresh() {
  const began = moves;
  const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (began !== moves || moving) return; // somebody moves a card: what was asked for before that is old
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    const inside = part.contains(document.activeElement) ? document.activeElement : null;
    const card = inside?.closest(".slip")?.dataset.id; // its place in the board stays under the keys
    if (now && now.innerHTML !== part.innerHTML && (card || !inside?.closest("a, input"))) {
      const top = part.scrollTop;
      part.replaceChildren(...now.childNodes);
      part.scrollTop = top;
      if (card) part.querySelector(`.slip[data-id="${card}"]`)?.focus();
    }
  }
}

// The board: cards are moved by dragging, or with Shift and an arrow; arrows alone walk.
const slips = (col) => [...col.querySelectorAll(".slip")];
const columns = () => [...document.querySelectorAll(".board > .col")];


async function move(slip, col) {
  const said = document.getElementById("board-said");
  const from = slip.closest(".col");
  if (!said || !col || col === from) return;
  const id = slip.dataset.id;
  const mine = ++moves;
  col.querySelector("h2").after(slip);
  slip.focus();
  const answer = await fetch(`/tickets/${id}`, { method: "POST", body: new URLSearchParams({ state: col.dataset.state }), redirect: "manual" }).catch(() => null);
  const done = answer?.type === "opaqueredirect" || answer?.ok;
  said.textContent = done ? said.dataset.moved.replace("{state}", () => col.getAttribute("aria-label")) : said.dataset.failed;
  if (mine === moves) await refresh();
}

function walk(event, slip) {
  const all = columns();
  const col = slip.closest(".col");
  const at = all.indexOf(col);
  const place = slips(col).indexOf(slip);
  const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.shiftKey) {
    if (side) move(slip, all[at + side]);
    return;
  }
  if (!side) return slips(col)[place + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
  for (let n = at + side; all[n]; n += side) {
    const there = slips(all[n]);
    if (there.length) return there[Math.min(place, there.length - 1)].focus();
  }
}

document.addEventListener("keydown", (event) => {
  const slip = event.target.closest?.(".slip");
  if (!slip || event.altKey || event.ctrlKey || event.metaKey || !["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
  event.preventDefault();
  walk(event, slip);
});
document.addEventListener("dragstart", (event) => {
  moving = event.target.closest?.(".slip[draggable]") ?? null;
  if (!moving) return;
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", moving.dataset.id);
  moving.dataset.moving = "";
});
document.addEventListener("dragover", (event) => {
  const col = moving && event.target.closest?.(".board > .col");
  for (const one of columns()) one.toggleAttribute("data-over", one === col && one !== moving.closest(".col"));
  if (col) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  const col = moving && event.target.closest?.(".board > .col");
  if (!col) return;
  event.preventDefault();
  move(moving, col);
});
document.addEventListener("dragend", () => {
  if (moving) delete moving.dataset.moving;
  moving = null;
  for (const one of columns()) one.removeAttribute("data-over");
});

let waiting = 0;
if (document.querySelector("[data-live]")) {
  new EventSource("/stream").addEventListener("changed", (event) => {
    const told = JSON.parse(event.data);
    if (!told.tickets && !told.everything) return;
    clearTimeout(waiting);
    waiting = setTimeout(refresh, Math.random() * (told.spread || 0));
  });
}
