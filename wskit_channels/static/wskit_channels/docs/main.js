// The page: reads the contract, lists its messages, and shows the one that the address names.

import { Bar } from "./bar.js";
import { Connection, renewed } from "./connection.js";
import { h, pretty } from "./dom.js";
import { LogView } from "./logview.js";
import { addressOf, controlPage, errorsPage, overviewPage, sentPage, topicsPage } from "./reference.js";
import { resolved } from "./schema.js";
import { Store } from "./store.js";
import { RawPanel, TryPanel } from "./try.js";

const { dataset } = document.body;
const place = document.getElementById("message");
const list = document.getElementById("list");
const filter = document.getElementById("filter");
const unseen = document.getElementById("unseen");

class DocsPage {
  #panels = new Map();
  #connections = new Map();
  #current = null;

  constructor(contract) {
    this.contract = contract;
    this.routers = contract.routers.map((router, at) => ({
      ...router,
      key: String(at + 1),
      definitions: { ...router.definitions, ...contract.definitions, "wskit.ErrorCode": { type: "string", title: "ErrorCode", examples: ["NOT_FOUND"] } },
    }));
    this.store = new Store(dataset.user);
    this.store.restore();
    const { signIn } = dataset;
    this.bar = new Bar(document.getElementById("connection"), { token: contract.token, signIn });
    for (const router of this.routers) this.#connections.set(router.key, new Connection(router, this.store));
    this.log = new LogView(document.getElementById("log"), this.store, {
      again: (entry) => this.#sendAgain(entry),
      edit: (entry) => this.#edit(entry),
      cancel: (exchange) => this.#connections.get(exchange.entry.router)?.abort(exchange),
    });
    this.store.addEventListener("added", () => this.#countUnseen());
    this.#list();
    addEventListener("hashchange", () => this.#go(true));
    this.#go(false);
  }

  // -- the list of messages

  #list() {
    this.links = [];
    const groups = this.routers.map((router) => {
      const name = router.paths.map(({ pattern }) => `/${pattern}`).join(", ");
      const parts = router.problem ? [h("p.problem", {}, router.problem)] : this.#parts(router);
      return h("section", { "aria-label": name }, h("h2", {}, name), parts);
    });
    list.replaceChildren(...groups);
    filter.addEventListener("input", () => this.#filterList());
  }

  #parts(router) {
    const calls = router.routes.filter(({ response }) => response);
    const events = router.routes.filter(({ response }) => !response);
    const about = [["overview", "Overview"], ["errors", "Errors"], ["control", "Control frames"], ["raw", "Raw frame"]];
    if (router.topics.length) about.splice(2, 0, ["topics", "Topics"]);
    return [
      this.#group(router, "Requests", "send", calls.map(({ message }) => message)),
      this.#group(router, "Events", "send", events.map(({ message }) => message)),
      this.#group(router, "From the server", "sent", router.sent),
      this.#group(router, "More", "about", about.map(([type, text]) => ({ type, text }))),
    ].filter(Boolean);
  }

  #group(router, title, part, messages) {
    if (!messages.length) return null;
    const items = messages.map((message) => {
      const { type, text = type, name = "", doc = "", payload } = message;
      const fields = payload ? JSON.stringify(resolved(payload, router.definitions)) : "";
      const anchor = h("a", { href: addressOf(router, part, type) }, ...text.split(/(?<=[_.:])/).flatMap((one) => [one, h("wbr")]));
      const item = h("li", {}, anchor);
      this.links.push({ anchor, item, words: `${text} ${name} ${doc} ${fields}`.toLowerCase() });
      return item;
    });
    return h("div.group", {}, h("h3", {}, title), h("ul", {}, items));
  }

