// The page's one connection, its room, and the words that say how it is.

import { wsClient } from "wskit";
import { element, tell } from "./page.js";

const SIGNED_OUT = 4401;
// Why the client does not come back; where a server cannot send 1008 it sends 4008.
const REFUSED = "The server refused what this page sent. Reload the page to connect again.";
const OVER = new Map([
  [1008, REFUSED],
  [4008, REFUSED],
  [SIGNED_OUT, "You are signed out."],
  [4403, "You may not use this chat."],
]);
const CLOSED = "The server closed the connection. Reload the page to connect again.";

const chat = element("chat");
export const room = chat.dataset.room;

export const client = wsClient({
  url: chat.dataset.socket,
  // Somebody watches the countdown: not too short to read it, and not too long to wait for it.
  reconnect: { initialDelayMs: 1000, maxDelayMs: 10_000 },
  queueSize: 100,
  heartbeat: { intervalMs: 20_000, timeoutMs: 5_000 },
});

let joined = false;
let asleep = false;
let refusal = null; // why this page itself gave up
let countdown = 0;

/** Whether the room hears this page, and this page the room. */
export const isJoined = () => joined;

/**
 * Connect, join the room, and keep it so.
 *
 * `onOpen` may send what goes before the queue; `onChange` follows every change of
 * `isJoined()`, `onAsleep` the loss of the queue, and `onEnd` says why it is all over.
 */
export function enterRoom({ onOpen, onChange, onAsleep, onEnd }) {
  const show = (state, words, detail = "") => {
    clearInterval(countdown);
    joined = state === "connected";
    element("state").dataset.state = state;
    tell("state-words", words);
    tell("state-detail", detail);
    onChange();
  };
  const end = (why, code) => {
    show("stopped", "Disconnected");
    element("sign-in").hidden = code !== SIGNED_OUT;
    onEnd(why);
  };
  const shown = {
    // A word that stays the same is not read out again at every attempt.
    connecting: () => {
      asleep = false;
      if (element("state").dataset.state === "lost") show("lost", "Reconnecting", "…");
      else show("connecting", "Connecting…");
    },
    open: () => {
      client.send("JOIN_ROOM", { room }, { correlationId: "join" });
      onOpen();
    },
    reconnecting: ({ retryInMs }) => {
      show("lost", "Reconnecting");
      countDown(retryInMs);
    },
    closing: () => show("lost", "Disconnecting"),
    closed: ({ code }) => {
      if (!asleep) end(refusal ?? OVER.get(code) ?? CLOSED, code);
    },
  };
  client.onState((state, info) => shown[state](info));
  client.on("HISTORY", () => show("connected", "Connected"));
  client.on("ERROR", ({ meta, payload }) => {
    if (meta.correlationId !== "join") return;
    refusal = payload.message;
    client.close();
  });
  sleepWithThePage(onAsleep);
  connect();
}

function countDown(ms) {
  const until = Date.now() + ms;
  const show = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    tell("state-detail", seconds > 0 ? ` in ${seconds} s` : "…");
  };
  show();
  countdown = setInterval(show, 250);
}

/** Browsers keep a page that was left, and show it again as it was, only without a connection. */
function sleepWithThePage(onAsleep) {
  addEventListener("pagehide", () => {
    if (client.state === "closed") return;
    asleep = true;
    client.close();
    onAsleep();
  });
  addEventListener("pageshow", () => {
    if (asleep) connect();
  });
}

function connect() {
  client.connect().catch(() => {}); // onState tells why
}
