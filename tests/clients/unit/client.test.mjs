// The JavaScript client without a network: its sockets and its time are made up.
//
// Run by tests/clients/test_javascript_units.py, or by hand: node --test tests/clients/unit/

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, mock, test } from "node:test";

// Not imported by its path: Node takes a .js file for CommonJS where no package.json says otherwise.
const SOURCE = new URL("../../../wskit_channels/static/wskit_channels/client.js", import.meta.url);
const text = encodeURIComponent(await readFile(SOURCE, "utf8"));
const { wsClient, ConnectionClosedError, TimeoutError } = await import(`data:text/javascript,${text}`);

class FakeSocket {
  readyState = 0;
  protocol = "";
  sent = [];

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
  }

  send(frame) {
    this.sent.push(JSON.parse(frame));
  }

  close(code, reason) {
    this.closedWith = [code, reason];
    this.readyState = 2;
  }

  // What the network does:

  accept() {
    this.readyState = 1;
    this.onopen({});
  }

  receive(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }

  end(code, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** Types of what was sent, without our first ping. */
  get types() {
    return this.sent.slice(1).map(({ type }) => type);
  }
}

let sockets;
let states;
let delays;

const settled = () => new Promise(setImmediate);
const socket = () => sockets.at(-1);

function make(options = {}) {
  const wsFactory = (url, protocols) => sockets[sockets.push(new FakeSocket(url, protocols)) - 1];
  const client = wsClient({ url: "ws://server/ws/", wsFactory, ...options });
  client.onState((state, { retryInMs }) => {
    states.push(state);
    if (retryInMs !== undefined) delays.push(retryInMs);
  });
  client.onError(() => {});
  return client;
}

async function opened(options) {
  const client = make(options);
  client.connect();
  await settled();
  socket().accept();
  return client;
}

/** Sit out the backoff and have the next connection accepted. */
async function comeBack() {
  mock.timers.tick(delays.at(-1));
  await settled();
  socket().accept();
}

