// A message that clients send: its form, what becomes of it, and its reference below.

import { frameText, renewed } from "./connection.js";
import { button, durationText, freshId, h, jsonBox, pretty, prose, randomId } from "./dom.js";
import { Form } from "./form.js";
import { heading, routeReference } from "./reference.js";
import { blankOf, exampleOf } from "./schema.js";

export class TryPanel {
  #mode = "form";
  #last = null;
  #timer = null;

  /** `page` has `connected(router)`, a promise of a connection, and `draft`, a place to keep text. */
  constructor(route, router, page) {
    Object.assign(this, { route, router, page });
    const { message, response } = route;
    this.hasPayload = message.payload !== null;
    this.text = h("textarea.code", { rows: 8, spellcheck: "false", "aria-label": "Payload as JSON", hidden: true });
    this.text.addEventListener("input", () => page.draft.set(this.text.value));
    if (this.hasPayload) this.form = new Form(message.payload, router.definitions, () => this.#changed());
    this.meta = message.meta && new Form(message.meta, router.definitions, () => {});
    this.element = h(
      "article",
      { "aria-label": message.type },
      heading(message.type, response ? "request" : "event"),
      ...prose(message.doc),
      ...prose(route.doc === message.doc ? "" : route.doc),
      h("p.source", {}, "Handled in ", h("code", {}, route.source), route.idempotent && ", idempotent"),
      this.#formElement(),
      this.#resultElement(),
      ...routeReference(route, router).filter(Boolean),
    );
    if (this.hasPayload) this.#begin(page.draft.get());
  }

  // -- making

  #formElement() {
    const title = h("h3", {}, "Try it");
    const form = h("form.try", { novalidate: true, "aria-label": `Send ${this.route.message.type}` }, h("div.try-head", {}, title, this.hasPayload && this.#modes()));
    form.append(this.hasPayload ? h("div", {}, this.form.element, this.text) : h("p.notice", {}, "This message has no payload."));
    this.send = h("button.main", { type: "submit", "aria-keyshortcuts": "Control+Enter" }, "Send");
    this.cancel = button("Cancel", () => this.abort(), { hidden: true, "aria-keyshortcuts": "Escape" });
    this.refusal = h("p.problem", { role: "alert" });
    form.append(this.#metaElement(), h("div.send", {}, this.send, this.cancel, h("span.hint", {}, h("kbd", {}, "Ctrl"), " ", h("kbd", {}, "Enter"))), this.refusal);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    return form;
  }

  #modes() {
    const name = freshId("mode");
    const radio = (mode, text) => {
      const input = h("input", { type: "radio", name, value: mode, checked: mode === this.#mode });
      input.addEventListener("change", () => this.#switch(mode));
      return h("label", {}, input, h("span", {}, text));
    };
    this.radios = h("span.modes", { role: "radiogroup", "aria-label": "Edit the payload as" }, radio("form", "Form"), radio("json", "JSON"));
    const { payload } = this.route.message;
    const { definitions } = this.router;
    const example = button("Example", () => this.load(exampleOf(payload, definitions)), { "aria-label": "Fill in the example" });
    const reset = button("Empty", () => this.load(blankOf(payload, definitions)), { "aria-label": "Empty the form" });
    return h("span.actions", {}, this.radios, example, reset);
  }

  #metaElement() {
    const { response, idempotent } = this.route;
    const input = (type, label, hint) => {
      const made = h("input", { id: freshId("m"), type, placeholder: hint, autocomplete: "off", spellcheck: "false" });
      return [made, h("div.field", {}, h("label.field-name", { for: made.id }, label), made)];
    };
    const parts = [];
    let part;
    [this.id, part] = input("text", "correlationId", "made for each frame");
    parts.push(part);
    if (response) {
      [this.timeout, part] = input("number", "timeoutMs", "the server’s own");
      this.timeout.min = 1;
      parts.push(part);
    }
    if (response && idempotent) {
      [this.key, part] = input("text", "idempotencyKey", "none");
      const fresh = button("New", () => (this.key.value = randomId()), { "aria-label": "New idempotencyKey" });
      this.key.after(fresh);
      parts.push(part);
    }
    const own = this.meta && h("div", {}, h("h4", {}, "Extended meta"), this.meta.element);
    return h("details.meta", { open: Boolean(this.route.message.meta?.required) }, h("summary", {}, "Meta"), h("div.meta-fields", {}, parts), own);
  }

  #resultElement() {
    this.status = h("p.outcome", { role: "status", "aria-label": "Result" });
    this.elapsed = h("span.elapsed", { "aria-hidden": "true" });
    this.progress = h("div.progress-now");
    this.answer = h("div");
    this.issues = h("ul.problems");
    const title = h("h3", {}, "Result");
    this.result = h("section.result", { "aria-label": "Result of the last one", hidden: true }, title, h("div.outcome-line", {}, this.status, this.elapsed), this.issues, this.progress, this.answer);
    return this.result;
  }

  // -- the payload, in two ways

  #begin(draft) {
    if (draft === null) {
      this.load(blankOf(this.route.message.payload, this.router.definitions));
      return;
    }
    try {
      this.load(JSON.parse(draft));
    } catch {
      this.text.value = draft;
      this.#show("json");
    }
  }

  /** Put a payload into form and text. */
  load(value) {
    if (!this.hasPayload) return;
    this.form.set(value);
    this.#changed();
  }

  #changed() {
    this.text.value = JSON.stringify(this.form.value, null, 2) ?? "";
    this.page.draft.set(this.text.value);
  }

  /** Go to the form or the JSON; broken JSON has no form, and stays where it is. */
  #switch(mode) {
    this.refusal.textContent = "";
    if (mode === "form") {
      try {
        this.form.set(JSON.parse(this.text.value));
      } catch (error) {
        this.refusal.textContent = `This is no JSON, so there is no form of it: ${error.message}`;
        this.#show("json");
        this.radios.querySelector("[value=json]").focus();
        return;
      }
    }
    this.#show(mode);
  }

