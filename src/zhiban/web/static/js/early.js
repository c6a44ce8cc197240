// What was typed before the scripts were there started no search, no preview and no saving: each such field says it once
// more, as soon as everybody listens. Fields that a browser fills in again, when a page is loaded anew, do so too.

const WORDS = "textarea, input:is(:not([type]), [type=text], [type=search], [type=email], [type=url], [type=tel], [type=number])";

function tellAgain() {
  for (const field of document.querySelectorAll(WORDS)) {
    if (field.value !== field.defaultValue) field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

// Every script of a page has run by then; htmx begins with it a moment later, in a task that is before this one.
document.addEventListener("DOMContentLoaded", () => setTimeout(tellAgain));
