// Who else has the open conversation before them. A page that is looked at says every 20 seconds what it shows, and is
// told of the others; it says when it leaves, and is told at once when somebody comes or goes.

import { openId } from "./live.js";

const BEAT = 20_000;
let told = 0; // the conversation that we have said is open

const post = (id, what) => fetch(`/conversations/${id}/${what}`, { method: "POST", keepalive: true }).catch(() => null);

export async function look() {
  const id = document.hidden ? 0 : openId();
  if (told && told !== id) post(told, "left");
  told = id;
  if (!id) return;
  const answer = await post(id, "viewing");
  const place = document.getElementById("viewers");
  if (answer?.ok && !answer.redirected && place && id === openId()) place.innerHTML = await answer.text();
}

export function start() {
  setInterval(look, BEAT);
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", () => { if (told) post(told, "left"); told = 0; });
  document.addEventListener("desk:typing", ({ detail }) => { if (detail.viewing && detail.conversation === openId()) look(); });
}
