// What was typed and the server does not have yet. It outlives the page, so that a lost network or a closed tab loses
// no word; as soon as the server has a text, the copy here is dropped. What was saved a moment ago is remembered for as
// long as an answer may come that was put together before it.

const ABANDONED = 30_000; // milliseconds, longer than a request may take: nobody sends this text any more
export const SMALL = 2000; // characters; browsers finish requests of at most 64 KiB for a page that was left
const REMEMBERED = 120_000; // milliseconds, longer than a page may be on its way
const tab = tabName();
const typed = new Map(); // the newest text of each conversation and mode in this page
const flying = new Set(); // keys of texts that are being sent now
const saving = new Map(); // drafts on their way to the server, one at a time for each conversation and mode
const LATEST = 2000; // milliseconds: who types on without a rest is saved, and seen typing by colleagues, as often
let timer = 0;
let since = 0; // when the first stroke fell that was not saved yet

function tabName() {
  const fresh = Math.random().toString(36).slice(2);
  try {
    const name = sessionStorage.getItem("zhiban:tab") || fresh;
    sessionStorage.setItem("zhiban:tab", name);
    return name;
  } catch {
    return fresh;
  }
}

const words = () => document.getElementById("words").dataset;
const store = () => `zhiban:unsaved:${words().agent}`;
const nameOf = (id, mode) => `${id} ${mode}`;

function read() {
  try {
    return { drafts: {}, unsent: {}, formats: {}, ...JSON.parse(localStorage.getItem(store()) || "{}") };
  } catch {
    return { drafts: {}, unsent: {}, formats: {} };
  }
}

function write(state) {
  try {
    if ([state.drafts, state.unsent, state.formats].some((one) => Object.keys(one).length)) localStorage.setItem(store(), JSON.stringify(state));
    else localStorage.removeItem(store());
  } catch { /* no room or not allowed: the page itself still has the text */ }
}

// Texts that the server has, by conversation and mode: when they were sent there, and when we knew that they had arrived.
const memory = () => `zhiban:saved:${words().agent}`;

function remembered() {
  try {
    const all = Object.entries(JSON.parse(localStorage.getItem(memory()) || "{}"));
    return Object.fromEntries(all.filter(([, one]) => Math.abs(Date.now() - one.at) < REMEMBERED)); // a clock may be set
  } catch {
    return {};
  }
}

function writeRemembered(all) {
  try {
    if (Object.keys(all).length) localStorage.setItem(memory(), JSON.stringify(all));
    else localStorage.removeItem(memory());
  } catch { /* no room or not allowed: an answer may show an older text */ }
}

// What is no longer needed does not stay on this machine; what a closed window left is dropped by the next one.
export const forgetOld = () => writeRemembered(remembered());

function remember(name, text, sentAt) {
  const all = remembered();
  if (all[name]?.sentAt > sentAt) return; // another window has sent a later one meanwhile
  all[name] = { text, sentAt, at: Date.now() };
  writeRemembered(all);
  setTimeout(forgetOld, REMEMBERED);
}

// A draft as it is now; the server hears of it after a short rest, and now and then where there is none.
export function keep(id, mode, text, rest = 600) {
  typed.set(nameOf(id, mode), text);
  const state = read();
  state.drafts[nameOf(id, mode)] = text;
  write(state);
  clearTimeout(timer);
  since ||= Date.now();
  timer = setTimeout(flush, Math.max(0, Math.min(rest, since + LATEST - Date.now())));
}

// Whether the marks of a conversation's reply are meant.
export const isFormatted = (id) => Boolean(read().formats[id]);

export function setFormatted(id, on) {
  const state = read();
  if (Boolean(state.formats[id]) === on) return;
  if (on) state.formats[id] = true;
  else delete state.formats[id];
  write(state);
}

function fields(name, text) {
  const [id, mode] = name.split(" ");
  return new URLSearchParams({ text, mode, ...(mode === "reply" && isFormatted(id) && { formatted: true }) });
}

