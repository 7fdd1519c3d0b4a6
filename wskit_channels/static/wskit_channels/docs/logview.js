// The log as people see it: one row a frame, what belongs to a request below it, progress folded.

import { button, copy, durationText, h, jsonBox, pretty, sizeText } from "./dom.js";
import { asLines, passes } from "./store.js";

const PROGRESS = "$ws:rpc-progress";
const ARROWS = { out: ["↑", "Sent"], in: ["↓", "Received"], note: ["•", "Connection"] };

export class LogView {
  #rows = new Map();
  #filter = { dir: "", kind: "", text: "" };
  #held = 0;
  #paused = false;
  #isAtEnd = true;
  #fresh = [];
  #gone = new Set();
  #drawing = null;

  /** `actions` has `again(entry)`, `edit(entry)` and `cancel(exchange)`. */
  constructor(place, store, actions) {
    Object.assign(this, { store, actions });
    this.list = h("ol.frames", { "aria-label": "Frames" });
    this.scroller = h("div.frames-scroller", { tabindex: "0", role: "region", "aria-label": "Frames, scrollable" }, this.list);
    this.empty = h("p.notice", {}, "Nothing has been sent or received yet.");
    this.count = h("p.log-count", { role: "status", "aria-label": "Log" });
    place.append(this.#head(), this.empty, this.scroller);
    this.scroller.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = this.scroller;
      this.#isAtEnd = scrollHeight - scrollTop - clientHeight < 40;
    });
    this.list.addEventListener("keydown", (event) => this.#move(event));
    store.addEventListener("added", ({ detail }) => this.#added(detail));
    store.addEventListener("cleared", () => this.#redraw());
    this.#redraw();
  }

  // -- the head: filters and what to do with all

  #head() {
    this.pause = button("Pause", () => this.#setPaused(!this.#paused), { "aria-pressed": "false" });
    const copyAll = button("Copy", () => copy(asLines(this.store.entries.filter((one) => passes(one, this.#filter))), copyAll), {
      "aria-label": "Copy what is shown",
    });
    const clear = button("Clear", () => this.store.clear(), { "aria-label": "Clear the log" });
    this.kinds = h("select", { "aria-label": "Type of frames", onchange: () => this.#filterBy("kind", this.kinds.value) });
    const directions = h(
      "select",
      { "aria-label": "Direction of frames", onchange: () => this.#filterBy("dir", directions.value) },
      [["", "In and out"], ["out", "↑ Sent"], ["in", "↓ Received"], ["note", "• Connection"]].map(([value, text]) =>
        h("option", { value }, text),
      ),
    );
    const text = h("input", {
      type: "search",
      placeholder: "Find in frames",
      "aria-label": "Find in frames",
      oninput: () => this.#filterBy("text", text.value),
    });
    return h(
      "div.log-head",
      {},
      h("div.log-title", {}, h("h2", { id: "log-title" }, "Log"), this.count, h("span.actions", {}, this.pause, copyAll, clear)),
      h("div.log-filters", {}, directions, this.kinds, text),
    );
  }

  #filterBy(key, value) {
    this.#filter[key] = value;
    for (const entry of this.store.entries) this.#showOrHide(entry);
    this.#tidy();
  }

  #setPaused(paused) {
    this.#paused = paused;
    this.#held = 0;
    this.pause.textContent = paused ? "Go on" : "Pause";
    this.pause.setAttribute("aria-pressed", String(paused));
    if (!paused) this.#redraw();
    this.#tidy();
  }

  // -- rows

  #redraw() {
    this.#fresh = [];
    this.#gone.clear();
    this.#rows.clear();
    this.list.replaceChildren();
    for (const entry of this.store.entries) this.#place(entry);
    this.#tidy();
    this.#toEnd();
  }

  /** Frames can come by hundreds a second: they are drawn together, once for each screen. */
  #added({ entry, lost }) {
    if (this.#paused) this.#held += 1;
    else {
      this.#fresh.push(entry);
      for (const { n } of lost) this.#gone.add(n);
    }
    this.#drawing ??= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#drawing = null;
    for (const n of this.#gone) this.#remove(n);
    for (const entry of this.#fresh) if (!this.#gone.has(entry.n)) this.#place(entry);
    const isNews = this.#fresh.length > 0;
    this.#fresh = [];
    this.#gone.clear();
    this.#tidy();
    if (isNews && this.#isAtEnd) this.#toEnd();
  }

  #toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #remove(n) {
    const row = this.#rows.get(n);
    this.#rows.delete(n);
    const folder = row?.element.closest(".progress");
    row?.element.remove();
    if (folder && !folder.querySelector("li")) folder.parentElement.remove();
  }

  #place(entry) {
    const row = { entry, element: this.#row(entry) };
    this.#rows.set(entry.n, row);
    const parent = this.#rows.get(entry.parent)?.element;
    if (!parent) this.list.append(row.element);
    else if (entry.type === PROGRESS) this.#fold(parent, row);
    else childrenOf(parent).append(row.element);
    this.#showOrHide(entry);
  }

  /** Progress goes into a folder of its own, whose line tells how many there are and the latest. */
  #fold(parent, row) {
    const children = childrenOf(parent);
    let folder = children.querySelector(":scope > li > .progress");
    if (!folder) {
      folder = h("details.progress", {}, h("summary", {}, h("span.fold-count"), " ", h("span.summary")), h("ol"));
      children.append(h("li.folder", {}, folder));
    }
    const list = folder.querySelector("ol");
    list.append(row.element);
    const { length } = list.children;
    folder.querySelector(".fold-count").textContent = `${length} progress ${length === 1 ? "frame" : "frames"}`;
    folder.querySelector(".summary").textContent = row.entry.summary;
  }

  #row(entry) {
    const [arrow, word] = ARROWS[entry.dir];
    const time = new Date(entry.at);
    const clock = `${time.toLocaleTimeString("en-GB")}.${String(time.getMilliseconds()).padStart(3, "0")}`;
    const head = [
      h("span.arrow", { "aria-hidden": "true" }, arrow),
      h("span.visually-hidden", {}, `${word} `),
      h("time", { datetime: time.toISOString() }, clock),
      " ",
      entry.type && h("b.type", {}, entry.type),
      entry.isError && h("span.badge.bad", {}, "error"),
      entry.since !== null && h("span.since", { title: "since the request was sent" }, `+${durationText(entry.since)}`),
      entry.size > 0 && h("span.size", {}, sizeText(entry.size)),
      h("span.summary", {}, entry.summary),
    ];
    const classes = `${entry.dir}${entry.isError ? " error" : ""}`;
    if (entry.dir === "note") return h("li", { class: `frame ${classes}` }, h("p.line", {}, head));
    const details = h("details", { class: "line" }, h("summary", {}, head));
    details.addEventListener("toggle", () => this.#unfold(details, entry), { once: true });
    return h("li", { class: `frame ${classes}` }, details);
  }

  /** What a row shows when it is opened, made only then. */
  #unfold(details, entry) {
    const text = pretty(entry.text);
    const copyOne = button("Copy", () => copy(text, copyOne));
    const buttons = [copyOne];
    if (entry.dir === "out") {
      buttons.push(button("Send again", () => this.actions.again(entry)));
      buttons.push(button("Edit and send", () => this.actions.edit(entry)));
    }
    const { exchange } = entry;
    if (exchange?.isRunning) {
      const cancel = button("Cancel", () => this.actions.cancel(exchange), { "aria-label": `Cancel ${entry.type}` });
      exchange.onChange(() => cancel.toggleAttribute("hidden", !exchange.isRunning));
      buttons.push(cancel);
    }
    details.append(h("div.actions", {}, buttons), jsonBox(text, `${entry.type} as JSON`));
  }

  #showOrHide(entry) {
    const row = this.#rows.get(entry.n);
    if (!row) return;
    row.isShown = passes(entry, this.#filter);
    row.element.classList.toggle("filtered", !row.isShown);
    // A request stays above what belongs to it, and a folder goes with all that is in it.
    for (let outer = row.element; outer; outer = outer.parentElement?.closest("li")) {
      const inner = [...outer.querySelectorAll(".frame:not(.filtered)")];
      outer.hidden = outer.classList.contains("folder") || outer.classList.contains("filtered") ? inner.length === 0 : false;
    }
  }

  #tidy() {
    const { entries, dropped } = this.store;
    const shown = [...this.#rows.values()].filter((row) => row.isShown).length;
    const parts = [shown === entries.length ? `${shown}` : `${shown} of ${entries.length}`];
    if (dropped) parts.push(`${dropped} older dropped`);
    if (this.#paused) parts.push(`paused, ${this.#held} new`);
    this.count.textContent = parts.join(", ");
    this.empty.hidden = entries.length > 0;
    this.scroller.hidden = entries.length === 0;
    this.#listKinds(entries);
  }

  #listKinds(entries) {
    const kinds = [...new Set(entries.map(({ type }) => type).filter(Boolean))].sort();
    const known = [...this.kinds.options].slice(2).map(({ value }) => value);
    if (this.kinds.options.length && kinds.join() === known.join()) return;
    const chosen = this.#filter.kind;
    if (chosen && chosen !== "(errors)" && !kinds.includes(chosen)) kinds.push(chosen);
    const options = [["", "All types"], ["(errors)", "Errors only"], ...kinds.map((kind) => [kind, kind])];
    this.kinds.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
    this.kinds.value = chosen;
  }

  /** Up and down go from row to row. */
  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.target.localName !== "summary") return;
    const all = [...this.list.querySelectorAll("summary")].filter((one) => one.checkVisibility());
    const next = all[all.indexOf(event.target) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}

/** The list of what belongs to a row. */
function childrenOf(row) {
  let list = row.querySelector(":scope > .children");
  if (!list) {
    list = h("ol.children");
    row.append(list);
  }
  return list;
}
