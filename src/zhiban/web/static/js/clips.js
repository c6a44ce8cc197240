// Files beside a reply: dragged, pasted or chosen, sent to the server at once, kept with the draft until they go out.

import { openId } from "./live.js";

const box = () => document.getElementById("clips");
const compose = () => document.getElementById("compose");
const words = () => document.getElementById("words").dataset;
const chips = () => [...(box()?.children ?? [])];
let queue = Promise.resolve(); // one file after the other, so that they stay in their order
let dragged = 0; // how deep the pointer is inside the thread while it carries files

// How many files go out with the reply, and whether one of them is not there yet.
export const count = () => chips().filter((chip) => chip.dataset.file).length;
export const busy = () => chips().some((chip) => !chip.dataset.file);

// What goes out now: their ids and names. The chips leave the composer; `putBack` brings them again.
export function take() {
  const taken = chips();
  for (const chip of taken) chip.remove();
  return taken;
}

export const ids = (taken) => taken.map((chip) => chip.dataset.file);
export const names = (taken) => taken.map((chip) => chip.querySelector(".cut").textContent);

export function putBack(taken) {
  if (taken.length) box()?.prepend(...taken);
  changed();
}

const changed = () => document.dispatchEvent(new Event("desk:clips"));
const trouble = (said) => document.dispatchEvent(new CustomEvent("desk:trouble", { detail: said }));

function named(file) {
  // Pictures that are pasted all have the same name.
  if (file.name && file.name !== "image.png") return file.name;
  const ending = (file.type.split("/")[1] || "bin").replace("jpeg", "jpg").replace(/[^a-z0-9].*/, "");
  return `${words().pasted} ${new Date().toTimeString().slice(0, 8).replaceAll(":", "-")}.${ending}`;
}

// Say before anything is sent what cannot go: too many, too large, nothing in it.
function refusal(file, name) {
  const { most, largest, limit } = box().dataset;
  if (chips().length >= Number(most)) return words().most.replace("{n}", most);
  if (file.size > Number(largest)) return words().large.replace("{name}", () => name).replace("{most}", limit);
  return file.size ? "" : words().empty.replace("{name}", () => name);
}

function add(files) {
  if (!box() || !files.length) return;
  if (compose().hasAttribute("data-closed")) return trouble(words().closed);
  if (compose().dataset.mode !== "reply") compose().querySelector("button[data-mode=reply]").click();
  for (const file of files) {
    const name = named(file);
    const why = refusal(file, name);
    if (why) {
      trouble(why);
      continue;
    }
    const chip = document.getElementById("tpl-clip").content.firstElementChild.cloneNode(true);
    chip.querySelector(".cut").textContent = name;
    box().append(chip);
    begin(chip, file, name, openId());
  }
  changed();
}

function begin(chip, file, name, id) {
  delete chip.dataset.failed;
  chip.querySelector("[data-again]").onclick = () => begin(chip, file, name, id);
  queue = queue.then(() => (chip.isConnected ? upload(chip, file, name, id) : undefined));
}

function upload(chip, file, name, id) {
  const request = new XMLHttpRequest();
  const bar = chip.querySelector("progress");
  return new Promise((done) => {
    chip.addEventListener("clip:removed", () => request.abort());
    request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) bar.value = event.loaded / event.total; });
    request.addEventListener("load", () => {
      if (request.status === 200) {
        const holder = document.createElement("template");
        holder.innerHTML = request.responseText.trim();
        chip.replaceWith(holder.content.firstElementChild);
      } else if (request.status < 500) {
        chip.remove();
        const said = request.responseText;
        trouble(`${name}：${said && said.length < 200 && !said.startsWith("<") ? said : words().broken}`);
      } else chip.dataset.failed = "";
    });
    request.addEventListener("error", () => { chip.dataset.failed = ""; });
    request.addEventListener("loadend", () => { changed(); done(); });
    request.open("POST", `/desk/files/${id}?${new URLSearchParams({ name })}`);
    request.setRequestHeader("HX-Request", "true");
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.send(file);
  });
}

function remove(chip) {
  chip.dispatchEvent(new Event("clip:removed"));
  if (chip.dataset.file) fetch(`/desk/files/${chip.dataset.file}/remove`, { method: "POST", headers: { "HX-Request": "true" }, keepalive: true });
  const next = chip.nextElementSibling ?? chip.previousElementSibling;
  chip.remove();
  (next?.querySelector("[data-unclip]") ?? document.getElementById("compose-reply"))?.focus();
  changed();
}

const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files") && event.target.closest?.("#thread") && box();

function over(is) {
  document.getElementById("thread")?.toggleAttribute("data-drop", is);
}

export function start() {
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-clip]")) document.getElementById("clip-input").click();
    const off = event.target.closest("[data-unclip]");
    if (off) remove(off.closest(".clip"));
  });
  document.addEventListener("change", (event) => {
    if (event.target.id !== "clip-input") return;
    add([...event.target.files]);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    // What was copied from a table or a page is text, and a picture of itself beside it.
    if (!files.length || event.clipboardData.types.includes("text/plain") || !event.target.closest?.("#compose")) return;
    event.preventDefault();
    add(files);
  });
  document.addEventListener("dragenter", (event) => { if (carriesFiles(event)) over(++dragged > 0); });
  document.addEventListener("dragleave", (event) => { if (carriesFiles(event) && --dragged <= 0) over(Boolean(dragged = 0)); });
  // A file that is dropped beside its place must not replace the page.
  document.addEventListener("dragover", (event) => { if ([...(event.dataTransfer?.types ?? [])].includes("Files")) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    over(Boolean(dragged = 0));
    if (carriesFiles(event)) add([...event.dataTransfer.files]);
  });
}
