// The room page: one WebSocket, one room. messages.py says what is said on it.

import { offerExport } from "./export.js";
import { element, fill } from "./page.js";
import { offerProfiles } from "./profile.js";
import { Requests } from "./requests.js";

// Close codes after which trying again would not help.
const FINAL = new Map([
  [1000, "The server closed the connection. Reload the page to connect again."],
  [1008, "The server refused what this page sent. Reload the page to connect again."],
  [4008, "The server refused what this page sent. Reload the page to connect again."],
  [4401, "You are signed out."],
  [4403, "You may not use this chat."],
]);
const SIGNED_OUT = 4401;
const FIRST_DELAY = 500; // milliseconds
const LONGEST_DELAY = 30_000;
const SAME_BREATH = 5 * 60_000; // lines of one author this close together share a byline

/** A WebSocket that comes back, later each time, until it is told or told itself to stop. */
class Connection {
  #socket = null;
  #timer = 0;
  #attempts = 0;
  #notBefore = 0;
  stopped = false;

  constructor(url, { onOpen, onFrame, onLost, onStopped }) {
    this.url = url;
    Object.assign(this, { onOpen, onFrame, onLost, onStopped });
  }

  open() {
    clearTimeout(this.#timer);
    if (this.stopped || this.#socket) return;
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.onopen = () => this.onOpen();
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = (event) => this.#closed(event.code);
  }

  /** Returns false, having sent nothing, while there is no connection. */
  send(type, payload, meta = {}) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify({ type, meta, payload }));
    return true;
  }

  stop(code, why) {
    this.stopped = true;
    this.#drop();
    this.onStopped(code, why);
  }

  /** Lets go of the socket while the page sleeps; open() comes back. */
  pause() {
    clearTimeout(this.#timer);
    if (this.#drop()) this.onLost();
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return false;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    return true;
  }

  #receive(frame) {
    // Not at onopen: a server that accepts and then closes should see us back off.
    this.#attempts = 0;
    if (frame.type === "$ws:ping") this.send("$ws:pong", undefined, { echo: frame.meta.timestamp });
    else if (frame.type === "$ws:bye") this.#notBefore = frame.data.retryAfterMs ?? 0;
    else this.onFrame(frame);
  }

  #closed(code) {
    this.#socket = null;
    if (FINAL.has(code)) {
      this.stop(code, FINAL.get(code));
      return;
    }
    const longest = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#attempts);
    const delay = this.#notBefore + longest * (0.5 + Math.random() / 2);
    this.#attempts += 1;
    this.#notBefore = 0;
    this.#timer = setTimeout(() => this.open(), delay);
    this.onLost();
  }
}

const chat = element("chat");
const room = chat.dataset.room;
const me = Number(chat.dataset.user);

// What has happened in the room

const scroller = element("scroller");
const lines = element("lines");
let newest = 0; // id of the newest line shown
let atEnd = true;

const today = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const otherDay = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function timeOf(date) {
  return (date.toDateString() === new Date().toDateString() ? today : otherDay).format(date);
}

function showLine({ id, author, text, sent_at }) {
  if (element(`line-${id}`)) return;
  const sent = new Date(sent_at);
  const item = fill("line-template", {
    ".avatar": author.name.slice(0, 1).toUpperCase(),
    ".author": author.id === me ? "You" : author.name,
    ".text": text,
    time: timeOf(sent),
  });
  item.id = `line-${id}`;
  item.querySelector("time").dateTime = sent_at;
  item.querySelector("time").title = otherDay.format(sent);
  item.querySelector(".avatar").dataset.hue = author.id % 6;
  item.classList.toggle("mine", author.id === me);
  Object.assign(item.dataset, { line: id, author: author.id, sent: sent.getTime() });

  const later = id > newest ? null : [...lines.children].find((other) => Number(other.dataset.line) > id);
  lines.insertBefore(item, later ?? null);
  newest = Math.max(newest, id);
  if (follows(item, item.previousElementSibling)) {
    item.classList.add("follows");
    item.querySelector(".author").tabIndex = -1; // it is not seen
  }
}

function follows(item, previous) {
  return (
    previous?.dataset.author === item.dataset.author &&
    Number(item.dataset.sent) - Number(previous.dataset.sent) < SAME_BREATH
  );
}

function showNotice(text) {
  const item = fill("notice-template", {});
  item.textContent = text;
  lines.append(item);
}

/** Runs a change of the log, and stays at its end if the reader was there. */
function changeLog(change, { follow = false } = {}) {
  change();
  element("empty").hidden = lines.childElementCount > 0;
  if (atEnd || follow) goToEnd();
  else element("to-end").hidden = false;
}

