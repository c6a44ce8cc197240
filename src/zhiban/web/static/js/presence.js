// The heartbeat of an open page, the marks that say who is there, and the switch of one's own status.

const BEAT = 20_000; // in the background browsers make it a minute
const post = (path, body) => fetch(path, { method: "POST", body, headers: { accept: "application/json" }, keepalive: true });

function mark(agents) {
  for (const one of document.querySelectorAll("[data-presence]")) {
    const [status, word] = agents[one.dataset.presence] || [];
    if (!status) continue;
    if (one.classList.contains("dot")) one.dataset.on = status;
    else one.textContent = word;
  }
  for (const form of document.querySelectorAll("form[data-me]")) {
    const own = agents[form.dataset.me]?.[0];
    for (const choice of form.elements.status || []) choice.setAttribute("aria-pressed", String(choice.value === own));
  }
}

async function show() {
  const answer = await fetch("/presence").catch(() => null);
  if (answer?.ok && !answer.redirected) mark(await answer.json());
}

async function beat() {
  await post("/presence/beat").catch(() => {});
}

beat().then(show);
setInterval(beat, BEAT);
document.addEventListener("visibilitychange", () => { if (!document.hidden) beat().then(show); });
document.addEventListener("desk:presence", show);

for (const form of document.querySelectorAll("form[data-me]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const menu = form.closest("details");
    if (menu) menu.open = false;
    menu?.querySelector("summary").focus();
    await post("/presence", new URLSearchParams({ status: event.submitter.value })).catch(() => {});
    show();
  });
}
