// A button that copies the field named by data-copy. Without a script the field is there to be copied by hand.
for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  button.hidden = false;
  field.addEventListener("focus", () => field.select());
  button.addEventListener("click", async () => {
    field.focus();
    field.select();
    // The clipboard needs https or localhost; inside a company's network there is often neither.
    const copied = navigator.clipboard
      ? await navigator.clipboard.writeText(field.value).then(() => true, () => document.execCommand("copy"))
      : document.execCommand("copy");
    if (copied) button.querySelector("span").textContent = button.dataset.done;
  });
}