beforeEach(() => {
  [sockets, states, delays] = [[], [], []];
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  mock.method(Math, "random", () => 0.5);
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

test("backoff doubles to its ceiling, and full jitter draws from all of it", async () => {
  make().connect();
  for (let i = 0; i < 8; i++) {
    await settled();
    socket().end(1006);
    mock.timers.tick(delays.at(-1));
  }
  assert.deepEqual(delays, [150, 300, 600, 1200, 2400, 4800, 5000, 5000]);
});

test("an attempt is not made before its time", async () => {
  await opened();
  socket().end(1006);
  mock.timers.tick(149);
  await settled();
  assert.equal(sockets.length, 1);
  mock.timers.tick(1);
  await settled();
  assert.equal(sockets.length, 2);
});

test("a connection that has lasted starts the backoff anew, a short one does not", async () => {
  await opened();
  socket().end(1006);
  await comeBack();
  socket().end(1006);
  await comeBack();
  mock.timers.tick(5_000);
  socket().end(1006);
  assert.deepEqual(delays, [150, 300, 150]);
});

for (const [code, state] of [
  [1000, "closed"],
  [1008, "closed"],
  [4008, "closed"],
  [4401, "closed"],
  [4403, "closed"],
  [1001, "reconnecting"],
  [1005, "reconnecting"],
  [1006, "reconnecting"],
  [1009, "reconnecting"],
  [1011, "reconnecting"],
  [1012, "reconnecting"],
  [1013, "reconnecting"],
  [4000, "reconnecting"],
  [4009, "reconnecting"],
  [4011, "reconnecting"],
  [4012, "reconnecting"],
  [4013, "reconnecting"],
  [4429, "reconnecting"],
]) {
  test(`after ${code} the client is ${state}`, async () => {
    const client = await opened();
    socket().end(code);
    assert.equal(client.state, state);
  });
}

test("a session that ends after long use gets its one fresh token again", async () => {
  const asked = [];
  await opened({ auth: { getToken: ({ refresh }) => (asked.push(refresh), "token") } });
  for (let i = 0; i < 3; i++) {
    mock.timers.tick(3_600_000);
    socket().end(4401);
    await comeBack();
  }
  assert.deepEqual(asked, [false, true, true, true]);
  socket().end(4401);
  assert.equal(states.at(-1), "closed");
});

test("after a goodbye the client waits as long as it was asked, and then its backoff", async () => {
  await opened();
  socket().receive({ type: "$ws:bye", meta: {}, data: { code: 1012, reconnect: true, retryAfterMs: 2000 } });
  socket().end(1012);
  assert.deepEqual(delays, [2150]);
  await comeBack();
  socket().end(1012); // without a goodbye
  assert.deepEqual(delays, [2150, 300]);
});

test("the heartbeat is put off by whatever comes, and a silent server is left", async () => {
  const client = await opened({ heartbeat: { intervalMs: 1000, timeoutMs: 300 } });
  const first = socket();
  mock.timers.tick(900);
  first.receive({ type: "NEWS" });
  mock.timers.tick(900);
  assert.deepEqual(first.types, []);
  mock.timers.tick(100);
  assert.deepEqual(first.types, ["$ws:ping"]);
  first.receive({ type: "$ws:pong", meta: {} });
  mock.timers.tick(1000);
  mock.timers.tick(299);
  assert.equal(client.state, "open");
  mock.timers.tick(1);
  assert.equal(client.state, "reconnecting");
  assert.deepEqual(first.closedWith, [4000, "HEARTBEAT_TIMEOUT"]);
  first.end(1006); // the corpse is heard of no more
  assert.deepEqual(states, ["connecting", "open", "reconnecting"]);
});

test("without a heartbeat nothing is sent unasked", async () => {
  await opened();
  mock.timers.tick(86_400_000);
  assert.deepEqual(socket().types, []);
});

test("what a refused connection did not read is sent again, in order", async () => {
  const client = await opened();
  client.send("ONE");
  const asked = client.request("TWO");
  client.send("THREE");
  socket().end(4429);
  await comeBack();
  assert.deepEqual(socket().types, ["ONE", "TWO", "THREE"]);
  socket().receive({ type: "REPLY", meta: { correlationId: socket().sent[2].meta.correlationId } });
  assert.equal((await asked).type, "REPLY");
});

test("what may have been read is not sent again: something came first", async () => {
  const client = await opened();
  client.send("ONE");
  const asked = client.request("TWO").catch((error) => error);
  socket().receive({ type: "$ws:pong", meta: {} });
  socket().end(4429);
  await comeBack();
  assert.deepEqual(socket().types, []);
  assert.ok((await asked) instanceof ConnectionClosedError);
});

test("what may have been read is not sent again: the connection lasted", async () => {
  const client = await opened();
  client.send("ONE");
  mock.timers.tick(5_000);
  socket().end(4429);
  await comeBack();
  assert.deepEqual(socket().types, []);
});

test("a lost connection is no refusal", async () => {
  const client = await opened();
  client.send("ONE");
  socket().end(1006);
  await comeBack();
  assert.deepEqual(socket().types, []);
});

test("a resent request has the rest of its time, and keeps its place before what is newer", async () => {
  const client = await opened();
  const asked = client.request("PAY", { sum: 1 }, { idempotencyKey: "k", timeoutMs: 10_000 }).catch((error) => error);
  const [, first] = socket().sent;
  mock.timers.tick(4_000);
  socket().end(1006);
  client.send("NEWER");
  await comeBack();
  const [, second, third] = socket().sent;
  assert.deepEqual(second, { ...first, meta: { ...first.meta, timeoutMs: 10_000 - 4_150 } });
  assert.equal(third.type, "NEWER");
  mock.timers.tick(5_849);
  assert.equal(await Promise.race([asked, "pending"]), "pending");
  mock.timers.tick(1);
  assert.ok((await asked) instanceof TimeoutError);
});

test("a request carries all of its time when it first leaves, however slow the machine", async () => {
  const client = await opened();
  let now = Date.now();
  const clock = mock.method(Date, "now", () => now++);
  const call = client.request("PING", undefined, { timeoutMs: 900.5 });
  clock.mock.restore();
  call.catch(() => {});

  assert.equal(socket().sent.at(-1).meta.timeoutMs, 901);
});

for (const [moment, passed, name] of [
  ["after the request's own time", 80, "TimeoutError"],
  ["before it", 79, "ServerError"],
]) {
  test(`a deadline that the server tells ${moment} is a ${name}`, async () => {
    const client = await opened();
    const call = client.request("SLEEP", undefined, { timeoutMs: 80, correlationId: "t" }).catch((error) => error);
    // The clock alone goes on: a page whose thread was busy finds the frame before its timer.
    const busy = mock.method(Date, "now", () => 1_000_000 + passed);
    const payload = { code: "DEADLINE_EXCEEDED", message: "Deadline exceeded" };
    socket().receive({ type: "RPC_ERROR", meta: { correlationId: "t" }, payload });
    busy.mock.restore();

    assert.equal((await call).name, name);
  });
}

test("the window for resending starts with the loss and ends with the resending", async () => {
  const client = await opened({ resendWindowMs: 100, reconnect: { initialDelayMs: 20 } });
  const asked = client.request("PAY", {}, { idempotencyKey: "k" });
  socket().end(1006);
  await comeBack();
  mock.timers.tick(1_000);
  assert.equal(await Promise.race([asked, "pending"]), "pending");
});

test("an aborted request that waits to be resent is not", async () => {
  const client = await opened();
  const asked = client.request("PAY", {}, { idempotencyKey: "k" });
  asked.catch(() => {});
  socket().end(1006);
  asked.abort();
  await comeBack();
  assert.deepEqual(socket().types, []);
});

test("an abandoned id is forgotten with its answer", async () => {
  const client = await opened();
  const strays = [];
  client.onUnhandled(({ type }) => strays.push(type));
  client.request("SLOW", {}, { correlationId: "i", timeoutMs: 10 }).catch(() => {});
  mock.timers.tick(10);
  socket().receive({ type: "LATE", meta: { correlationId: "i" } });
  socket().receive({ type: "STRAY", meta: { correlationId: "i" } });
  assert.deepEqual(strays, ["STRAY"]);
});

test("a request that has ended leaves no listener on its signal", async () => {
  const client = await opened();
  const { signal } = new AbortController();
  const asked = client.request("ASK", {}, { signal, correlationId: "i" });
  assert.equal(getEventListeners(signal, "abort").length, 1);
  socket().receive({ type: "REPLY", meta: { correlationId: "i" } });
  await asked;
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("an id can be made where the page is not secure", async () => {
  const { randomUUID } = crypto;
  crypto.randomUUID = undefined;
  try {
    const client = await opened();
    client.request("ONE").catch(() => {});
    client.request("TWO").catch(() => {});
  } finally {
    crypto.randomUUID = randomUUID;
  }
  const [one, two] = socket().sent.slice(1).map(({ meta }) => meta.correlationId);
  assert.match(one, /^[0-9a-f]{32}$/);
  assert.notEqual(one, two);
});

test("a payload is taken as it is when it is sent, not when it leaves", async () => {
  const client = make();
  const payload = { value: 1 };
  client.send("SEND", payload);
  client.request("ASK", payload).catch(() => {});
  payload.value = 2;
  client.connect();
  await settled();
  socket().accept();
  assert.deepEqual(
    socket().sent.slice(1).map((frame) => frame.payload),
    [{ value: 1 }, { value: 1 }],
  );
});

test("a queue of no size is no queue", () => {
  assert.equal(make({ queueSize: 0, queue: "drop-oldest" }).send("ONE"), false);
});

test("an option that is undefined has its default", async () => {
  const reconnect = { initialDelayMs: undefined, jitter: undefined };
  make({ queue: undefined, auth: undefined, reconnect }).connect();
  await settled();
  socket().end(1006);
  assert.deepEqual(delays, [150]);
});
