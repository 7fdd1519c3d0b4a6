// What can be read of a message: its fields, an example, what answers it, what can go wrong.

import { h, jsonBox, prose } from "./dom.js";
import { exampleOf, kindOf, rules, split, typeText } from "./schema.js";

const DEEPEST = 6;

/** A section with a heading, folded or not; nothing without content. */
export function section(title, ...content) {
  const parts = content.flat().filter(Boolean);
  return parts.length ? h("section.part", {}, h("h3", {}, title), parts) : null;
}

/** The fields of a schema as a table; of a single value, a line. */
export function fieldsTable(schema, definitions, label) {
  const rows = [...fieldRows(schema, definitions)];
  if (!rows.length) return h("p.notice", {}, typeText(schema, definitions) === "object" ? "No fields." : typeText(schema, definitions));
  const head = ["Field", "Type", "Meaning"].map((text) => h("th", { scope: "col", role: "columnheader" }, text));
  return h(
    "table.fields",
    { role: "table", "aria-label": label }, // said again: narrow screens show its cells as blocks
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, rows.map(({ path, type, isRequired, words, doc }) =>
      h(
        "tr",
        { role: "row" },
        h("th", { scope: "row", role: "rowheader" }, h("code", {}, breakable(path))),
        h("td", { role: "cell" }, h("span.field-type", {}, type), " ", isRequired && h("span.badge", {}, "required")),
        h("td", { role: "cell" }, prose(doc), words && h("p.rules", {}, words)),
      ),
    )),
  );
}

/** Long paths may break after their dots. */
const breakable = (path) => path.split(/(?<=[.\]])/).flatMap((part) => [part, h("wbr")]);

function* fieldRows(given, definitions, path = "", seen = []) {
  const { schema } = split(given, definitions);
  const reference = given.$ref ?? null;
  if (seen.length > DEEPEST || (reference && seen.includes(reference))) return;
  const inside = [...seen, reference];
  switch (kindOf(schema)) {
    case "object":
      for (const [key, one] of Object.entries(schema.properties ?? {})) {
        const isRequired = schema.required?.includes(key) ?? false;
        yield* row(path ? `${path}.${key}` : key, one, isRequired, definitions, inside);
      }
      break;
    case "union":
      for (const one of schema.variants) yield* fieldRows(one, definitions, path, inside);
      break;
    case "list":
      yield* fieldRows(schema.items ?? {}, definitions, `${path}[]`, inside);
      break;
    case "map":
      yield* fieldRows(schema.additionalProperties || {}, definitions, `${path}.*`, inside);
  }
}

function* row(path, given, isRequired, definitions, seen) {
  const { schema } = split(given, definitions);
  const words = rules(schema);
  if (schema.default !== undefined) words.push(`default ${JSON.stringify(schema.default)}`);
  const type = typeText(given, definitions);
  yield { path, type, isRequired, words: words.join(", "), doc: given.description ?? schema.description ?? "" };
  // What is nullable refers to its class one level down.
  const inner = given.anyOf?.find((one) => one.$ref) ?? given;
  yield* fieldRows(inner === given || given.anyOf.length > 2 ? given : inner, definitions, path, seen);
}

/** An example of a frame, as the wire has it. */
export function exampleFrame(type, meta, payload, definitions, key = "payload") {
  const frame = { type, meta };
  if (payload) frame[key] = exampleOf(payload, definitions);
  return jsonBox(JSON.stringify(frame, null, 2), `Example of ${type}`);
}

const NOW = 1_893_456_000_000;
const ID = "3f2b8c1e-5d7a-4c3b-9e6f-1a2b3c4d5e6f";

/** What follows below a message that clients send. */
export function routeReference(route, router) {
  const { definitions } = router;
  const { message, response, progress, sends } = route;
  const extended = message.meta ? exampleOf(message.meta, definitions) : {};
  const sent = response ? { timestamp: NOW, correlationId: ID, ...extended } : { timestamp: NOW, ...extended };
  const reply = { timestamp: NOW, correlationId: ID };
  return [
    section(
      "Payload",
      message.payload ? fieldsTable(message.payload, definitions, `Payload of ${message.type}`) : h("p.notice", {}, "None: the frame has no payload."),
      message.meta && [h("h4", {}, "Extended meta"), fieldsTable(message.meta, definitions, `Meta of ${message.type}`)],
      folded("Example", exampleFrame(message.type, sent, message.payload, definitions)),
    ),
    response &&
      section(
        "Response",
        h("p", {}, h("code.type", {}, response.type), " ", ...prose(response.doc)),
        response.payload ? fieldsTable(response.payload, definitions, `Payload of ${response.type}`) : h("p.notice", {}, "No payload."),
        folded("Example", exampleFrame(response.type, reply, response.payload, definitions)),
      ),
    response && section("Progress", progressParts(progress, definitions, reply)),
    sends.length > 0 && section("Also sends", h("ul", {}, sends.map((type) => h("li", {}, link(router, "sent", type))))),
    section(
      "Errors",
      h("p", {}, response ? "A call that fails is answered with RPC_ERROR. " : "An event that fails is answered with ERROR. ", link(router, "about", "errors", "All codes")),
    ),
  ];
}

