// The demo's phone: say something, tap a menu, and wait for news in one long request at a time.

const stage = document.querySelector(".stage");
const talk = document.getElementById("ph-talk");
const form = document.getElementById("ph-form");
const who = stage.dataset.who;

const toEnd = () => { talk.scrollTop = talk.scrollHeight; };
const seen = () => document.getElementById("ph-chat").dataset.seen;

function say(fields) {
  return htmx.ajax("POST", "/demo/phone/say", { source: "#ph-form", swap: "none", values: { who, ...fields } });
}

async function follow() {
  for (;;) {
    const before = performance.now();
    const query = new URLSearchParams({ who, seen: seen() });
    await htmx.ajax("GET", `/demo/phone/live?${query}`, { source: "#ph-chat", swap: "none" }).catch(() => {});
    document.getElementById("ph-clock").textContent = new Date().toTimeString().slice(0, 5);
    // A server that is away answers at once with nothing; do not ask it hundreds of times a second.
    if (performance.now() - before < 40) await new Promise((done) => setTimeout(done, 800));
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const box = form.elements.text;
  const text = box.value.trim();
  box.value = "";
  if (text) say({ text });
  box.focus();
});
form.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.isComposing || event.keyCode === 229)) event.preventDefault(); });
document.addEventListener("click", (event) => {
  const sentence = event.target.closest("[data-say]");
  if (sentence) say({ text: sentence.dataset.say });
  const tap = event.target.closest("[data-tap]");
  if (tap) say({ tap: tap.dataset.tap, text: tap.dataset.label });
});
document.addEventListener("htmx:after:swap", toEnd);

toEnd();
follow();
document.documentElement.dataset.ready = "";
