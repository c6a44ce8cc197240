// What is typed while something that was asked for is on its way belongs to that, and not to the message that lies below:
// nobody's Enter may send the words that were meant for a search.

let waiting = null; // { field, before, left }

// Ask for it, with a field of its own under the keys meanwhile. `ask` answers the field that is there in the end, if any;
// what was typed goes into it. Whoever presses Escape has left.
export async function typedAhead(ask) {
  if (waiting) return;
  const field = document.createElement("input");
  const mine = { field, before: document.activeElement, left: false };
  // Not narrower than its words: a cursor without room stays before what is put in.
  field.style.cssText = "position:fixed;top:0;left:0;width:10rem;opacity:0;pointer-events:none";
  field.setAttribute("aria-label", "…");
  field.setAttribute("aria-busy", "true");
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.isComposing || !["Escape", "Enter", "Tab"].includes(event.key)) return;
    event.preventDefault();
    if (event.key === "Escape") {
      mine.left = true;
      back();
    }
  });
  waiting = mine;
  document.body.append(field);
  field.focus({ preventScroll: true });
  try {
    const there = await ask();
    if (!there || !field.value) return;
    there.value = field.value;
    there.dispatchEvent(new Event("input", { bubbles: true }));
  } finally {
    back();
    field.remove();
    waiting = null;
  }
}

// The keys go back to where they were.
export function back() {
  if (waiting && document.activeElement === waiting.field) waiting.before?.focus?.({ preventScroll: true });
}

// Whether it is no longer wanted when it comes.
export const left = () => Boolean(waiting?.left);