function progressParts(progress, definitions, meta) {
  if (Object.keys(progress).length === 0) return h("p", {}, "Its progress frames, if there are any, hold any JSON.");
  return [
    fieldsTable(progress, definitions, "Data of progress frames"),
    folded("Example", exampleFrame("$ws:rpc-progress", meta, progress, definitions, "data")),
  ];
}

export const folded = (title, ...content) => h("details", {}, h("summary", {}, title), content);

export const addressOf = (router, part, name) => `#/${router.key}/${part}/${encodeURIComponent(name)}`;

export function link(router, part, name, text = name) {
  return h("a", { href: addressOf(router, part, name) }, text);
}

// -- pages of their own

export function sentPage(message, router) {
  const { definitions, routes, topics } = router;
  const topicsOf = topics.filter(({ messages }) => messages.includes(message.type));
  const senders = routes.filter(({ sends }) => sends.includes(message.type));
  return [
    heading(message.type, "from the server"),
    ...prose(message.doc),
    section(
      "Payload",
      message.payload ? fieldsTable(message.payload, definitions, `Payload of ${message.type}`) : h("p.notice", {}, "None."),
      message.meta && [h("h4", {}, "Extended meta"), fieldsTable(message.meta, definitions, `Meta of ${message.type}`)],
      folded("Example", exampleFrame(message.type, { timestamp: NOW }, message.payload, definitions)),
    ),
    senders.length > 0 && section("Sent by", h("ul", {}, senders.map((route) => h("li", {}, link(router, "send", route.message.type))))),
    topicsOf.length > 0 && section("Published to", h("ul", {}, topicsOf.map((topic) => h("li", {}, link(router, "about", "topics", topic.name))))),
  ];
}

export const heading = (text, kind) => h("h2", { tabindex: "-1" }, text, " ", kind && h("span.badge", {}, kind));

export function errorsPage(router) {
  const groups = { application: "This application’s own", standard: "Standard", topics: "Of topics" };
  const parts = Object.entries(groups).map(([origin, title]) => {
    const errors = router.errors.filter((error) => error.origin === origin);
    return errors.length > 0 && section(title, errorTable(errors, title));
  });
  return [heading("Errors"), h("p", {}, "In ERROR frames, and in RPC_ERROR frames for calls: code, message, and perhaps details, retryable and retryAfterMs."), ...parts];
}

function errorTable(errors, label) {
  const words = { true: "may succeed later", false: "do not try again", null: "see the error" };
  const head = ["Code", "Retry", "Meaning"].map((text) => h("th", { scope: "col", role: "columnheader" }, text));
  const rows = errors.map(({ code, doc, retryable }) =>
    h(
      "tr",
      { role: "row" },
      h("th", { scope: "row", role: "rowheader" }, h("code", {}, ...code.split(/(?<=_)/).flatMap((part) => [part, h("wbr")]))),
      h("td", { role: "cell" }, words[retryable]),
      h("td", { role: "cell" }, prose(doc)),
    ),
  );
  const columns = h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head));
  return h("table.fields", { role: "table", "aria-label": label }, columns, h("tbody", { role: "rowgroup" }, rows));
}

export function controlPage(control, definitions) {
  const all = control.map(({ type, direction, doc, reply, schema }) =>
    section(
      `${type} ${direction}`,
      prose(doc),
      reply && h("p", {}, "Answered with ", h("code", {}, reply), "."),
      folded("Example", jsonBox(JSON.stringify(exampleOf(schema, definitions), null, 2), `Example of ${type}`)),
    ),
  );
  return [heading("Control frames"), h("p", {}, "The protocol’s own. This page answers pings by itself."), ...all];
}

export function topicsPage(router) {
  const parts = router.topics.map(({ name, pattern, doc, messages }) =>
    section(
      name,
      h("p", {}, h("code", {}, pattern)),
      prose(doc),
      messages.length ? h("ul", {}, messages.map((type) => h("li", {}, link(router, "sent", type)))) : h("p", {}, "Any message may be published there."),
    ),
  );
  return [heading("Topics"), h("p", {}, "Subscribing is the server’s act; a topic’s name never goes over the wire."), ...parts];
}

export function overviewPage(router) {
  const calls = router.routes.filter(({ response }) => response).length;
  const facts = [
    ["Served at", router.paths.map(({ pattern }) => `/${pattern}`).join(", ")],
    ["Who may connect", router.authenticates ? "whom its own authentication admits" : router.login_required ? "users who are signed in" : "everybody"],
    ["Cookies", router.paths.some(({ session }) => session) ? "the session’s cookie counts" : "no cookie is read"],
    ["Subprotocols", router.subprotocols.join(", ") || "none"],
    ["Messages", `${calls} requests, ${router.routes.length - calls} events, ${router.sent.length} from the server`],
  ];
  return [
    heading("Overview"),
    h("p", {}, "Choose a message, fill in its form and send it: the page connects by itself, with your session. Everything that goes over the wire is in the log."),
    h("dl.facts", {}, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
  ];
}
