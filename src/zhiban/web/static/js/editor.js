// The editors of rules, macros and views: the server draws them anew after a choice that changes which fields there
// are. What was changed meanwhile would be overwritten by such an answer, so it is asked for again instead.

const sent = new WeakMap(); // what the form held when a request was put together, by the request's context

function form(event) {
  return event.target.closest?.("form:has(#editor)");
}

function held(from) {
  return new URLSearchParams(new FormData(from)).toString();
}

document.addEventListener("htmx:config:request", (event) => {
  if (form(event)) sent.set(event.detail.ctx, held(form(event)));
});

document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail;
  if (!form(event) || !sent.has(ctx) || sent.get(ctx) === held(form(event))) return;
  event.preventDefault();
  // Once this request is out of the queue.
  setTimeout(() => {
    if (ctx.sourceElement.isConnected) htmx.trigger(ctx.sourceElement, ctx.sourceElement.matches("button") ? "click" : "change");
  });
});

// Files that an action sends: kept by the server as soon as they are chosen, each answered with its tick.

function complain(said) {
  const editor = document.getElementById("editor");
  editor.querySelector(".trouble[data-file]")?.remove();
  if (!said) return;
  const box = document.createElement("div");
  box.className = "trouble";
  box.dataset.file = "";
  box.setAttribute("role", "alert");
  box.append(Object.assign(document.createElement("p"), { textContent: said }));
  editor.prepend(box);
}

async function attach(input) {
  const { attach: field, to } = input.dataset;
  const row = input.closest(".picks");
  const bar = row.querySelector("progress");
  bar.hidden = false;
  complain("");
  let added = false;
  for (const file of input.files) {
    const answer = await fetch(`${to}?${new URLSearchParams({ name: file.name, field })}`, {
      method: "POST",
      headers: { "HX-Request": "true", "Content-Type": file.type || "application/octet-stream" },
      body: file,
    }).catch(() => null);
    const said = answer ? await answer.text() : "";
    if (answer?.ok) {
      const holder = document.createElement("template");
      holder.innerHTML = said.trim();
      // The server may have drawn the editor anew meanwhile.
      const place = row.isConnected ? input : document.querySelector(`input[data-attach="${field}"]`);
      place?.closest("label").before(holder.content.firstElementChild);
      added = true;
    } else complain(`${file.name}：${said && said.length < 200 && !said.startsWith("<") ? said : input.dataset.failed}`);
  }
  bar.hidden = true;
  input.value = "";
  if (added) document.querySelector(`input[data-attach="${field}"]`)?.dispatchEvent(new Event("input", { bubbles: true }));
}

document.addEventListener("change", (event) => {
  if (event.target.matches?.("input[data-attach]") && event.target.files.length) {
    event.stopPropagation();
    attach(event.target);
  }
});