  #show(mode) {
    this.#mode = mode;
    this.radios.querySelector(`[value=${mode}]`).checked = true;
    this.text.hidden = mode !== "json";
    this.form.element.hidden = mode === "json";
  }

  /** The payload as JSON text, or null where it is none and the visitor has to look. */
  #payloadText() {
    if (!this.hasPayload) return undefined;
    if (this.#mode === "form") {
      const { broken } = this.form;
      broken?.focus();
      if (broken) this.refusal.textContent = broken.validationMessage;
      return broken ? null : JSON.stringify(this.form.value);
    }
    try {
      JSON.parse(this.text.value);
      return this.text.value.trim(); // as it is: a long number stays long
    } catch (error) {
      this.refusal.textContent = `This is no JSON: ${error.message}. To send it anyway, use Raw frame.`;
      this.text.focus();
      return null;
    }
  }

  // -- sending

  async submit() {
    this.refusal.textContent = "";
    const payload = this.#payloadText();
    if (payload === null) return;
    try {
      const connection = await this.page.connected(this.router);
      this.follow(connection, connection.send(frameText(this.route.message.type, this.#metaNow(), payload), { isCall: this.isCall }));
    } catch (error) {
      this.refusal.textContent = `Not sent. ${error.message}`;
    }
  }

  get isCall() {
    return this.route.response !== null;
  }

  #metaNow() {
    const meta = { timestamp: Date.now(), correlationId: this.id.value || randomId() };
    if (this.timeout?.value) meta.timeoutMs = Number(this.timeout.value);
    if (this.key?.value) meta.idempotencyKey = this.key.value;
    return { ...meta, ...this.meta?.value };
  }

  abort() {
    if (this.#last?.exchange.isRunning) this.#last.connection.abort(this.#last.exchange);
  }

  /** Show what becomes of a frame of this type. */
  follow(connection, exchange) {
    this.#last = { connection, exchange };
    this.form?.clearProblems();
    this.meta?.clearProblems();
    this.result.hidden = false;
    exchange.onChange(() => this.#last.exchange === exchange && this.#showResult(exchange));
    this.#showResult(exchange);
  }

  #showResult(exchange) {
    const { state, answer, progress } = exchange;
    const time = durationText(exchange.took);
    const error = answer?.payload ?? {};
    const words = {
      running: "Waiting for the answer…",
      sent: "Sent. An event has no answer; what comes of it is in the log.",
      answered: `Answered in ${time} with ${answer?.type}.`,
      failed: `Failed after ${time}: ${error.code}. ${error.message ?? ""}`,
      lost: "The connection ended before an answer came.",
    };
    this.result.dataset.state = state;
    if (this.status.textContent !== words[state]) this.status.textContent = words[state];
    this.cancel.hidden = !exchange.isRunning;
    this.#clock(exchange);
    this.#showProgress(progress);
    const body = answer && (answer.payload === undefined ? h("p.notice", {}, "Without payload.") : jsonBox(pretty(JSON.stringify(answer.payload)), "Payload of the answer"));
    this.answer.replaceChildren(...(body ? [body] : []));
    this.#showIssues(state === "failed" ? (error.details?.issues ?? []) : []);
  }

  #clock(exchange) {
    clearInterval(this.#timer);
    const tick = () => (this.elapsed.textContent = exchange.isRunning ? durationText(exchange.age) : "");
    if (exchange.isRunning) this.#timer = setInterval(tick, 100);
    tick();
  }

  #showProgress(progress) {
    const { length } = progress;
    const data = progress.at(-1);
    const count = length && h("p", {}, `${length} progress ${length === 1 ? "frame" : "frames"}`, data !== undefined && ", the latest: ", data !== undefined && h("code", {}, JSON.stringify(data)));
    this.progress.replaceChildren(...(count ? [count, ...meterOf(data)] : []));
  }

  /** The server's complaints: beside their fields, and those that have none in a list. */
  #showIssues(issues) {
    if (!Array.isArray(issues)) return;
    const isForm = this.#mode === "form" && this.form;
    const part = (name) => issues.filter(({ path }) => path[0] === name).map((one) => ({ ...one, path: one.path.slice(1), whole: one.path }));
    const placed = [...(isForm ? part("payload") : []), ...(this.meta ? part("meta") : [])];
    const homeless = [...(isForm ? this.form.showProblems(part("payload")) : []), ...(this.meta ? this.meta.showProblems(part("meta")) : [])];
    const others = issues.filter(({ path }) => !placed.some(({ whole }) => whole === path)).map((one) => ({ ...one, whole: one.path }));
    const list = [...homeless, ...others].map(({ whole, message }) => h("li", {}, h("code", {}, whole.join(".")), `: ${message}`));
    this.issues.replaceChildren(...list);
    this.form?.element.querySelector("[aria-invalid]")?.focus();
  }
}

