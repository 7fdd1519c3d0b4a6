// The room page. messages.py says what is said on its WebSocket.

import { client, enterRoom, isJoined, room } from "./connection.js";
import { offerExport } from "./export.js";
import { changeLog, isShown, lines, me, showHistory, showLine, showNotice } from "./log.js";
import { post, queueIsLost, sendAgain, showWaiting, take, takeAll } from "./outbox.js";
import { element } from "./page.js";
import { offerProfiles } from "./profile.js";

// What the user writes

const text = element("text");

function submit() {
  const written = text.value.trim();
  if (!written || element("send").disabled) return;
  let posted = false;
  changeLog(() => (posted = post(written)), { follow: true });
  if (!posted) {
    showTrouble("Not sent: too many messages wait for the connection. Your text is kept.");
    return;
  }
  text.value = "";
  fitText();
  showTrouble(null);
}

/** Gives text that was not accepted back to its writer. */
function giveBack(texts) {
  text.value = [...texts, text.value].filter(Boolean).join("\n");
  fitText();
}

function fitText() {
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + text.offsetHeight - text.clientHeight}px`;
  const left = text.maxLength - text.value.length;
  element("left").textContent = left <= 200 ? `${left} characters left.` : "";
}

element("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
  text.focus();
});
text.addEventListener("input", fitText);
text.addEventListener("keydown", (event) => {
  // While an input method composes, Enter picks a candidate.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});

function showTrouble(words) {
  element("trouble").textContent = words ?? "";
  element("trouble").hidden = !words;
}

// What the server says

client.on("HISTORY", ({ payload }) => {
  for (const { key } of payload.lines) take(key);
  showHistory(payload);
  showTrouble(null);
});
client.on("NEW_MESSAGE", ({ payload: { line } }) => {
  take(line.key);
  if (!isShown(line)) changeLog(() => showLine(line), { follow: line.author.id === me });
});
client.on("USER_JOINED", ({ payload }) => changeLog(() => showNotice(`${payload.user.name} joined`)));
client.on("USER_LEFT", ({ payload }) => changeLog(() => showNotice(`${payload.user.name} left`)));
client.on("ERROR", ({ meta, payload }) => {
  const refused = take(meta.correlationId);
  if (refused !== null) giveBack([refused]);
  showTrouble(refused === null ? payload.message : `Your message was not sent: ${payload.message}`);
});

offerProfiles(lines, client);
offerExport(room, client, isJoined);
element("send").disabled = false;

enterRoom({
  onOpen: sendAgain,
  onChange: showWaiting,
  onAsleep: queueIsLost,
  onEnd: (why) => {
    giveBack(takeAll());
    element("send").disabled = true;
    showTrouble(why);
  },
});
