// A panel above the composer with a field and options below it: one walks through them by keys while one types, Escape and
// whatever happens beside it close it, and the cursor goes back to where one wrote. Loaded with the first of them.

import { area } from "../composer.js";
import { openId } from "../live.js";
import { left } from "../typeahead.js";

// `id` is the panel's, `opener` what opens it. `steps` say how far an arrow goes, `choose` what becomes of an option.
export function panel(id, opener, { steps, choose, closed = () => {} }) {
  let held = false; // while something is put into the text, and the panel stays
  let where = null; // { id, mode } of the text that it was opened for
  const box = () => document.getElementById(id);
  const field = () => box().querySelector("input");
  const options = () => [...box().querySelectorAll("[role=option]")].filter((one) => !one.closest("[hidden]"));
  const chosen = () => box().querySelector("[role=option][aria-selected=true]");

  function point(to) {
    for (const one of box().querySelectorAll("[role=option][aria-selected=true]")) one.setAttribute("aria-selected", "false");
    if (!to) return field().removeAttribute("aria-activedescendant");
    to.setAttribute("aria-selected", "true");
    field().setAttribute("aria-activedescendant", to.id);
    to.scrollIntoView({ block: "nearest" });
  }

  function close(back = true) {
    closed();
    box()?.remove();
    if (back && where && openId() === where.id) area(where.mode)?.focus();
  }

  // For which text it is to be opened; null when it was open, or there is nothing to write into.
  function begin() {
    if (box()) return close();
    const compose = document.getElementById("compose");
    where = openId() && compose ? { id: openId(), mode: compose.dataset.mode } : null;
    return where;
  }

  function show(html) {
    if (!where || openId() !== where.id || box() || left()) return false;
    document.getElementById("compose").insertAdjacentHTML("afterbegin", html);
    field().focus();
    return true;
  }

  // Do something in the text, which takes the cursor, and come back.
  function staying(action) {
    held = true;
    action();
    held = false;
    field().focus();
  }

  document.addEventListener("keydown", (event) => {
    if (!box()?.contains(event.target) || event.isComposing || event.keyCode === 229) return;
    const all = options();
    const step = steps(event.key, all);
    if (step && all.length) {
      const at = all.indexOf(chosen()) + step;
      point(all[Math.abs(step) === 1 ? (at + all.length) % all.length : Math.min(Math.max(at, 0), all.length - 1)]);
    } else if (event.key === "Enter" && event.target === field()) {
      if (chosen()) choose(chosen(), event.shiftKey);
    } else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  document.addEventListener("click", (event) => {
    if (!box()) return;
    const option = event.target.closest(`#${id} [role=option]`);
    if (option) choose(option, event.shiftKey);
    else if (event.target.closest(`#${id} [data-close]`)) close();
    else if (!event.target.closest(`#${id}, ${opener}`)) close(false);
  });
  // The pointer must not take the cursor out of the field: that would close the panel before the click arrives.
  document.addEventListener("mousedown", (event) => { if (event.target.closest(`#${id} [role=listbox]`)) event.preventDefault(); });
  document.addEventListener("mousemove", (event) => {
    const option = event.target.closest?.(`#${id} [role=option]`);
    if (option && option !== chosen()) point(option);
  });
  document.addEventListener("focusin", (event) => {
    if (box() && !held && !box().contains(event.target) && !event.target.closest?.(opener)) close(false);
  });
  return { box, field, options, chosen, point, close, begin, show, staying, where: () => where };
}

export const trouble = (words) => document.dispatchEvent(new CustomEvent("desk:trouble", { detail: words }));
