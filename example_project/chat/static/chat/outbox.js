// What was written here and has not come back from the server as a line.

import { client, isJoined, room } from "./connection.js";
import { element, fill, tell } from "./page.js";

// By key, in the order of writing: { text, item, queued }. Queued is what the client has yet
// to send; of the rest nobody knows whether it arrived.
const waiting = new Map();

/** Send a message, or have it wait for the connection; false: there is no room for it. */
export function post(text) {
  const key = crypto.randomUUID();
  if (!client.send(...frameOf(key, text))) return false;
  const item = fill("waiting-template", { ".text": text });
  element("waiting").append(item);
  waiting.set(key, { text, item, queued: !client.isConnected });
  showWaiting();
  return true;
}

const frameOf = (key, text) => ["SEND_MESSAGE", { room, text, key }, { correlationId: key }];

/**
 * Send what may have been lost with the last connection, before the queue follows.
 *
 * The server says once what has one key, so that this does no harm.
 */
export function sendAgain() {
  for (const [key, one] of waiting) {
    if (!one.queued) client.send(...frameOf(key, one.text));
    one.queued = false;
  }
}

/** The client has forgotten its queue. */
export function queueIsLost() {
  for (const one of waiting.values()) one.queued = false;
}

/** A message has become a line, or was refused; returns its text if it was one of ours. */
export function take(key) {
  const one = waiting.get(key);
  if (!one) return null;
  one.item.remove();
  waiting.delete(key);
  showWaiting();
  return one.text;
}

export function takeAll() {
  return [...waiting.keys()].map(take);
}

/** Say what becomes of what waits. */
export function showWaiting() {
  const words = isJoined() ? "Sending…" : "Waiting for the connection";
  for (const { item } of waiting.values()) item.querySelector(".byline").textContent = words;
  const count = waiting.size === 1 ? "1 message" : `${waiting.size} messages`;
  tell("outbox", isJoined() || !waiting.size ? "" : `${count} will be sent when the connection is back.`);
}
