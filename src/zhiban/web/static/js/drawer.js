// What slides in from the side on narrow screens: `data-open` names it, Escape and a click beside it close it.

const html = document.documentElement;

let opener = null; // where the focus goes back to

// What slides in can be focused once it has begun to.
const soon = (then) => requestAnimationFrame(() => requestAnimationFrame(then));

export function drawer(name, from = null) {
  html.dataset.drawer = name;
  if (name) {
    opener = from;
    soon(() => document.querySelector(`#${name} input:not([type=hidden]), #${name} a`)?.focus());
  } else opener?.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-open]");
  if (button) drawer(button.dataset.open, button);
  else if (html.dataset.drawer && !event.target.closest("#rail, #side")) drawer("");
});

document.addEventListener("keydown", (event) => {
  if (!event.isComposing && event.key === "Escape" && html.dataset.drawer) drawer("");
});
