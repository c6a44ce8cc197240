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
