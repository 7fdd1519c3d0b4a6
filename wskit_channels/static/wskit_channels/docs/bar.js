// The bar that says how the connection is, and where and with what to connect.

import { button, freshId, h } from "./dom.js";

const STATES = { closed: "Not connected", connecting: "Connecting…", open: "Connected", closing: "Closing…" };

export class Bar {
  #connection = null;
  #choices = new Map();
  #follow = () => this.#refresh();

  /** `token` has the names by which a token travels; `signIn` is where one signs in. */
  constructor(place, { token, signIn }) {
    Object.assign(this, { token, signIn });
    this.state = h("p.state", { role: "status", "aria-label": "Connection state" });
    this.why = h("p.why", { role: "status", "aria-label": "Why the connection ended" });
    this.toggle = button("Connect", () => this.#toggle(), {}, "main");
    this.where = h("div.where");
    this.options = h("details.options");
    place.append(h("div.bar", {}, this.state, this.where, this.toggle), this.options, this.why);
  }

  /** Show the connection of another router. */
  show(connection) {
    if (this.#connection === connection) return;
    this.#connection?.removeEventListener("change", this.#follow);
    this.#connection = connection;
    connection.addEventListener("change", this.#follow);
    const { router } = connection;
    if (!this.#choices.has(router.key)) {
      const offered = (router.subprotocols ?? []).join(", ");
      this.#choices.set(router.key, { path: 0, values: {}, typed: null, token: "", attach: "query", protocols: offered });
    }
    this.#draw(router);
    this.#refresh();
  }

  get #chosen() {
    return this.#choices.get(this.#connection.router.key);
  }

  #refresh() {
    const { state, words, isGood, router } = this.#connection;
    this.state.textContent = STATES[state];
    this.state.dataset.state = state === "closed" && !isGood ? "failed" : state;
    this.toggle.textContent = state === "open" ? "Disconnect" : state === "closed" ? "Connect" : "Stop";
    const needsLogin = /^4401\b/.test(words) && router.paths.some(({ session }) => session);
    this.why.replaceChildren(words, ...(needsLogin ? [" ", h("a", { href: this.signIn }, "Sign in")] : []));
    this.why.classList.toggle("bad", !isGood);
  }

  #toggle() {
    if (this.#connection.state === "closed") this.connect().catch(() => {});
    else this.#connection.close();
  }

  /** Be connected; fails with words for people. */
  async connect() {
    const connection = this.#connection;
    if (connection.isOpen) return;
    const missing = [...this.where.querySelectorAll("input")].find((input) => !input.value.trim());
    if (missing) {
      missing.focus();
      throw new Error(`The address is not complete: ${missing.labels[0].textContent.trim()} is missing.`);
    }
    await connection.connect(this.#address().href, this.#protocols());
  }

  // -- where

  #draw(router) {
    const chosen = this.#chosen;
    const id = freshId("path");
    this.address = h("code.address");
    const parts = [];
    if (router.paths.length > 1) {
      const options = router.paths.map(({ pattern }, at) => h("option", { value: at }, `/${pattern}`));
      const select = h("select", { id, value: chosen.path }, options);
      select.value = String(chosen.path);
      select.addEventListener("change", () => {
        Object.assign(chosen, { path: Number(select.value), typed: null });
        this.#draw(router);
        this.where.querySelector("select").focus();
      });
      parts.push(h("label", { for: id }, "Path"), select);
    }
    const path = router.paths[chosen.path];
    if (path.template === null) parts.push(this.#typedPath(path, chosen));
    for (const parameter of path.parameters) parts.push(this.#parameter(parameter, chosen));
    this.where.replaceChildren(...parts, this.address);
    this.options.replaceChildren(h("summary", {}, "Token and subprotocols"), this.#extras(chosen));
    this.#showAddress();
  }

  #parameter({ name, kind }, chosen) {
    const type = kind === "int" ? "number" : "text";
    const input = h("input", { id: freshId("p"), type, value: chosen.values[name] ?? "", autocomplete: "off" });
    input.addEventListener("input", () => {
      chosen.values[name] = input.value;
      this.#showAddress();
    });
    return h("span.parameter", {}, h("label", { for: input.id }, name), input);
  }

  /** A regular expression that has no template: the visitor knows a path that matches. */
  #typedPath(path, chosen) {
    const input = h("input", { id: freshId("p"), type: "text", value: (chosen.typed ??= path.prefix) });
    input.addEventListener("input", () => {
      chosen.typed = input.value;
      this.#showAddress();
    });
    return h("span.parameter", {}, h("label", { for: input.id }, `Path matching ${path.pattern}`), input);
  }

  #address({ hasToken = true } = {}) {
    const { path, values, typed, token, attach } = this.#chosen;
    const { template, parameters } = this.#connection.router.paths[path];
    const filled = (template ?? typed).replace(/{(\w+)}/g, (_, name) => {
      const value = encodeURIComponent(values[name] ?? "") || (hasToken ? "" : `{${name}}`);
      const isPath = parameters.find((one) => one.name === name)?.kind === "path";
      return isPath ? value.replaceAll("%2F", "/") : value;
    });
    // Not resolved against the page: a path that begins with // would be another host's.
    const url = new URL(`${location.protocol.replace("http", "ws")}//${location.host}/${filled.replace(/^\/+/, "")}`);
    if (hasToken && token && attach === "query") url.searchParams.set(this.token.parameter, token);
    return url;
  }

  #showAddress() {
    this.address.textContent = decodeURIComponent(this.#address({ hasToken: false }).href);
  }

  // -- with what

  #protocols() {
    const { token, attach, protocols } = this.#chosen;
    const offered = protocols.split(/[\s,]+/).filter(Boolean);
    return [...new Set(token && attach === "protocol" ? [...offered, this.token.prefix + token] : offered)];
  }

  #extras(chosen) {
    const keep = (key) => (event) => (chosen[key] = event.target.value.trim());
    // Not type=password: browsers would offer to save it as one.
    const token = h("input.secret", { id: freshId("o"), type: "text", value: chosen.token, autocomplete: "off", spellcheck: "false", oninput: keep("token") });
    const attach = h(
      "select",
      { id: freshId("o"), onchange: keep("attach") },
      h("option", { value: "query" }, `as ?${this.token.parameter}=`),
      h("option", { value: "protocol" }, `as subprotocol ${this.token.prefix}…`),
    );
    attach.value = chosen.attach;
    const protocols = h("input", { id: freshId("o"), type: "text", value: chosen.protocols, autocomplete: "off", oninput: keep("protocols") });
    const field = (input, label) => h("span.parameter", {}, h("label", { for: input.id }, label), input);
    return h(
      "div.extras",
      {},
      h("p.hint", {}, "Your session’s cookie goes along by itself. A token is kept only as long as this page is open."),
      field(token, "Token"),
      field(attach, "Sent"),
      field(protocols, "Subprotocols"),
    );
  }
}
