// Plays one scenario of scenarios.json over the JavaScript client; see tests/clients/README.md.

import * as wskit from "wskit";

const PATIENCE_MS = 10_000;

/** Plays the scenario; returns "" or what went wrong. */
export async function play(scenario, url) {
  const run = JSON.parse(JSON.stringify(scenario).replaceAll("$key", `run-${crypto.randomUUID()}`));
  const stage = new Stage(run, url);
  try {
    for (const [index, step] of run.steps.entries()) {
      const { client: name = "a" } = step;
      try {
        await within(stage.actor(name)[step.do](step));
      } catch (error) {
        return `step ${index + 1}, ${JSON.stringify(step)}: ${error.message}`;
      }
    }
    return "";
  } finally {
    await stage.close();
  }
}

class Stage {
  #actors = new Map();

  constructor(scenario, url) {
    this.options = scenario.clients ?? {};
    this.types = new Set(scenario.steps.filter((step) => step.do === "event").map((step) => step.type));
    this.url = url;
  }

  actor(name) {
    if (!this.#actors.has(name)) this.#actors.set(name, new Actor(this.url, this.options[name] ?? {}, this.types));
    return this.#actors.get(name);
  }

  close() {
    return Promise.all([...this.#actors.values()].map((actor) => actor.client.close()));
  }
}

/** One client; each method is a kind of step. */
class Actor {
  frames = [];
  calls = new Map();
  lastClose = {};

  constructor(url, { tokens, attach = "query", reconnect, ...options }, types) {
    let count = 0;
    const getToken = tokens && (() => tokens[Math.min(count++, tokens.length - 1)]);
    this.client = wskit.wsClient({
      url,
      reconnect: { initialDelayMs: 20, maxDelayMs: 200, ...reconnect },
      auth: { getToken, attach },
      ...options,
    });
    for (const type of types) this.client.on(type, (frame) => this.frames.push(frame));
    this.client.onState((state, info) => {
      if (info.code) this.lastClose = info;
    });
    this.client.onError(() => {}); // a scenario says what it expects of each step
  }

  async connect({ error }) {
    const failure = await failureOf(this.client.connect());
    same(failure && described(failure), error ?? undefined);
  }

  async send({ type, payload, returns = true }) {
    same(this.client.send(type, payload), returns);
  }

  async request(step) {
    const { type, payload, call, timeoutMs, idempotencyKey } = step;
    const controller = new AbortController();
    const progress = [];
    const { signal } = controller;
    const onProgress = (value) => progress.push(value);
    const promise = this.client.request(type, payload, { timeoutMs, idempotencyKey, signal, onProgress });
    promise.catch(() => {});
    const made = { promise, progress, controller };
    if (call) this.calls.set(call, made);
    else await judge(made, step);
  }

  async progress({ call, first }) {
    const { progress } = this.calls.get(call);
    await until(() => progress.length >= first.length);
    same(progress.slice(0, first.length), first);
  }

  async abort({ call }) {
    this.calls.get(call).controller.abort();
  }

  async outcome(step) {
    await judge(this.calls.get(step.call), step);
  }

  async event({ type, payload, meta = {} }) {
    await until(() => this.frames.length > 0);
    const { type: came, payload: content, meta: { timestamp, ...rest } } = this.frames.shift();
    same({ type: came, payload: content, meta: rest }, { type, payload, meta });
    if (!Number.isInteger(timestamp)) throw new Error("no timestamp");
  }

  async silence() {
    if (this.client.isConnected) await this.client.request("PING");
    same(this.frames, []);
  }

  async state({ is, code }) {
    await until(() => this.client.state === is);
    if (code !== undefined) same(this.lastClose.code, code);
  }

  async protocol({ is }) {
    same(this.client.protocol, is);
  }

  async close() {
    await this.client.close();
    same(this.client.state, "closed");
  }
}

async function judge({ promise, progress }, expected) {
  const failure = await failureOf(promise);
  if (expected.error) same(failure && described(failure), expected.error);
  else {
    if (failure) throw failure;
    const { type, payload } = await promise;
    same({ type, payload }, { payload: undefined, ...expected.reply });
  }
  if (expected.progress) same(progress, expected.progress);
}

const failureOf = (promise) =>
  promise.then(
    () => undefined,
    (error) => error,
  );

/** An error in the scenarios' terms. */
function described(error) {
  if (error instanceof wskit.ServerError) {
    const { code, message, details, retryable, retryAfterMs } = error;
    return { kind: "server", code, message, details, retryable, retryAfterMs };
  }
  if (error instanceof wskit.TimeoutError) return { kind: "timeout" };
  if (error instanceof wskit.ConnectionClosedError) return { kind: "closed", code: error.code };
  if (error instanceof wskit.StateError && error.message.startsWith("Request aborted")) return { kind: "aborted" };
  if (error instanceof wskit.StateError) return { kind: "state" };
  throw error;
}

function same(found, expected) {
  if (!matches(found, expected)) throw new Error(`${JSON.stringify(found)} is not ${JSON.stringify(expected)}`);
}

/** Whether two JSON values are the same; "$any" is whatever is there, a missing key an undefined one. */
function matches(found, expected) {
  if (expected === "$any") return found !== undefined;
  if (typeof found !== "object" || typeof expected !== "object" || !found || !expected) return found === expected;
  if (Array.isArray(found) !== Array.isArray(expected)) return false;
  const keys = new Set([...Object.keys(found), ...Object.keys(expected)]);
  return [...keys].every((key) => matches(found[key], expected[key]));
}

async function until(condition) {
  const giveUp = performance.now() + PATIENCE_MS;
  while (!condition()) {
    if (performance.now() > giveUp) throw new Error("it never came to that");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function within(promise) {
  const tooLate = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("ten seconds have passed")), PATIENCE_MS);
  });
  return Promise.race([promise, tooLate]);
}
