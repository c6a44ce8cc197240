// What this agent is told: the number at the bell, words on the page, the browser's own notifications, and one sound
// however many tabs are open. A tab that shows the conversation marks it as read, and all of them keep quiet.

const bells = document.querySelectorAll("[data-bell]");
const own = bells[0]?.dataset.bell ?? "0";
const KNOWN = `zhiban-told-${own}`; // the last one that a tab has heard of
const FIRST = `zhiban-first-${own}`; // the last one there was when this browser asked first: it tells none up to it
const TOLD = `zhiban-named-${own}`; // the latest that a tab has told, of which the desk answers some again
const LOUD = `zhiban-heard-${own}`; // the latest that were sounded
const LOOKING = `zhiban-looking-${own}`; // which conversation is looked at, and when that was last so
const POLLED = `zhiban-polled-${own}`;
const LOOKS_FOR = 7_000;
const SHOWN_FOR = 9_000;
const POLL = 30_000;
const KEPT = 200; // numbers of what was told, many times as many as one answer holds
const streams = document.querySelector(".app[data-stream]"); // live.js has the stream of such a page
const listed = (key) => JSON.parse(localStorage.getItem(key) || "[]");
const list = (key, ids) => localStorage.setItem(key, JSON.stringify([...new Set([...listed(key), ...ids])].slice(-KEPT)));
const heard = new Set(listed(TOLD)); // by this tab; another one may have told more meanwhile
let after = Number(localStorage.getItem(KNOWN)) || null;
let asking = null;
let again = false;
let source = null;

const openId = () => Number(document.getElementById("thread")?.dataset.id || 0);
const looked = () => JSON.parse(localStorage.getItem(LOOKING) || "null");
const somebodyLooks = () => Date.now() - (looked()?.at || 0) < LOOKS_FOR;
const looksAt = (id) => somebodyLooks() && looked().conversation === id;

function look() {
  if (document.visibilityState === "visible" && document.hasFocus()) {
    localStorage.setItem(LOOKING, JSON.stringify({ conversation: openId(), at: Date.now() }));
  }
}

function lookAway() {
  if (looked()?.conversation === openId()) localStorage.removeItem(LOOKING);
}

function count(unread) {
  for (const bell of bells) {
    bell.hidden = !unread;
    bell.textContent = unread > 99 ? "99+" : unread || "";
  }
}

// Which of these this tab is the one to be heard with.
function claim(ids) {
  const take = () => {
    const sounded = listed(LOUD);
    const fresh = ids.filter((id) => !sounded.includes(id));
    list(LOUD, fresh);
    return fresh;
  };
  return navigator.locks ? navigator.locks.request(LOUD, take) : take();
}

function sound() {
  const Context = window.AudioContext || window.webkitAudioContext;
  if (!Context) return;
  const audio = new Context();
  const volume = audio.createGain();
  volume.connect(audio.destination);
  volume.gain.setValueAtTime(0.0001, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.12, audio.currentTime + 0.02);
  volume.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + 0.5);
  for (const [start, pitch] of [[0, 880], [0.12, 1174]]) {
    const tone = audio.createOscillator();
    tone.frequency.value = pitch;
    tone.connect(volume);
    tone.start(audio.currentTime + start);
    tone.stop(audio.currentTime + 0.5);
  }
  setTimeout(() => audio.close(), 1000);
}

function show(one) {
  let box = document.getElementById("news");
  if (!box) {
    box = document.createElement("div");
    box.id = "news";
    box.className = "news";
    box.setAttribute("role", "status");
    document.body.append(box);
  }
  const line = document.createElement("a");
  line.href = one.url;
  line.append(Object.assign(document.createElement("b"), { textContent: one.title }), Object.assign(document.createElement("span"), { textContent: one.text }));
  box.append(line);
  setTimeout(() => line.remove(), SHOWN_FOR);
}

async function tell(news) {
  const told = news.filter((one) => !looksAt(one.conversation));
  if (!document.hidden) told.filter((one) => one.ways.includes("page")).forEach(show);
  const claimed = told.length ? await claim(told.map((one) => one.id)) : [];
  const loud = told.filter((one) => claimed.includes(one.id));
  if (loud.some((one) => one.ways.includes("sound"))) sound();
  if (somebodyLooks() || !("Notification" in window) || Notification.permission !== "granted") return;
  for (const one of loud.filter((each) => each.ways.includes("browser"))) {
    const notice = new Notification(one.title, { body: one.text, tag: `zhiban-${one.id}` });
    notice.onclick = () => { focus(); location.href = one.url; };
  }
}

async function ask() {
  const query = after === null ? "" : `?after=${after}`;
  const answer = await fetch(`/notifications/news${query}`).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const { unread, latest, news: answered } = await answer.json();
  if (!localStorage.getItem(FIRST)) localStorage.setItem(FIRST, after ?? latest);
  // Numbers are given out before their rows are there, so that an older one may come after a newer.
  const news = answered.filter((one) => one.id > Number(localStorage.getItem(FIRST)) && !heard.has(one.id));
  for (const one of news) heard.add(one.id);
  list(TOLD, news.map((one) => one.id));
  const here = openId();
  if (news.some((one) => one.conversation === here) && !document.hidden && document.hasFocus()) {
    look();
    await fetch("/notifications/read", { method: "POST", body: new URLSearchParams({ conversation: here }), headers: { accept: "application/json" } }).catch(() => {});
    again = true;
  }
  after = Math.max(after ?? 0, latest);
  localStorage.setItem(KNOWN, after);
  count(unread);
  await tell(news);
}

// One question at a time; what happens meanwhile is asked about after it.
async function refresh() {
  if (asking) { again = true; return; }
  asking = ask();
  await asking.finally(() => { asking = null; });
  if (again) { again = false; refresh(); }
}

function poll() {
  if (!document.hidden || Date.now() - Number(localStorage.getItem(POLLED) || 0) < POLL - 5_000) return;
  localStorage.setItem(POLLED, Date.now());
  refresh();
}

function follow() {
  if (streams) return;
  source = new EventSource("/stream");
  source.addEventListener("open", refresh);
  source.addEventListener("changed", (event) => { if (JSON.parse(event.data).notified) refresh(); });
}

if (bells.length) {
  look();
  refresh();
  if (!document.hidden) follow();
  setInterval(look, LOOKS_FOR / 3);
  setInterval(poll, POLL);
  addEventListener("focus", look);
  addEventListener("blur", lookAway);
  addEventListener("pagehide", () => { lookAway(); source?.close(); });
  document.addEventListener("desk:notified", refresh);
  document.addEventListener("htmx:after:swap", look);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { lookAway(); source?.close(); source = null; return; }
    look();
    refresh();
    if (!source) follow();
  });
}

const button = document.querySelector("[data-ask-permission]");
function permission() {
  const state = "Notification" in window && isSecureContext ? Notification.permission : "none";
  for (const one of document.querySelectorAll("[data-permission]")) one.hidden = one.dataset.permission !== state;
}
if (button) {
  permission();
  button.addEventListener("click", () => Notification.requestPermission().then(permission));
}