// The draft, where an answer of the server that was asked for at that moment (of `Date`) may not have it; else undefined.
export function newer(id, mode, askedAt) {
  const saved = remembered()[nameOf(id, mode)];
  return read().drafts[nameOf(id, mode)] ?? (saved?.at >= askedAt ? saved.text : undefined);
}

async function save(name, text) {
  const [id] = name.split(" ");
  const sentAt = Date.now();
  const answer = await fetch(`/conversations/${id}/draft`, {
    method: "POST",
    body: fields(name, text),
    headers: { "HX-Request": "true" },
    keepalive: text.length < SMALL,
  });
  const stored = answer.status === 200;
  if (stored || answer.status === 404) {
    const state = read();
    if (state.drafts[name] === text) delete state.drafts[name];
    write(state);
  }
  if (!stored) return false;
  remember(name, text, sentAt);
  document.dispatchEvent(new CustomEvent("desk:measured", { detail: { id: Number(id), text, ...(await answer.json()) } }));
  return true;
}

function saveNewest(name) {
  if (saving.has(name)) return; // when that one is done, the newest follows
  const text = read().drafts[name];
  if (text === undefined) return;
  const done = save(name, text).catch(() => false).then((stored) => {
    saving.delete(name);
    if (stored && ![undefined, text].includes(read().drafts[name])) saveNewest(name);
  });
  saving.set(name, done);
}

// Bring everything to the server. While there is no network it stays here, for the next try.
export function flush() {
  clearTimeout(timer);
  since = 0;
  for (const name of Object.keys(read().drafts)) saveNewest(name);
}

// A draft that is still on its way must not arrive after the message that replaces it.
export const settled = (id, mode) => saving.get(nameOf(id, mode));

// The page is being left: the browser delivers what it can.
export function flushAway() {
  for (const one of Object.values(read().unsent)) if (typed.has(nameOf(one.id, one.mode))) giveUp(one.id);
  for (const [name, text] of Object.entries(read().drafts)) {
    navigator.sendBeacon(`/conversations/${name.split(" ")[0]}/draft`, fields(name, text));
  }
}

export function sending(key, id, mode, text, formatted = false) {
  flying.add(key);
  const state = read();
  state.unsent[key] = { id, mode, text, formatted, tab, at: Date.now() };
  delete state.drafts[nameOf(id, mode)];
  write(state);
  typed.set(nameOf(id, mode), "");
}

export function sent(key) {
  flying.delete(key);
  const state = read();
  const one = state.unsent[key];
  delete state.unsent[key];
  write(state);
  // The server forgot the draft together with the sending; what was typed meanwhile is told again.
  if (one) remember(nameOf(one.id, one.mode), "", one.at);
  const newer = one && typed.get(nameOf(one.id, one.mode));
  if (newer) keep(one.id, one.mode, newer, 0);
}

export const failed = (key) => flying.delete(key);

// Texts of a conversation that did not go out and that nobody is sending, oldest first; they are taken out of the store.
export function takeUnsent(id) {
  const state = read();
  const found = [];
  for (const [key, one] of Object.entries(state.unsent)) {
    const ours = one.tab === tab ? !flying.has(key) : Date.now() - one.at > ABANDONED;
    if (one.id !== id || !ours) continue;
    delete state.unsent[key];
    if (!document.getElementById(`m-${key}`)) found.push(one);
  }
  write(state);
  return found;
}

export const joined = (texts) => texts.filter((text) => text.trim()).join("\n");

// A conversation was left with texts that did not go out: they become its draft.
export function giveUp(id) {
  const found = takeUnsent(id);
  if (found.some((one) => one.formatted)) setFormatted(id, true);
  for (const mode of new Set(found.map((one) => one.mode))) {
    const lost = found.filter((one) => one.mode === mode).map((one) => one.text);
    keep(id, mode, joined([...lost, typed.get(nameOf(id, mode)) ?? ""]), 0);
  }
}

export const know = (id, mode, text) => typed.set(nameOf(id, mode), text);
