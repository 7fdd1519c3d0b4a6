// One socket to one router, raw: what is sent and what comes, told to the log; and the
// exchanges, each a request with what belongs to it by its correlationId. No queue and no
// reconnecting: this is a tool to look through, and whoever presses Send connects.

import { explain, isGoodClose } from "./closes.js";
import { randomId } from "./dom.js";

const PROGRESS = "$ws:rpc-progress";
/** Events that are remembered, in case an error names them. */
const MOST_REMEMBERED = 200;
const ERRORS = new Set(["ERROR", "RPC_ERROR"]);

/** A frame that was sent, and what has come of it. */
export class Exchange {
  progress = [];
  /** "running", "answered", "failed", "lost", or "sent" for what is not answered. */
  state = "running";
  answer = null;
  took = 0;
  #listeners = new Set();

  constructor(id, type, isCall) {
    Object.assign(this, { id, type, isCall, began: performance.now() });
    if (!isCall) this.state = "sent";
  }

  get isRunning() {
    return this.state === "running";
  }

  get age() {
    return performance.now() - this.began;
  }

  onChange(listener) {
    this.#listeners.add(listener);
  }

  progressed(data) {
    this.progress.push(data);
    this.#tell();
  }

  end(state, answer = null) {
    this.took = this.age;
    this.answer = answer;
    this.state = state;
    this.#tell();
  }

  #tell() {
    for (const listener of this.#listeners) listener(this);
  }
}

export class Connection extends EventTarget {
  #socket = null;
  #exchanges = new Map();
  #bye = null;
  #isOurs = false;
  #opening = null;
  state = "closed";
  words = "";
  isGood = true;

  constructor(router, log) {
    super();
    Object.assign(this, { router, log });
  }

  get isOpen() {
    return this.state === "open";
  }

  /** Connect; the promise is of being open, and fails with what the page then says. */
  connect(url, protocols) {
    if (this.#opening) return this.#opening.promise;
    const opening = {};
    opening.promise = new Promise((resolve, reject) => Object.assign(opening, { resolve, reject }));
    opening.promise.catch(() => {}); // the state says it too
    this.#opening = opening;
    this.#isOurs = false;
    this.#bye = null;
    this.#become("connecting", "");
    try {
      this.#follow(new WebSocket(url, protocols));
    } catch (error) {
      this.#end({ code: 1006, reason: "", words: `The browser refuses the address: ${error.message}` });
    }
    return opening.promise;
  }

  #follow(socket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      const chosen = socket.protocol && !socket.protocol.includes("bearer") ? ` with subprotocol ${socket.protocol}` : "";
      this.log.note(this.router, `Connected to ${socket.url.split("?")[0]}${chosen}`);
      this.#become("open", "");
      this.#opening?.resolve();
    };
    socket.onmessage = ({ data }) => this.#received(typeof data === "string" ? data : new TextDecoder().decode(data));
    socket.onclose = ({ code, reason }) => {
      // One that took long to close may have been followed by another.
      if (this.#socket === socket) this.#end({ code, reason });
    };
  }

  close() {
    this.#isOurs = true;
    if (this.state === "open") this.#become("closing", "");
    this.#socket?.close(1000);
  }

  #end({ code, reason, words }) {
    const facts = { code, reason, wasOpen: this.state !== "connecting", isOurs: this.#isOurs, bye: this.#bye };
    const said = words ?? explain(facts);
    const good = isGoodClose(facts);
    this.#socket = null;
    this.log.note(this.router, `Closed: ${said}`, !good);
    for (const exchange of this.#exchanges.values()) if (exchange.isRunning) exchange.end("lost");
    this.#exchanges.clear();
    this.isGood = good;
    this.#become("closed", said);
    this.#opening?.reject(new Error(said));
    this.#opening = null;
  }

  #become(state, words) {
    this.state = state;
    this.words = words;
    this.dispatchEvent(new Event("change"));
  }

  // -- out

  /** Send text as it is, and follow what comes of it. */
  send(text, { isCall = false } = {}) {
    const frame = parsed(text);
    const id = frame?.meta?.correlationId;
    const exchange = new Exchange(id, frame?.type ?? "", isCall);
    this.#socket.send(text);
    exchange.entry = this.log.add(this.router, "out", text, frame, { exchange });
    // An id that is taken stays with the call that has it, as on the server.
    if (typeof id === "string" && !this.#exchanges.get(id)?.isRunning) this.#exchanges.set(id, exchange);
    if (this.#exchanges.size > MOST_REMEMBERED) this.#forgetOne();
    return exchange;
  }

  #forgetOne() {
    for (const [id, exchange] of this.#exchanges) if (!exchange.isRunning) return this.#exchanges.delete(id);
  }

  /** Ask the server to give up a call. */
  abort(exchange) {
    this.#control("$ws:abort", { correlationId: exchange.id }, exchange);
  }

  #control(type, meta, exchange = null) {
    if (!this.isOpen) return;
    const frame = { type, meta: { timestamp: Date.now(), ...meta } };
    const text = JSON.stringify(frame);
    this.#socket.send(text);
    this.log.add(this.router, "out", text, frame, { parent: exchange });
  }

  // -- in

  #received(text) {
    const frame = parsed(text);
    const exchange = this.#exchangeOf(frame);
    this.log.add(this.router, "in", text, frame, { parent: exchange });
    if (frame?.type === "$ws:ping") this.#control("$ws:pong", { echo: frame.meta?.timestamp });
    else if (frame?.type === "$ws:bye") this.#bye = frame.data;
    else if (!exchange) return;
    else if (frame.type === PROGRESS) exchange.progressed(frame.data);
    else if (!frame.type.startsWith("$")) {
      exchange.end(ERRORS.has(frame.type) ? "failed" : "answered", frame);
      this.#exchanges.delete(exchange.id);
    }
  }

  #exchangeOf(frame) {
    const { meta, type, payload } = frame ?? {};
    // The refusal of an id that is in flight names it in its details only.
    const id = meta?.correlationId ?? (ERRORS.has(type) ? payload?.details?.correlationId : undefined);
    return (typeof type === "string" && this.#exchanges.get(id)) || null;
  }
}

function parsed(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame === "object" ? frame : null;
  } catch {
    return null;
  }
}

/** A frame's text around a payload that is JSON text already, or absent. */
export function frameText(type, meta, payload) {
  const head = `{"type":${JSON.stringify(type)},"meta":${JSON.stringify(meta)}`;
  return payload === undefined ? `${head}}` : `${head},"payload":${payload}}`;
}

/** The same frame as a new one: with a time and an id of its own. */
export function renewed(text) {
  const frame = parsed(text);
  if (!frame || Array.isArray(frame)) return text;
  const meta = { ...frame.meta, timestamp: Date.now() };
  if ("correlationId" in meta) meta.correlationId = randomId();
  return JSON.stringify({ ...frame, meta });
}
