// Menus that are a <details>, on every page: one is open at a time; Escape, a click beside it and a choice close it, arrows walk.

const opened = () => document.querySelector("details.menu[open]");

function close(except) {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== except) menu.open = false;
}

function walk(event) {
  const menu = event.target.closest?.("details.menu[open]");
  const options = [...menu?.querySelectorAll(".opt") ?? []];
  // In a field of a menu they move the cursor, the date or the choice.
  if (!options.length || event.target.matches("input, select, textarea")) return;
  event.preventDefault();
  const at = options.indexOf(document.activeElement);
  const next = event.key === "ArrowDown" ? at + 1 : at < 0 ? -1 : at - 1;
  options[(next + options.length) % options.length]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) return;
  const open = opened();
  if (event.key === "Escape" && open) {
    open.open = false;
    open.querySelector("summary").focus();
    event.stopImmediatePropagation(); // one layer at a time: what lies below stays
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") walk(event);
});
document.addEventListener("click", (event) => {
  close(event.target.closest("details.menu"));
  if (event.target.closest("details.menu .opt")) close();
});
document.addEventListener("focusin", (event) => {
  if (opened()) close(event.target.closest("details.menu"));
});
