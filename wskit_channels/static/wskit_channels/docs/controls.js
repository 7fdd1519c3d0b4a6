// The controls for single values. Each is `{ element, input, value, set, focus }`; `value`
// is undefined where nothing has been typed. A control changes a value only when somebody
// types: what was set is given back as it was.

import { button, h, randomId } from "./dom.js";
import { kindOf } from "./schema.js";

/** A control for a schema of one value; `about` has id, describedBy and perhaps a label. */
export function makeLeaf(schema, env, about) {
  const kind = kindOf(schema);
  if (kind === "const" || kind === "null") return fixed(kind === "null" ? null : schema.const);
  if (kind === "enum") return choice(schema, env, about);
  if (kind === "boolean") return flag(env, about);
  if (kind === "number") return number(schema, env, about);
  if (kind === "string") return string(schema, env, about);
  return json(env, about);
}

const attributesOf = ({ id, describedBy, label }) => ({
  id,
  "aria-describedby": describedBy,
  "aria-label": label,
});

function typed(input, read, write) {
  let value;
  return {
    element: input,
    input,
    get value() {
      return value;
    },
    set(given) {
      value = given;
      write(given);
    },
    /** Take over what was typed. */
    take() {
      value = read();
    },
    focus: () => input.focus(),
  };
}

function fixed(value) {
  const element = h("code.fixed", {}, JSON.stringify(value));
  return { element, input: null, value, set() {}, focus() {} };
}

function choice(schema, env, about) {
  const options = schema.enum.map((one, at) => h("option", { value: at }, String(one)));
  const select = h("select", attributesOf(about), options);
  const control = typed(
    select,
    () => schema.enum[Number(select.value)],
    (value) => (select.value = schema.enum.findIndex((one) => JSON.stringify(one) === JSON.stringify(value))),
  );
  return listening(control, env, "change");
}

function listening(control, env, event = "input") {
  control.input.addEventListener(event, () => {
    control.take();
    env.changed();
  });
  return control;
}

function flag(env, about) {
  const box = h("input", { type: "checkbox", ...attributesOf(about) });
  const control = typed(box, () => box.checked, (value) => (box.checked = value));
  return listening(control, env, "change");
}

function number(schema, env, about) {
  const step = schema.multipleOf ?? (schema.type === "integer" ? 1 : "any");
  const bounds = { min: schema.minimum, max: schema.maximum, step };
  const input = h("input", { type: "number", inputmode: "decimal", ...bounds, ...attributesOf(about) });
  const read = () => (input.value === "" ? undefined : Number(input.value));
  const control = typed(input, read, (value) => (input.value = value ?? ""));
  // The wheel of a mouse changes a focused number, and nobody means it to.
  input.addEventListener("wheel", () => input.blur(), { passive: true });
  return listening(control, env);
}

// -- strings

const INPUTS = { date: "date", time: "time", "date-time": "datetime-local" };
const NATIVE = {
  date: /^\d{4}-\d\d-\d\d$/,
  time: /^\d\d:\d\d(:\d\d)?$/,
  "date-time": /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?Z$/,
};
const HINTS = {
  uuid: "3f2b8c1e-5d7a-4c3b-9e6f-1a2b3c4d5e6f",
  duration: "PT15M",
  email: "someone@example.org",
  uri: "https://example.org/",
};

/** Whether a browser's own date and time inputs can show a text without changing it. */
export const isNative = (schema, text) =>
  !(schema.format in INPUTS) || text === undefined || NATIVE[schema.format].test(text);

function string(schema, env, about) {
  if (schema.format in INPUTS) return moment(schema, env, about);
  if (schema.format === "uuid") return uuid(env, about);
  const hint = HINTS[schema.format];
  const area = h("textarea", { rows: 1, placeholder: hint, spellcheck: "false", ...attributesOf(about) });
  const read = () => (area.value === "" && schema.format ? undefined : area.value);
  return listening(typed(area, read, (value) => (area.value = value ?? "")), env);
}

function uuid(env, about) {
  const input = h("input", { type: "text", placeholder: HINTS.uuid, spellcheck: "false", ...attributesOf(about) });
  const control = typed(input, () => input.value || undefined, (value) => (input.value = value ?? ""));
  const make = button("New", () => {
    control.set(randomId());
    env.changed();
  }, { "aria-label": "New UUID" });
  return Object.assign(listening(control, env), { element: h("div.with-button", {}, input, make) });
}

/** Dates and times; an instant is picked in the visitor's time and sent in UTC. */
function moment(schema, env, about) {
  const { format } = schema;
  const input = h("input", { type: INPUTS[format], step: format === "date" ? undefined : 1, ...attributesOf(about) });
  const sent = h("output.sent-as", { for: about.id });
  const isInstant = format === "date-time";
  const show = (value) => (sent.textContent = value && isInstant ? `sent as ${value}` : "");
  const control = typed(
    input,
    () => {
      const value = input.value && isInstant ? new Date(input.value).toISOString() : input.value || undefined;
      show(value || undefined);
      return value || undefined;
    },
    (value) => {
      input.value = value && isInstant ? localOf(value) : (value ?? "");
      show(value);
    },
  );
  const now = button(format === "date" ? "Today" : "Now", () => {
    control.set(nowAs(format));
    env.changed();
  });
  const element = h("div", {}, h("div.with-button", {}, input, now), isInstant && sent);
  return Object.assign(listening(control, env), { element });
}

function localOf(instant) {
  const date = new Date(instant);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function nowAs(format) {
  const instant = new Date().toISOString();
  if (format === "date-time") return `${instant.slice(0, 19)}Z`;
  const local = localOf(instant);
  return format === "date" ? local.slice(0, 10) : local.slice(11);
}

// -- anything

/** A text box for any JSON; says so while there is none in it. */
export function json(env, about) {
  const area = h("textarea.code", { rows: 2, spellcheck: "false", ...attributesOf(about) });
  const read = () => {
    area.setCustomValidity("");
    if (area.value.trim() === "") return undefined;
    try {
      return JSON.parse(area.value);
    } catch (error) {
      area.setCustomValidity(`No JSON: ${error.message}`);
      return undefined;
    }
  };
  const write = (value) => (area.value = value === undefined ? "" : JSON.stringify(value, null, 1));
  const control = typed(area, read, write);
  return listening(control, env);
}
