// The log's entries: bounded, filtered, and kept in this tab's sessionStorage over a reload.

import { bytesOf } from "./dom.js";

const MOST = 1000;
const MOST_SAVED = 300;
const MOST_SAVED_CHARACTERS = 500_000;
const KEY = "wskit-docs:log";
const ERRORS = new Set(["ERROR", "RPC_ERROR"]);

export class Store extends EventTarget {
  entries = [];
  dropped = 0;
  #last = 0;
  #timer = null;

  constructor(user) {
    super();
    this.user = user;
    addEventListener("pagehide", () => this.#save());
  }

  /** One frame; `exchange` if it begins one, `parent` if it belongs to one. */
  add(router, dir, text, frame, { exchange = null, parent = null } = {}) {
    const type = typeof frame?.type === "string" ? frame.type : "(no frame)";
    return this.#push({
      dir,
      type,
      text,
      router: router.key,
      at: Date.now(),
      size: bytesOf(text),
      exchange,
      parent: parent?.entry?.n ?? null,
      since: parent && dir === "in" ? parent.age : null,
      isError: ERRORS.has(type),
      summary: summaryOf(frame, text),
    });
  }

  /** A remark on the connection. */
  note(router, text, isError = false) {
    const about = { dir: "note", type: "", router: router.key, at: Date.now(), size: 0 };
    this.#push({ ...about, text, summary: text, exchange: null, parent: null, since: null, isError });
  }

  #push(entry) {
    entry.n = this.#last += 1;
    this.entries.push(entry);
    const lost = [];
    while (this.entries.length > MOST) lost.push(this.#dropOne());
    this.dispatchEvent(new CustomEvent("added", { detail: { entry, lost } }));
    this.#timer ??= setTimeout(() => this.#save(), 500);
    return entry;
  }

  /** The oldest entry goes; a request stays for as long as something that belongs to it is there. */
  #dropOne() {
    this.dropped += 1;
    const parents = new Set(this.entries.map((entry) => entry.parent));
    const at = this.entries.findIndex((entry) => !parents.has(entry.n));
    return this.entries.splice(at, 1)[0];
  }

  clear() {
    this.entries = [];
    this.dropped = 0;
    this.#save();
    this.dispatchEvent(new Event("cleared"));
  }

  /** What an earlier page of this tab saw, unless somebody else was signed in then. */
  restore() {
    try {
      const { user, entries } = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
      if (user !== this.user || !entries?.length) return sessionStorage.removeItem(KEY);
      this.entries = entries;
      this.#last = Math.max(...entries.map(({ n }) => n));
      this.note({ key: entries.at(-1).router }, "The page was loaded again; what is above is from before.");
    } catch {
      // Storage is off or holds something else: the log begins empty.
    }
  }

  #save() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const saved = [];
    let room = MOST_SAVED_CHARACTERS;
    for (const { exchange, ...entry } of this.entries.slice(-MOST_SAVED).reverse()) {
      room -= entry.text.length;
      if (room < 0) break;
      saved.unshift(entry);
    }
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ user: this.user, entries: saved }));
    } catch {
      // Storage is off or full: the log is then gone with the page.
    }
  }
}

/** What one line can say of a frame. */
function summaryOf(frame, text) {
  if (!frame) return text.slice(0, 200);
  if (ERRORS.has(frame.type)) return `${frame.payload?.code}: ${frame.payload?.message}`;
  const body = frame.payload ?? frame.data;
  return body === undefined ? "" : JSON.stringify(body).slice(0, 200);
}

/** Whether an entry is one of those that a filter, `{ dir, kind, text }`, asks for. */
export function passes(entry, { dir, kind, text }) {
  if (dir && entry.dir !== dir) return false;
  if (kind === "(errors)" ? !entry.isError : kind && entry.type !== kind) return false;
  return !text || `${entry.type} ${entry.text}`.toLowerCase().includes(text.toLowerCase());
}

/** Entries as lines of JSON, for the clipboard. */
export function asLines(entries) {
  return entries
    .map(({ at, dir, text }) => JSON.stringify({ at: new Date(at).toISOString(), dir, [dir === "note" ? "note" : "frame"]: text }))
    .join("\n");
}
