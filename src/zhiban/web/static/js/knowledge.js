// The pages about knowledge: drawers on narrow screens, and the keys of the guide. They work without it, too.

import { drawer } from "./drawer.js";

const html = document.documentElement;

function tryIt() {
  const side = document.getElementById("side");
  if (getComputedStyle(side).visibility === "hidden") drawer("side", document.activeElement);
  else side.querySelector("[name=question]").focus();
}

document.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    document.querySelector(".trio__m > .bar [data-look=solid][form]")?.click();
  } else if (event.altKey && !event.ctrlKey && event.code === "KeyT") {
    event.preventDefault();
    tryIt();
  } else if (event.altKey && !event.ctrlKey && event.code === "KeyN") {
    const write = document.querySelector(".trio__top a[data-look=solid]");
    if (write) {
      event.preventDefault();
      write.click();
    }
  }
});

// Files are sent as soon as they are chosen or dropped; the button is for who has no scripts.
const send = document.getElementById("send");
if (send) {
  const files = send.querySelector("[type=file]");
  const drop = send.querySelector(".drop");
  const go = () => {
    const size = [...files.files].reduce((sum, file) => sum + file.size, 0);
    document.getElementById("too-much").hidden = size <= Number(send.dataset.most);
    if (files.files.length && size <= Number(send.dataset.most)) send.requestSubmit();
  };
  send.querySelector("button").hidden = true;
  files.addEventListener("change", go);
  for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.dataset.over = ""; });
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => { delete drop.dataset.over; });
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    files.files = event.dataTransfer.files;
    go();
  });
}

html.dataset.ready = "";
