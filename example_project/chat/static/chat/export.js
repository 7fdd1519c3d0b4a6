// The room's history as a file: EXPORT_ROOM reports progress, and can be cancelled.

import { element, tell, wordsFor } from "./page.js";

const start = element("export-start");
const bar = element("export-bar");
const cancel = element("export-cancel");
const save = element("export-save");
const close = element("export-close");
const SORRY = {
  CANCELLED: "The export was cancelled.",
  DEADLINE_EXCEEDED: "The export took too long and was stopped.",
};
let running = null; // the AbortController of the export that runs

export function offerExport(room, client, isJoined) {
  start.addEventListener("click", (event) => {
    // Nor does the second half of a double click start a second one.
    if (running || event.detail >= 2) return;
    if (isJoined()) run(room, client);
    else refuse();
  });
  cancel.addEventListener("click", () => running?.abort());
  close.addEventListener("click", clear);
}

/** It would wait for a connection and then for the room: rather let the user choose the time. */
function refuse() {
  clear();
  close.hidden = false;
  say("The export failed: There is no connection at the moment.");
}

async function run(room, client) {
  running = new AbortController();
  const { signal } = running;
  begin();
  try {
    // How long it may take is for the server to say; meanwhile there is progress.
    const options = { onProgress, signal, timeoutMs: Infinity };
    const { payload } = await client.request("EXPORT_ROOM", { room }, options);
    end(summary(payload));
    if (payload.lines > 0) offerFile(`chat-${room}.txt`, payload.text);
  } catch (error) {
    end(signal.aborted ? SORRY.CANCELLED : wordsFor(error, SORRY, "The export failed"));
  }
}

function begin() {
  clear();
  bar.removeAttribute("value"); // until it is known how much there is to do
  start.ariaDisabled = "true"; // not `disabled`, which would lose the focus
  showRunning(true);
  say("Exporting…");
}

function onProgress({ done, total }) {
  bar.max = total || 1;
  bar.value = done;
  element("export-count").textContent = `${done.toLocaleString()} of ${total.toLocaleString()}`;
}

function end(words) {
  running = null;
  start.ariaDisabled = null;
  if (document.activeElement === cancel) start.focus();
  showRunning(false);
  say(words);
}

function clear() {
  if (document.activeElement === close) start.focus();
  if (save.href) URL.revokeObjectURL(save.href);
  save.removeAttribute("href");
  save.hidden = close.hidden = true;
  say("");
}

function showRunning(is) {
  bar.hidden = cancel.hidden = element("export-count").hidden = !is;
  element("export-count").textContent = "";
  close.hidden = is;
}

function summary({ lines, complete }) {
  if (lines === 0) return "There is nothing to export yet.";
  const count = lines === 1 ? "1 message" : `${lines.toLocaleString()} messages`;
  return complete ? `Exported ${count}.` : `Exported the latest ${count}; there are older ones.`;
}

/** Saves at once; the link is for those whose browser asked first, or who want it again. */
function offerFile(name, text) {
  save.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  save.download = name;
  save.textContent = `Save ${name}`;
  save.hidden = false;
  save.click();
}

const say = (words) => tell("export-words", words);
