// The browser client of wskit_channels: one ES module, no dependency, no build step.
//
//   import { wsClient } from "…/client.js";
//   const client = wsClient({ url: "/ws/" });
//   client.on("SAID", ({ payload }) => show(payload.text));
//   await client.connect();
//   client.send("SAY", { text: "Hello" });
//   const { payload } = await client.request("GET_USER", { id: 1 });
//
// Three layers: errors, then Request (one call: its promise, progress and timers) and
// Link (one socket, from its making to its end), then WsClient, which owns what outlives
// a socket: state, queue, pending requests and the plan for coming back.
// Durations are milliseconds. The wire is described in the protocol's own page.

// -- errors

/** What every error of this module is. */
export class WsKitError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A message that cannot be sent, or a reply of another type than the request names. */
export class ValidationError extends WsKitError {
  constructor(message, issues = [], options) {
    super(message, options);
    this.issues = issues;
  }
}

/** No answer came in time. The server may still have acted on the request. */
export class TimeoutError extends WsKitError {
  constructor(timeoutMs, message = `No reply within ${timeoutMs} ms.`) {
    super(message);
    this.timeoutMs = timeoutMs;
  }
}

/** The server answered with an error frame. */
export class ServerError extends WsKitError {
  constructor(message, code, { details, retryable, retryAfterMs, correlationId } = {}) {
    super(message);
    this.code = code;
    this.details = details;
    /** Milliseconds to wait before trying again; null: never; undefined: your own backoff. */
    this.retryAfterMs = retryAfterMs;
    this.retryable = retryAfterMs !== null && (retryable ?? (retryAfterMs >= 0 || TRANSIENT.has(code)));
    this.correlationId = correlationId;
  }
}

/** ws-kit's other name for the same class. */
export const RpcError = ServerError;

/** The connection ended first; `code` and `reason` are the close frame's. */
export class ConnectionClosedError extends WsKitError {
  constructor(message, code = 1006, reason = "", options) {
    super(message, options);
    this.code = code;
    this.reason = reason;
  }
}

/** The client itself refused: queue full or off, too many requests, or aborted. */
export class StateError extends WsKitError {}

// -- the wire

const ERROR_TYPES = new Set(["ERROR", "RPC_ERROR"]);
const TRANSIENT = new Set(["DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "ABORTED"]);
/** Meta keys that callers do not set by `meta`: two are the server's, one has its own option. */
const MANAGED_META = ["clientId", "receivedAt", "correlationId"];

const HEARTBEAT_TIMEOUT = 4000;
const UNAUTHENTICATED = 4401;
/** Closes after which coming back would meet the same answer. */
const FINAL = new Set([1000, 1008, 4403]);
/** Closes that refuse a connection before anything that was sent on it has been read. */
const REFUSALS = new Set([UNAUTHENTICATED, 4403, 4429]);

/** Some servers cannot send 1008 to 1013, and send them 3,000 higher. */
const meaningOf = (code) => (code >= 4008 && code <= 4013 ? code - 3000 : code);

function encode(type, meta, body) {
  const head = `{"type":${JSON.stringify(type)},"meta":${JSON.stringify(meta)}`;
  return body === undefined ? `${head}}` : `${head},"payload":${body}}`;
}

const control = (type, meta) => encode(type, { timestamp: Date.now(), ...meta });

function metaOf({ meta, correlationId }) {
  const made = { timestamp: Date.now(), ...meta };
  for (const key of MANAGED_META) delete made[key];
  if (correlationId !== undefined) made.correlationId = correlationId;
  return made;
}

/** The type that a string, or an object with a `type`, names. */
function typeOf(message) {
  const type = typeof message === "string" ? message : message?.type;
  if (typeof type === "string" && type) return type;
  throw new ValidationError('A message type is a non-empty string, or an object with a "type".');
}

function textOf(value, name = "payload") {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw new ValidationError(`The ${name} is no JSON: ${cause.message}`, [], { cause });
  }
}

function decode(data) {
  const frame = JSON.parse(data);
  if (typeof frame?.type !== "string") throw new ValidationError("A frame without a type.");
  return { ...frame, meta: frame.meta ?? {} };
}

function errorOf({ payload, meta }) {
  const { code = "INTERNAL", message = code, ...rest } = payload ?? {};
  return new ServerError(message, code, { ...rest, correlationId: meta.correlationId });
}

// -- small things

const noop = () => {};

/** `setTimeout`, which fires at once above this many milliseconds, without that trap. */
const LONGEST_DELAY = 2 ** 31 - 1;
const later = (callback, delay) => setTimeout(callback, Math.min(delay, LONGEST_DELAY));

/** A promise with its ends; unlike a bare one it may fail without anybody listening. */
function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(noop);
  return made;
}