/** A bar, where progress says how much is done of how much. */
function meterOf(data) {
  const pairs = [["done", "total"], ["current", "total"], ["completed", "total"]];
  const pair = pairs.find(([now, all]) => Number.isFinite(data?.[now]) && data?.[all] > 0);
  if (!pair) return [];
  return [h("progress", { "aria-label": "Progress", max: data[pair[1]], value: data[pair[0]] })];
}

/** Any text as a frame: for what forms do not let through. */
export class RawPanel {
  constructor(router, page) {
    Object.assign(this, { router, page });
    this.text = h("textarea.code", { rows: 12, spellcheck: "false", "aria-label": "Frame" });
    this.text.value = page.draft.get() ?? '{"type": "$ws:ping", "meta": {}}';
    this.text.addEventListener("input", () => page.draft.set(this.text.value));
    this.refusal = h("p.problem", { role: "alert" });
    const renew = button("New id and time", () => this.load(pretty(renewed(this.text.value))));
    const form = h("form.try", { "aria-label": "Send a raw frame" }, this.text, h("div.send", {}, h("button.main", { type: "submit" }, "Send"), renew), this.refusal);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.element = h("article", { "aria-label": "Raw frame" }, heading("Raw frame"), h("p", {}, "Sent as it stands here, whether the server will take it or not."), form);
  }

  load(text) {
    this.text.value = text;
    this.page.draft.set(text);
  }

  abort() {}

  async submit() {
    this.refusal.textContent = "";
    try {
      const connection = await this.page.connected(this.router);
      connection.send(this.text.value);
    } catch (error) {
      this.refusal.textContent = `Not sent. ${error.message}`;
    }
  }
}
