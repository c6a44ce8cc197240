// A button that copies the field named by data-copy. Without a script the field is there to be copied by hand.
for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;

document.addEventListener("focusin", (event) => {
  if (event.target.id && document.querySelector(`[data-copy="${CSS.escape(event.target.id)}"]`)) event.target.select();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const field = document.getElementById(button.dataset.copy);
  field.focus();
  field.select();
  // The clipboard needs https or localhost; inside a company's network there is often neither.
  const copied = navigator.clipboard
    ? await navigator.clipboard.writeText(field.value).then(() => true, () => document.execCommand("copy"))
    : document.execCommand("copy");
  if (copied && button.dataset.done) button.querySelector("span").textContent = button.dataset.done;
});
