// Requests over a WebSocket: each is answered once, perhaps after progress.

/** Why a request got no reply: the server's error code and sentence, or UNAVAILABLE. */
export class RequestFailed extends Error {
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}

export class Requests {
  #send;
  #pending = new Map(); // by id: { resolve, reject, onProgress, signal, abort }
  #count = 0;

  /** `send(type, payload, meta)` sends a frame, or returns false without a connection. */
  constructor(send) {
    this.#send = send;
  }

  /**
   * Returns a promise of the reply's payload; it fails with a RequestFailed.
   *
   * Aborting the signal stops the server's work as well, and fails with the signal's reason.
   */
  request(type, payload, { onProgress, signal } = {}) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const id = `request-${(this.#count += 1)}`;
      if (!this.#send(type, payload, { correlationId: id })) {
        throw new RequestFailed({ code: "UNAVAILABLE", message: "There is no connection at the moment." });
      }
      const abort = () => {
        this.#take(id).reject(signal.reason);
        this.#send("$ws:abort", undefined, { correlationId: id });
      };
      signal?.addEventListener("abort", abort);
      this.#pending.set(id, { resolve, reject, onProgress, signal, abort });
    });
  }

  /** Takes a frame from the server; returns whether it belongs to a request that waits. */
  receive({ type, meta, payload, data }) {
    const id = meta.correlationId;
    if (!this.#pending.has(id)) return false;
    if (type === "$ws:rpc-progress") this.#pending.get(id).onProgress?.(data);
    else if (type === "RPC_ERROR" || type === "ERROR") this.#take(id).reject(new RequestFailed(payload));
    else this.#take(id).resolve(payload);
    return true;
  }

  /** The connection is gone: no request that waits will be answered. */
  lost() {
    const why = { code: "UNAVAILABLE", message: "The connection was lost." };
    for (const id of [...this.#pending.keys()]) this.#take(id).reject(new RequestFailed(why));
  }

  #take(id) {
    const waiting = this.#pending.get(id);
    this.#pending.delete(id);
    waiting.signal?.removeEventListener("abort", waiting.abort);
    return waiting;
  }
}