/** Unique; `randomUUID` is missing where a page was not served over HTTPS. */
function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function oneOf(name, value, known) {
  if (!known.includes(value)) throw new TypeError(`${name} is one of ${known.join(", ")}, not ${value}.`);
}

// -- one request

class Request {
  sent = false;
  settled = false;
  /** When its time is up: set when it is first sent, and not again when it is resent. */
  deadline = null;
  #body;
  #meta;
  #timers = [];
  #listeners = new Set();

  constructor(type, expected, body, options) {
    this.id = options.correlationId ?? newId();
    this.type = type;
    this.expected = expected;
    this.timeoutMs = options.timeoutMs ?? 30_000;
    this.queueTimeoutMs = options.queueTimeoutMs ?? Infinity;
    this.idempotencyKey = options.idempotencyKey;
    this.signal = options.signal;
    this.promise = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.#body = body;
    const meta = { ...options.meta, idempotencyKey: this.idempotencyKey };
    this.#meta = JSON.parse(textOf(metaOf({ meta, correlationId: this.id }), "meta"));
  }

  /** Call back after a delay, unless the request is sent, queued again or settled before. */
  schedule(callback, delay) {
    if (delay < Infinity) this.#timers.push(later(callback, delay));
  }

  clearTimers() {
    this.#timers.forEach(clearTimeout);
    this.#timers = [];
  }

