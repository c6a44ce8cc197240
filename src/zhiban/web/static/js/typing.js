// Which colleagues are typing in the open conversation. The server says so every two seconds while they do, and at once
// when they have stopped; where it says nothing more, for instance because they left, it is over by itself.

import { openId } from "./live.js";

const SHOWN = 6000; // ms
const typing = new Map(); // of each conversation: its typists, and until when they count
let timer = 0;

function words(typists) {
  const said = document.getElementById("words").dataset;
  const names = new Intl.ListFormat(document.documentElement.lang, { style: "narrow", type: "unit" });
  const of = (mode) => typists.filter((one) => one.mode === mode).map((one) => one.name);
  return [["reply", said.typing], ["note", said.noting]]
    .filter(([mode]) => of(mode).length)
    .map(([mode, text]) => text.replace("{name}", names.format(of(mode))))
    .join(" · ");
}

export function show() {
  clearTimeout(timer);
  const now = performance.now();
  for (const [id, { until }] of typing) if (until <= now) typing.delete(id);
  const line = document.getElementById("typing");
  if (!line) return;
  const here = typing.get(openId());
  if (here) timer = setTimeout(show, here.until - now + 20);
  const text = here ? words(here.typists) : "";
  if (line.textContent === text) return;
  const talk = document.getElementById("talk");
  const atEnd = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 2;
  const shown = text ? document.getElementById("tpl-typing").content.cloneNode(true) : "";
  if (text) shown.querySelector(".cut").textContent = text;
  line.replaceChildren(shown);
  if (atEnd) talk.scrollTop = talk.scrollHeight; // the line takes its place from the thread
}

export function start() {
  document.addEventListener("desk:typing", (event) => {
    const { conversation, typing: typists } = event.detail;
    if (typists.length) typing.set(conversation, { typists, until: performance.now() + SHOWN });
    else typing.delete(conversation);
    show();
  });
}
