// The pages of the settings: the drawer with their list, and Ctrl Enter for the button that stores. They work without it, too.

import "./drawer.js";
import "./copy.js";

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.target.closest("form")?.querySelector("button[data-look=solid]")?.click();
});

// Words that we suggest, put into a field that the reader may change.
for (const button of document.querySelectorAll("button[data-fill]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const field = button.closest("form").elements.namedItem(button.dataset.fill);
    field.value = button.value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.focus();
  });
}

document.documentElement.dataset.ready = "";