function goToEnd() {
  scroller.scrollTop = scroller.scrollHeight;
}

let height = scroller.clientHeight;
scroller.addEventListener("scroll", () => {
  // Amid a resize the distance to the end is the layout's doing, not the reader's.
  if (scroller.clientHeight !== height) return;
  atEnd = scroller.scrollHeight - scroller.scrollTop - height < 40;
  if (atEnd) element("to-end").hidden = true;
});
// A phone's keyboard, or a growing text box, makes the log shorter.
new ResizeObserver(() => {
  height = scroller.clientHeight;
  if (atEnd) goToEnd();
}).observe(scroller);
element("to-end").addEventListener("click", () => {
  goToEnd();
  element("text").focus();
});

// What the user writes

const text = element("text");
let sendings = 0;
let unconfirmed = []; // { id, text } of what was sent and has not come back as a line

function submit() {
  const written = text.value.trim();
  const id = `send-${(sendings += 1)}`;
  if (!written || connection.stopped) return;
  if (!joined || !connection.send("SEND_MESSAGE", { room, text: written }, { correlationId: id })) {
    showTrouble("Not sent: there is no connection at the moment. Your text is kept.");
    return;
  }
  unconfirmed.push({ id, text: written });
  text.value = "";
  fitText();
  showTrouble(null);
}

function delivered(line) {
  if (line.author.id !== me) return;
  const index = unconfirmed.findIndex((sent) => sent.text === line.text);
  if (index >= 0) unconfirmed.splice(index, 1);
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

// How the connection is

let joined = false;

function showState(state, words) {
  element("state").dataset.state = state;
  element("state").textContent = words;
  joined = state === "connected";
  element("send").disabled = !joined;
}

function showTrouble(words) {
  element("trouble").textContent = words ?? "";
  element("trouble").hidden = !words;
}

function showHistory({ lines: history, earlier }) {
  const gap = earlier && newest > 0 && !history.some(({ id }) => id <= newest);
  scroller.ariaBusy = "true"; // many lines at once are not read out
  changeLog(() => {
    if (gap) lines.replaceChildren();
    history.forEach(showLine);
    element("earlier").hidden &&= !earlier;
  });
  scroller.ariaBusy = "false";
  showState("connected", "Connected");
  showTrouble(null);

  history.forEach(delivered);
  if (unconfirmed.length === 0) return;
  giveBack(unconfirmed.map((sent) => sent.text));
  unconfirmed = [];
  showTrouble("The connection was lost before your message was delivered. Send it again?");
}

function showError({ meta, payload }) {
  if (meta.correlationId === "join") {
    connection.stop(null, payload.message);
    return;
  }
  const refused = unconfirmed.filter((sent) => sent.id === meta.correlationId);
  unconfirmed = unconfirmed.filter((sent) => !refused.includes(sent));
  giveBack(refused.map((sent) => sent.text));
  showTrouble(refused.length ? `Your message was not sent: ${payload.message}` : payload.message);
}

const RECEIVED = {
  HISTORY: ({ payload }) => showHistory(payload),
  NEW_MESSAGE: ({ payload: { line } }) => {
    delivered(line);
    changeLog(() => showLine(line), { follow: line.author.id === me });
  },
  USER_JOINED: ({ payload }) => changeLog(() => showNotice(`${payload.user.name} joined`)),
  USER_LEFT: ({ payload }) => changeLog(() => showNotice(`${payload.user.name} left`)),
  ERROR: showError,
};

const socketUrl = new URL(chat.dataset.socket, location.href);
socketUrl.protocol = socketUrl.protocol.replace("http", "ws");

const connection = new Connection(socketUrl, {
  onOpen: () => connection.send("JOIN_ROOM", { room }, { correlationId: "join" }),
  onFrame: (frame) => requests.receive(frame) || RECEIVED[frame.type]?.(frame),
  onLost: () => {
    showState("lost", "Reconnecting…");
    requests.lost();
  },
  onStopped: (code, why) => {
    showState("stopped", "Disconnected");
    requests.lost();
    giveBack(unconfirmed.map((sent) => sent.text));
    unconfirmed = [];
    showTrouble(why);
    element("sign-in").hidden = code !== SIGNED_OUT;
  },
});

const requests = new Requests((type, payload, meta) => connection.send(type, payload, meta));
const request = (type, payload, options) => requests.request(type, payload, options);
offerProfiles(lines, request);
offerExport(room, request);

addEventListener("online", () => connection.open());
addEventListener("pagehide", () => connection.pause());
addEventListener("pageshow", () => connection.open());
connection.open();