  /** The frame to send now; the time that the server is given is what is left of it. */
  frame() {
    if (this.timeoutMs === Infinity) return encode(this.type, this.#meta, this.#body);
    const now = Date.now(); // once: a first frame carries all of the time
    this.deadline ??= now + this.timeoutMs;
    const timeoutMs = Math.max(1, Math.ceil(this.deadline - now));
    return encode(this.type, { ...this.#meta, timeoutMs }, this.#body);
  }

  /** Hand a progress value to all who listen; `report` takes what they throw. */
  progressed(value, report) {
    for (const listener of [...this.#listeners]) {
      try {
        listener(value);
      } catch (error) {
        report(error);
      }
    }
  }

  listen(listener) {
    this.#listeners.add(listener);
  }

  /** All progress from now on; ends with the reply, and throws what the request fails with. */
  follow() {
    const { promise } = this;
    const listeners = this.#listeners;
    const values = [];
    let ended = false;
    let wake = noop;
    const note = (value) => {
      values.push(value);
      wake();
    };
    const end = () => {
      ended = true;
      wake();
    };
    listeners.add(note);
    promise.then(end, end);
    return (async function* () {
      try {
        while (values.length || !ended) {
          if (values.length) yield values.shift();
          else await new Promise((resolve) => (wake = resolve));
        }
        await promise;
      } finally {
        listeners.delete(note);
      }
    })();
  }
}

// -- one socket

const LASTING_MS = 5_000;
const CLOSING_MS = 3_000;

class Link {
  socket = null;
  openedAt = null;
  /** What `$ws:bye` said. */
  bye = null;
  /**
   * What was sent before anything came. The first frame that we send is a ping: if the
   * server closes with a refusal and has not answered it, it has read none of these.
   */
  unproven = [];
  #beat;

  get isOpen() {
    return this.openedAt !== null && this.socket.readyState === 1;
  }

  /** Whether new messages may go out; after a goodbye they had better wait for the next link. */
  get isUsable() {
    return this.isOpen && !this.bye;
  }

  /** Whether it has been open for so long that the next failure is a new one. */
  get hasLasted() {
    return this.openedAt !== null && Date.now() - this.openedAt >= LASTING_MS;
  }

  send(frame) {
    if (this.isOpen) this.socket.send(frame);
  }

  ping() {
    this.send(control("$ws:ping"));
  }

  /** Keep what was sent until it is known that somebody reads it. */
  remember(item) {
    if (!this.hasLasted) this.unproven?.push(item);
  }

  /** Something came from the server: it reads, and it lives. */
  heard(heartbeat, dead) {
    this.unproven = null;
    this.restart(heartbeat, dead);
  }

  restart(heartbeat, dead) {
    clearTimeout(this.#beat);
    if (heartbeat) this.#beat = later(() => this.probe(heartbeat, dead), heartbeat.intervalMs);
  }

  /** Ask for a sign of life; without any in time, `dead` is called. */
  probe(heartbeat, dead) {
    clearTimeout(this.#beat);
    this.ping();
    this.#beat = later(dead, heartbeat.timeoutMs);
  }

  /** Nothing that the socket still does will be heard. */
  detach() {
    clearTimeout(this.#beat);
    if (this.socket) this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
  }

  /** Close the socket; when it has not closed in time, as over a dead network, call back anyhow. */
  close(code, reason, closed) {
    this.detach();
    if (!this.isOpen) {
      this.socket?.close();
      return closed();
    }
    const finish = () => {
      clearTimeout(timer);
      this.detach();
      closed();
    };
    const timer = later(finish, CLOSING_MS);
    this.socket.onclose = finish;
    this.socket.close(code, reason);
  }
}

// -- the client

const DEFAULTS = {
  protocols: [],
  queue: "drop-newest",
  queueSize: 1000,
  autoConnect: false,
  pendingRequestsLimit: 1000,
  resendWindowMs: 60_000,
  wsFactory: (url, protocols) => new WebSocket(url, protocols),
};
const RECONNECT = { enabled: true, maxAttempts: Infinity, initialDelayMs: 300, maxDelayMs: 10_000, jitter: "full" };
const AUTH = { attach: "query", queryParam: "access_token", protocolPrefix: "bearer.", protocolPosition: "append" };
const HEARTBEAT = { intervalMs: 30_000, timeoutMs: 5_000 };

/** An option that is given as undefined is not given. */
function withDefaults(defaults, given = {}) {
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(set) };
}

function optionsOf({ reconnect, auth, heartbeat, ...given }) {
  const options = {
    ...withDefaults(DEFAULTS, given),
    reconnect: withDefaults(RECONNECT, reconnect),
    auth: withDefaults(AUTH, auth),
    heartbeat: heartbeat && withDefaults(HEARTBEAT, heartbeat),
  };
  if (!options.url) throw new TypeError('wsClient() needs a url: wsClient({ url: "/ws/" }).');
  oneOf("queue", options.queue, ["drop-oldest", "drop-newest", "off"]);
  oneOf("reconnect.jitter", options.reconnect.jitter, ["full", "none"]);
  oneOf("auth.attach", options.auth.attach, ["query", "protocol"]);
  oneOf("auth.protocolPosition", options.auth.protocolPosition, ["append", "prepend"]);
  if (/[\s,]|^$/.test(options.auth.protocolPrefix)) {
    throw new TypeError("auth.protocolPrefix is not empty and has no spaces or commas.");
  }
  return options;
}

/** Make a client; see `WsClientOptions` in client.d.ts for what can be set. */
export function wsClient(options) {
  return new WsClient(options);
}

export class WsClient {
  #options;
  #state = "closed";
  #link = null; // the present attempt or connection
  #protocol = "";
  #queue = []; // messages and requests that wait for a connection
  #pending = new Map(); // requests that wait for an answer, by id
  #abandoned = new Set(); // ids on this link whose answer nobody waits for
  #attempts = 0; // since a connection last lasted
  #refreshed = false; // whether a fresh token has been tried since then
  #touched = false; // whether somebody has ever asked to connect
  #timer; // of the next attempt
  #notBefore = 0; // when the server wants to see us again
  #opening = null; // what connect() promised
  #closing = null; // what close() promised
  #handlers = new Map(); // by type
  #stateListeners = [];
  #errorListeners = [];
  #unhandledListeners = [];

  constructor(options) {
    this.#options = optionsOf(options);
  }

  // -- state

  /** "closed", "connecting", "open", "closing" or "reconnecting". */
  get state() {
    return this.#state;
  }

  get isConnected() {
    return this.#state === "open";
  }

  /** The subprotocol that the server selected; "" without a connection, or if it selected none. */
  get protocol() {
    return this.#protocol;
  }

  /**
   * Call back at every change of state, with what is known of its cause.
   *
   * What a listener sends at "open" goes out before what waits in the queue: the place to
   * join rooms again. Returns a function that ends it, as all of `on…` do.
   */
  onState(callback) {
    return subscribe(this.#stateListeners, callback);
  }

  /** Resolves when the client is open, now or later; never fails. */
  onceOpen() {
    return new Promise((resolve) => {
      if (this.isConnected) return resolve();
      const stop = this.onState((state) => {
        if (state !== "open") return;
        stop();
        resolve();
      });
    });
  }

  /**
   * Connect, and stay connected until `close()` or until the server says that there is no use.
   *
   * The promise fails with a ConnectionClosedError when the client gives up; while it
   * tries again, it waits. While the client waits for its next attempt, this makes it now.
   */
  connect() {
    this.#touched = true;
    if (this.#state === "open") return Promise.resolve();
    if (this.#state === "closing") return this.#closing.promise.then(() => this.connect());
    this.#opening ??= deferred();
    const { promise } = this.#opening; // an attempt that fails at once ends this.#opening
    if (this.#state === "closed") {
      this.#attempts = 0;
      this.#refreshed = false;
      this.#open();
    } else if (this.#state === "reconnecting") this.#open();
    return promise;
  }

  /**
   * Close for good, until `connect()`: pending requests fail, what is queued is forgotten.
   *
   * `code` is 1000 or 3000 to 4999: browsers refuse others.
   */
  close({ code = 1000, reason = "" } = {}) {
    if (code !== 1000 && !(code >= 3000 && code <= 4999)) {
      return Promise.reject(new TypeError(`A page may close with 1000 or 3000 to 4999, not ${code}.`));
    }
    if (this.#state === "closed") return Promise.resolve();
    if (this.#state === "closing") return this.#closing.promise;
    const link = this.#link ?? new Link();
    const { promise } = (this.#closing = deferred());
    clearTimeout(this.#timer);
    this.#link = null;
    this.#queue = [];
    this.#setState("closing");
    const error = new ConnectionClosedError("The client was closed.", code, reason);
    this.#giveUp(error);
    link.close(code, reason, () => this.#closed(error, code, reason));
    return promise;
  }

  // -- messages

  /**
   * Call a handler with every message of a type: `{ type, meta, payload }`.
   *
   * Replies to requests are the requests' own. "ERROR" has the error frames that
   * belong to no request.
   */
  on(message, handler) {
    const type = typeOf(message);
    if (!this.#handlers.has(type)) this.#handlers.set(type, []);
    return subscribe(this.#handlers.get(type), handler);
  }

  /** Call back with every message that has no handler. */
  onUnhandled(callback) {
    return subscribe(this.#unhandledListeners, callback);
  }

  /**
   * Call back with what no caller hears of: `(error, { type, details })`.
   *
   * `type` is "parse", "validation", "overflow", "server" (an error frame of no request),
   * "auth" (`getToken` threw) or "handler" (yours threw). Unheard errors go to the console.
   */
  onError(callback) {
    return subscribe(this.#errorListeners, callback);
  }

  /**
   * Send a message, now or when there is a connection. Never throws.
   *
   * Returns whether it was sent or queued; false: it never will be.
   */
  send(message, payload, options = {}) {
    try {
      const frame = encode(typeOf(message), metaOf(options), textOf(payload));
      return this.#dispatch({ frame: () => frame });
    } catch (error) {
      this.#report(error, "validation", { message });
      return false;
    }
  }

  /**
   * Send a request; the promise is of its reply, `{ type, meta, payload }`.
   *
   *     await client.request(type, payload, { timeoutMs, signal, onProgress, idempotencyKey })
   *     await client.request(type, payload, replyType, options)
   *     for await (const value of client.request(type, payload)) …    // its progress
   *
   * Never throws; fails with a ServerError, TimeoutError, ConnectionClosedError, StateError
   * or ValidationError. The time counts from when the request is sent, and the server is told.
   */
  request(message, payload, ...rest) {
    try {
      const named = rest.length > 1 || typeof rest[0] === "string" || rest[0]?.type;
      const reply = (named && rest.shift()) || message?.response;
      const options = rest[0] ?? {};
      const request = new Request(typeOf(message), reply && typeOf(reply), textOf(payload), options);
      this.#begin(request, options.onProgress);
      return asCall(request, () => this.#abort(request));
    } catch (error) {
      return asCall({ follow: () => throwing(error), promise: Promise.reject(error) }, noop);
    }
  }

  // -- requests

  #begin(request, onProgress) {
    const { signal, timeoutMs } = request;
    if (!(timeoutMs > 0)) throw new ValidationError(`timeoutMs is a number above 0, not ${timeoutMs}.`);
    if (signal?.aborted) throw new StateError("Request aborted before it was sent.", { cause: signal.reason });
    if (this.#pending.size >= this.#options.pendingRequestsLimit) {
      throw new StateError(`${this.#pending.size} requests are pending: pendingRequestsLimit is reached.`);
    }
    if (this.#pending.has(request.id)) throw new StateError("A request with this correlationId is pending.");
    if (onProgress) request.listen(onProgress);
    this.#pending.set(request.id, request);
    request.onAbort = () => this.#abort(request);
    signal?.addEventListener("abort", request.onAbort);
    if (!this.#dispatch(request)) {
      this.#fail(request, new StateError("There is no connection, and the queue is off or full."));
    } else if (!request.sent) {
      const { queueTimeoutMs } = request;
      const tooLate = new TimeoutError(queueTimeoutMs, `No connection within ${queueTimeoutMs} ms.`);
      request.schedule(() => this.#fail(request, tooLate), queueTimeoutMs);
    }
  }

  /** Take a request out of everything; whether it had not ended before. */
  #settle(request) {
    if (request.settled) return false;
    request.settled = true;
    request.clearTimers();
    request.signal?.removeEventListener("abort", request.onAbort);
    this.#pending.delete(request.id);
    if (!request.sent) this.#queue = this.#queue.filter((item) => item !== request);
    return true;
  }

  #fail(request, error) {
    if (this.#settle(request)) request.reject(error);
  }

  /** Fail a request whose answer may still come. */
  #abandon(request, error) {
    if (request.sent) this.#abandoned.add(request.id);
    this.#fail(request, error);
  }

  #abort(request) {
    if (request.settled) return;
    this.#abandon(request, new StateError("Request aborted.", { cause: request.signal?.reason }));
    if (request.sent) this.#link?.send(control("$ws:abort", { correlationId: request.id }));
  }

  #answered(request, frame) {
    if (!this.#settle(request)) return;
    const { type } = frame;
    const { expected } = request;
    if (ERROR_TYPES.has(type)) {
      const error = errorOf(frame);
      // Where the page was busy as the time ended, the server's word of it is read before its own timer.
      const late = error.code === "DEADLINE_EXCEEDED" && request.deadline !== null && Date.now() >= request.deadline;
      request.reject(late ? new TimeoutError(request.timeoutMs) : error);
    } else if (!expected || type === expected) request.resolve(frame);
    else {
      const message = `The reply to ${request.type} is ${type}, not ${expected}.`;
      request.reject(new ValidationError(message, [{ path: ["type"], message }]));
    }
  }

  // -- out

  #dispatch(item) {
    if (this.#options.autoConnect && !this.#touched) this.connect();
    if (!this.#link?.isUsable) return this.#enqueue(item);
    this.#transmit(item);
    return true;
  }

  #transmit(item) {
    this.#link.send(item.frame());
    this.#link.remember(item);
    if (!(item instanceof Request)) return;
    item.clearTimers();
    item.sent = true;
    const { timeoutMs, deadline } = item;
    if (deadline) item.schedule(() => this.#abandon(item, new TimeoutError(timeoutMs)), deadline - Date.now());
  }

  #enqueue(item) {
    const { queue, queueSize } = this.#options;
    if (queue === "off") return false;
    if (this.#queue.length >= queueSize) {
      const error = new StateError(`${queueSize} messages wait for a connection: the ${queue.slice(5)} was dropped.`);
      this.#report(error, "overflow");
      if (queue === "drop-newest" || queueSize < 1) return false;
      const dropped = this.#queue.shift();
      if (dropped instanceof Request) this.#fail(dropped, error);
    }
    this.#queue.push(item);
    return true;
  }

  #flush() {
    while (this.#queue.length && this.#link?.isUsable) this.#transmit(this.#queue.shift());
  }

  // -- in

  #received(link, data) {
    link.heard(this.#options.heartbeat, () => this.#dead(link));
    let frame;
    try {
      frame = decode(data);
    } catch (error) {
      return this.#report(error, "parse");
    }
    const { type, meta } = frame;
    const request = this.#pending.get(meta.correlationId);
    if (type === "$ws:ping") link.send(control("$ws:pong", { echo: meta.timestamp }));
    else if (type === "$ws:bye") link.bye = frame.data ?? {};
    else if (type === "$ws:rpc-progress") request?.progressed(frame.data, (error) => this.#report(error, "handler"));
    else if (type.startsWith("$") || type.startsWith("__")) return;
    else if (request) this.#answered(request, frame);
    // The late answer to a request that timed out or was aborted.
    else if (!this.#abandoned.delete(meta.correlationId)) this.#handle(frame);
  }

  #handle(frame) {
    const isError = ERROR_TYPES.has(frame.type);
    const handlers = this.#handlers.get(isError ? "ERROR" : frame.type) ?? [];
    this.#call(handlers, frame);
    if (isError) {
      if (this.#errorListeners.length || !handlers.length) this.#report(errorOf(frame), "server", frame);
    } else if (!handlers.length) this.#call(this.#unhandledListeners, frame);
  }

  /** Call each listener, whatever the others throw or unsubscribe. */
  #call(listeners, ...values) {
    for (const { callback } of [...listeners]) {
      try {
        callback(...values);
      } catch (error) {
        this.#report(error, "handler");
      }
    }
  }

  #report(error, type, details) {
    if (!this.#errorListeners.length) return console.error(error);
    for (const { callback } of [...this.#errorListeners]) {
      try {
        callback(error, { type, details });
      } catch (broken) {
        console.error(broken);
      }
    }
  }

  // -- the connection's life

  #setState(state, info = {}) {
    this.#state = state;
    if (state === "closed") unwatch(this.#wake);
    else watch(this.#wake);
    this.#call(this.#stateListeners, state, info);
  }

  async #open() {
    clearTimeout(this.#timer);
    // Whoever closes the client or starts another attempt meanwhile puts this link out of office.
    const link = (this.#link = new Link());
    this.#setState("connecting");
    let token;
    try {
      token = await this.#options.auth.getToken?.({ refresh: this.#refreshed });
    } catch (error) {
      this.#report(error, "auth");
      return this.#lost(link, 1006, "No token.", error);
    }
    if (this.#link !== link) return;
    try {
      link.socket = this.#makeSocket(token);
    } catch (error) {
      return this.#stop(1006, "", error); // the same would happen again
    }
    link.socket.onopen = () => this.#opened(link);
    link.socket.onmessage = ({ data }) => this.#received(link, data);
    link.socket.onclose = ({ code, reason }) => this.#lost(link, code, reason);
  }

  #makeSocket(token) {
    const { auth, protocols, wsFactory } = this.#options;
    const url = new URL(this.#options.url, globalThis.location?.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    let offered = [protocols].flat();
    if (token && auth.attach === "query") url.searchParams.set(auth.queryParam, token);
    else if (token) {
      const carrier = auth.protocolPrefix + token;
      if (!/^[!#$%&'*+\-.^`|~\w]+$/.test(carrier)) {
        // The browser's own complaint would print the token.
        throw new TypeError('The token has characters that no subprotocol may have: use auth.attach "query".');
      }
      offered = auth.protocolPosition === "append" ? [...offered, carrier] : [carrier, ...offered];
    }
    return wsFactory(url.href, [...new Set(offered.filter(Boolean))]);
  }

  #opened(link) {
    link.openedAt = Date.now();
    link.ping(); // first of all: see Link.unproven
    link.restart(this.#options.heartbeat, () => this.#dead(link));
    this.#protocol = link.socket.protocol;
    this.#setState("open");
    if (this.#link !== link) return; // a listener closed us
    this.#flush();
    this.#opening?.resolve();
    this.#opening = null;
  }

  /** The server shows no sign of life: the socket's own end could be minutes away. */
  #dead(link) {
    link.close(HEARTBEAT_TIMEOUT, "HEARTBEAT_TIMEOUT", noop);
    this.#lost(link, HEARTBEAT_TIMEOUT, "HEARTBEAT_TIMEOUT");
  }

  #lost(link, code, reason, cause) {
    if (this.#link !== link) return;
    const delay = this.#delayAfter(link, meaningOf(code));
    link.detach();
    this.#link = null;
    this.#protocol = "";
    this.#abandoned.clear();
    this.#saveRequests(link, code, reason, delay !== null);
    if (delay === null) return this.#stop(code, reason, cause);
    this.#timer = later(() => this.#open(), delay);
    this.#setState("reconnecting", { code, reason, retryInMs: delay });
  }

  /** How long to wait before the next attempt; null: there is to be none. */
  #delayAfter(link, code) {
    const { reconnect, auth } = this.#options;
    if (link.hasLasted) {
      this.#attempts = 0;
      this.#refreshed = false;
    }
    if (!reconnect.enabled || FINAL.has(code) || link.bye?.reconnect === false) return null;
    if (code === UNAUTHENTICATED) {
      if (!auth.getToken || this.#refreshed) return null;
      this.#refreshed = true;
    }
    if (++this.#attempts > reconnect.maxAttempts) return null;
    const most = Math.min(reconnect.maxDelayMs, reconnect.initialDelayMs * 2 ** (this.#attempts - 1));
    const asked = link.bye?.retryAfterMs ?? 0;
    this.#notBefore = Date.now() + asked;
    return asked + (reconnect.jitter === "full" ? Math.random() * most : most);
  }

  /** Queue again what was not read, or may be read twice; fail the other requests. */
  #saveRequests(link, code, reason, comesBack) {
    const unread = REFUSALS.has(code) && !link.hasLasted && link.unproven;
    const saved = (unread || []).filter((item) => !item.settled);
    for (const request of this.#pending.values()) {
      if (!request.sent) continue;
      request.sent = false;
      if (unread) {
        request.clearTimers();
        request.deadline = null;
      } else if (comesBack && request.idempotencyKey !== undefined) {
        saved.push(request);
        request.schedule(() => this.#fail(request, lostRequest(request, code, reason)), this.#options.resendWindowMs);
      } else this.#fail(request, lostRequest(request, code, reason));
    }
    this.#queue.unshift(...saved);
  }

  /** Give up: there is no connection, and there will be none. */
  #stop(code, reason, cause) {
    this.#link = null;
    const why = cause?.message ?? (reason || "no reason given");
    const error = new ConnectionClosedError(`The connection has ended with ${code}: ${why}`, code, reason, { cause });
    this.#giveUp(error);
    this.#closed(error, code, reason);
  }

  /** Fail all requests. Messages stay queued for the next `connect()`. */
  #giveUp(error) {
    for (const request of [...this.#pending.values()]) this.#fail(request, error);
    this.#abandoned.clear();
  }

  #closed(error, code, reason) {
    const [opening, closing] = [this.#opening, this.#closing];
    this.#opening = this.#closing = null;
    this.#protocol = "";
    this.#setState("closed", { code, reason });
    opening?.reject(error);
    closing?.resolve();
  }

  /** The network or the user is back: do not sit out a backoff, and do not trust an old socket. */
  #wake = ({ type }) => {
    if (type === "visibilitychange" && document.visibilityState === "hidden") return;
    const { heartbeat } = this.#options;
    const link = this.#link;
    if (this.#state === "open" && heartbeat) link.probe(heartbeat, () => this.#dead(link));
    if (this.#state !== "reconnecting") return;
    clearTimeout(this.#timer);
    // What the server asked for is not ours to cut short.
    this.#timer = later(() => this.#open(), Math.max(0, this.#notBefore - Date.now()));
  };
}

function lostRequest({ type, idempotencyKey }, code, reason) {
  const wayOut =
    idempotencyKey === undefined
      ? "Give it an idempotencyKey to have it sent again."
      : "It could not be sent again within resendWindowMs.";
  const lost = `The connection was lost (${code}) before the reply to ${type}`;
  const message = `${lost}; whether the server has acted on it is unknown. ${wayOut}`;
  return new ConnectionClosedError(message, code, reason);
}

/** What `request()` returns: the promise of the reply, which can be aborted and iterated over. */
function asCall(request, abort) {
  const follow = () => {
    request.promise.catch(noop); // whoever iterates gets the error there
    return request.follow();
  };
  return Object.assign(request.promise, { abort, [Symbol.asyncIterator]: follow });
}

async function* throwing(error) {
  throw error;
}

/** Add a callback; returns what removes exactly this one again. */
function subscribe(listeners, callback) {
  const entry = { callback };
  listeners.push(entry);
  return () => {
    const index = listeners.indexOf(entry);
    if (index >= 0) listeners.splice(index, 1);
  };
}

function watch(wake) {
  globalThis.addEventListener?.("online", wake);
  globalThis.document?.addEventListener("visibilitychange", wake);
}

function unwatch(wake) {
  globalThis.removeEventListener?.("online", wake);
  globalThis.document?.removeEventListener("visibilitychange", wake);
}
