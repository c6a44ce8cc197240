// The pages of the settings: the drawer with their list, and Ctrl Enter for the button that stores. They work without it, too.

import "./drawer.js";
import "./copy.js";

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.target.closest("form")?.querySelector("button[data-look=solid]")?.click();
});

document.documentElement.dataset.ready = "";
