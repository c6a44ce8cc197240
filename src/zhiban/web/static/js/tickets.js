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
async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (now && now.innerHTML !== part.innerHTML && !part.contains(document.activeElement?.closest("a, input"))) {
      const top = part.scrollTop;
      part.replaceChildren(...now.childNodes);
      part.scrollTop = top;
    }
  }
}

let waiting = 0;
if (document.querySelector("[data-live]")) {
  new EventSource("/stream").addEventListener("changed", (event) => {
    const told = JSON.parse(event.data);
    if (!told.tickets && !told.everything) return;
    clearTimeout(waiting);
    waiting = setTimeout(refresh, Math.random() * (told.spread || 0));
  });
}
