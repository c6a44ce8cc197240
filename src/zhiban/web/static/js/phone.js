// The demo's phone: say something, tap a menu, and wait for news in one long request at a time.

const PAUSE = 1000; // milliseconds between tries while the server is away
const stage = document.querySelector(".stage");
const talk = document.getElementById("ph-talk");
const form = document.getElementById("ph-form");
const away = document.getElementById("ph-away");
const who = stage.dataset.who;
const base = stage.dataset.at ?? "/demo/phone";

const toEnd = () => { talk.scrollTop = talk.scrollHeight; };
const seen = () => document.getElementById("ph-chat").dataset.seen;

// Asks and shows the answer. False when the server was not reached or could not do it.
async function ask(verb, url, options) {
  let reached = false;
  const noticing = async (...request) => {
    const answer = await fetch(...request);
    reached = answer.ok;
    return answer;
  };
  await htmx.ajax(verb, url, { swap: "none", fetch: noticing, ...options }).catch(() => {});
  return reached;
}

// Which message is answered with the next words; the contact's phone has no such line.
const quote = document.getElementById("ph-quote");
function answer(id, words) {
  if (!quote) return;
  const following = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 4;
  quote.dataset.id = id;
  quote.querySelector("span").textContent = words;
  quote.hidden = !id;
  if (following) toEnd(); // the line takes its room from the talk
}

async function say(fields) {
  const quoting = quote?.dataset.id ?? "";
  const sent = await ask("POST", `${base}/say`, { source: "#ph-form", values: { who, ...(quoting && { quoting }), ...fields } });
  away.hidden = sent;
  if (sent) answer("", "");
  return sent;
}

async function follow() {
  for (;;) {
    const reached = await ask("GET", `${base}/live?${new URLSearchParams({ who, seen: seen() })}`, { source: "#ph-chat" });
    document.getElementById("ph-clock").textContent = new Date().toTimeString().slice(0, 5);
    if (reached) away.hidden = true;
    else await new Promise((done) => setTimeout(done, PAUSE));
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const box = form.elements.text;
  const text = box.value.trim();
  box.value = "";
  box.focus();
  // What did not arrive is written again, before what has been typed meanwhile.
  if (text && !(await say({ text }))) box.value = [text, box.value].filter(Boolean).join(" ");
});
form.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.isComposing || event.keyCode === 229)) event.preventDefault(); });
document.addEventListener("click", (event) => {
  const sentence = event.target.closest("[data-say]");
  if (sentence) say({ text: sentence.dataset.say });
  if (event.target.closest("[data-show]")) say({ picture: "cup" });
  const quoted = event.target.closest("[data-quote]");
  if (quoted) { answer(quoted.dataset.quote, quoted.dataset.words); form.elements.text.focus(); }
  if (event.target.closest("#ph-quote button")) { answer("", ""); form.elements.text.focus(); }
  const tap = event.target.closest("[data-tap]");
  if (tap) say({ tap: tap.dataset.tap, text: tap.dataset.label });
});
document.addEventListener("htmx:after:swap", toEnd);

toEnd();
follow();
document.documentElement.dataset.ready = "";