  #filterList() {
    const wanted = filter.value.trim().toLowerCase();
    let found = 0;
    for (const { item, words } of this.links) {
      item.hidden = !words.includes(wanted);
      if (!item.hidden) found += 1;
    }
    for (const group of list.querySelectorAll(".group")) group.hidden = !group.querySelector("li:not([hidden])");
    document.getElementById("found").textContent = wanted ? `${found} found` : "";
  }

  // -- what the address names

  #go(wasAsked) {
    const [, key, part, name] = location.hash.split("/").map(decodeURIComponent);
    const router = this.routers.find((one) => one.key === key) ?? this.routers[0];
    if (!router) return;
    const address = addressOf(router, part ?? "about", name ?? "overview");
    this.bar.show(this.#connections.get(router.key));
    const file = document.getElementById("asyncapi");
    file.href = dataset.asyncapi.replace("1.json", `${router.key}.json`);
    for (const { anchor } of this.links) {
      if (anchor.getAttribute("href") === address) anchor.setAttribute("aria-current", "page");
      else anchor.removeAttribute("aria-current");
    }
    const content = router.problem ? [h("p.problem", {}, router.problem)] : this.#content(router, part, name);
    place.replaceChildren(...content.flat().filter(Boolean));
    document.title = `${name ?? "Overview"} · WebSocket API`;
    if (!wasAsked) return;
    show("message");
    place.scrollTop = 0;
    place.querySelector("h2")?.focus();
  }

  #content(router, part, name) {
    const panel = this.panelOf(router, part, name);
    this.#current = panel;
    if (panel) return [panel.element];
    const sent = part === "sent" && router.sent.find(({ type }) => type === name);
    if (sent) return sentPage(sent, router);
    if (part === "about" && name === "errors") return errorsPage(router);
    if (part === "about" && name === "control") return controlPage(this.contract.control, router.definitions);
    if (part === "about" && name === "topics") return topicsPage(router);
    return overviewPage(router);
  }

  /** The panel of a message, made once, so that what was typed and what came stays. */
  panelOf(router, part, name) {
    const key = addressOf(router, part ?? "", name ?? "");
    if (!this.#panels.has(key)) {
      const page = { connected: (one) => this.#connected(one), draft: draftOf(key) };
      const route = part === "send" && router.routes.find(({ message }) => message.type === name);
      if (route) this.#panels.set(key, new TryPanel(route, router, page));
      if (part === "about" && name === "raw") this.#panels.set(key, new RawPanel(router, page));
    }
    return this.#panels.get(key) ?? null;
  }

  // -- sending

  async #connected(router) {
    const connection = this.#connections.get(router.key);
    this.bar.show(connection);
    await this.bar.connect();
    return connection;
  }

  async #sendAgain(entry) {
    const router = this.routers.find(({ key }) => key === entry.router);
    const panel = router && this.panelOf(router, "send", entry.type);
    if (!router) return;
    try {
      const connection = await this.#connected(router);
      const exchange = connection.send(renewed(entry.text), { isCall: panel?.isCall ?? false });
      panel?.follow(connection, exchange);
    } catch {
      // The bar says why there is no connection.
    }
  }

  #edit(entry) {
    const router = this.routers.find(({ key }) => key === entry.router);
    if (!router) return;
    const panel = this.panelOf(router, "send", entry.type);
    const payload = panel?.hasPayload ? JSON.parse(entry.text).payload : undefined;
    const isForm = panel && (payload !== undefined || !panel.hasPayload);
    if (isForm) panel.load(payload);
    else this.panelOf(router, "about", "raw").load(pretty(renewed(entry.text)));
    const address = isForm ? addressOf(router, "send", entry.type) : addressOf(router, "about", "raw");
    if (location.hash === address) this.#go(true);
    else location.hash = address;
  }

  // -- keys, and the narrow screen's views

  onKey(event) {
    const { key, target } = event;
    if (event.defaultPrevented || event.isComposing) return;
    const isTyping = target.matches("input:not([type=checkbox], [type=radio]), textarea, select");
    if (key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      show("messages");
      filter.focus();
      filter.select();
    } else if (key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#current?.submit();
    } else if (key === "Escape" && target === filter) {
      filter.value = "";
      this.#filterList();
    } else if (key === "Escape") this.#current?.abort();
    else if (key === "ArrowDown" || key === "ArrowUp") this.#moveInList(event);
  }

  #moveInList(event) {
    const anchors = this.links.filter(({ item }) => item.checkVisibility()).map(({ anchor }) => anchor);
    const at = anchors.indexOf(event.target);
    if (at < 0 && event.target !== filter) return;
    event.preventDefault();
    const next = at + (event.key === "ArrowDown" ? 1 : -1);
    (anchors[next] ?? (next < 0 ? filter : event.target)).focus();
  }

  #countUnseen() {
    if (dataset.view === "log") return;
    unseen.textContent = String(Number(unseen.textContent) + 1);
    unseen.hidden = false;
  }
}

/** On a narrow screen: which of the three parts is there. */
function show(view) {
  dataset.view = view;
  for (const one of document.querySelectorAll("[data-shows]")) {
    one.setAttribute("aria-pressed", String(one.dataset.shows === view));
  }
  if (view !== "log") return;
  unseen.textContent = "";
  unseen.hidden = true;
}

/** Where a form's text is kept while the tab is open, by who is signed in. */
function draftOf(address) {
  const key = `wskit-docs:draft:${dataset.user}:${address}`;
  return {
    get() {
      try {
        return sessionStorage.getItem(key);
      } catch {
        return null;
      }
    },
    set(text) {
      try {
        sessionStorage.setItem(key, text);
      } catch {
        // Storage is off or full: nothing is kept.
      }
    },
  };
}

async function start() {
  for (const one of document.querySelectorAll("[data-shows]")) {
    one.addEventListener("click", () => show(one.dataset.shows));
  }
  show(location.hash ? "message" : "messages");
  let contract;
  try {
    const response = await fetch(dataset.contract, { redirect: "manual" });
    if (response.type === "opaqueredirect" || response.status === 403) {
      const link = h("a", { href: dataset.signIn }, "Sign in");
      return place.replaceChildren(h("p.problem", { role: "alert" }, "You are not signed in any more, or no longer as staff. ", link));
    }
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    contract = await response.json();
  } catch (error) {
    return place.replaceChildren(h("p.problem", { role: "alert" }, `The contract could not be read: ${error.message}.`));
  }
  if (contract.problem) place.replaceChildren(h("p.problem", { role: "alert" }, contract.problem));
  const page = new DocsPage(contract);
  document.addEventListener("keydown", (event) => page.onKey(event));
}

start();
