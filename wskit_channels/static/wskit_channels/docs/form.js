// A form for a JSON Schema. Its value is a JSON value, and what the form cannot show of one
// (a key that the schema does not know, a text where a number belongs) is kept all the same.

import { isNative, json, makeLeaf } from "./controls.js";
import { button, freshId, h, prose } from "./dom.js";
import { blankOf, itemOf, kindOf, rules, shows, split, typeText, variantOf, variantText } from "./schema.js";

const COMPOSITES = new Set(["object", "map", "list", "tuple", "union"]);

export class Form {
  #control;

  /** `changed` is called whenever somebody has changed something. */
  constructor(schema, definitions, changed) {
    const env = { definitions, changed };
    const { schema: whole } = split(schema, definitions);
    this.#control = kindOf(whole) === "object" ? new ObjectControl(whole, env) : new Row("payload", whole, env);
    this.element = h("div.form", {}, this.#control.element);
  }

  get value() {
    return this.#control.value;
  }

  set(value) {
    this.#control.set(value);
  }

  /** The first field whose text means nothing, such as broken JSON. */
  get broken() {
    return this.element.querySelector(":invalid:not(fieldset):not([type=number])");
  }

  clearProblems() {
    for (const place of this.element.querySelectorAll(".problem")) place.textContent = "";
    for (const input of this.element.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  }

  /** Put the server's complaints, `{ path, message }`, beside their fields; returns those without one. */
  showProblems(issues) {
    this.clearProblems();
    return issues.filter(({ path, message }) => {
      let found = null;
      let place = this.#control;
      for (const key of path) {
        // A path also names the variant of a union, which is no place of its own.
        place = place?.at?.(key) ?? place;
        if (place instanceof Row) found = place;
      }
      found?.complain(message);
      return !found;
    });
  }
}

/** One named place of a value: its label, what it is, whether it is there or null, and its control. */
class Row {
  #control = null;
  #absent;
  #null = false;

  constructor(name, given, env, { optional = false, remove = null, shown = name } = {}) {
    const { schema, nullable } = split(given, env.definitions);
    Object.assign(this, { name, shown, schema, nullable, env, optional, remove });
    this.#absent = optional;
    this.id = freshId("f");
    this.element = h("div.field", { "data-field": name });
    this.problem = h("p.problem", { id: `${this.id}-problem` });
    this.set(optional ? undefined : blankOf(given, env.definitions));
  }

  get value() {
    if (this.#absent) return undefined;
    return this.#null ? null : this.#control.value;
  }

  set(value) {
    const { schema, optional, nullable } = this;
    const isUnused = value === undefined && optional;
    const isNull = value === null && nullable;
    const fallsBack = !isUnused && !isNull && value !== undefined && !this.#canShow(value);
    this.#absent = isUnused;
    this.#null = isNull;
    this.#control = isUnused || isNull ? null : this.#make(fallsBack);
    this.#control?.set(value);
    this.isComposite = Boolean(this.#control) && !fallsBack && COMPOSITES.has(kindOf(schema));
    this.#render();
  }

  at(key) {
    return this.#control?.at?.(key);
  }

  focus() {
    if (this.#control) this.#control.focus();
    else this.element.querySelector("button, input")?.focus();
  }

  complain(message) {
    this.problem.textContent = [this.problem.textContent, message].filter(Boolean).join(" ");
    (this.#control?.input ?? this.element.querySelector("select, input"))?.setAttribute("aria-invalid", "true");
  }

  #canShow(value) {
    if (!shows(this.schema, value)) return false;
    return typeof value !== "string" || kindOf(this.schema) !== "string" || isNative(this.schema, value);
  }

  #make(fallsBack) {
    const about = { id: this.id, describedBy: `${this.id}-doc ${this.id}-problem` };
    return fallsBack ? json(this.env, about) : makeControl(this.schema, this.env, about, this.name);
  }

  #render() {
    const isSimple = !this.isComposite;
    const input = this.#control?.input;
    const label = h(isSimple && input ? "label" : "span", { id: `${this.id}-label`, for: input?.id }, this.shown);
    label.className = "field-name";
    const head = h("div.field-head", {}, label, h("span.field-type", {}, this.#typeText()), this.#switches());
    const control = this.#control?.element ?? this.#absence();
    this.element.classList.toggle("composite", this.isComposite);
    this.element.classList.toggle("tick", input?.type === "checkbox" && isSimple);
    if (this.isComposite) {
      this.element.setAttribute("role", "group");
      this.element.setAttribute("aria-labelledby", `${this.id}-label`);
    } else this.element.removeAttribute("role");
    this.problem.textContent = "";
    this.element.replaceChildren(head, control, this.#doc(), this.problem);
  }

  #typeText() {
    const text = typeText(this.schema, this.env.definitions);
    return this.optional || this.remove ? text : `${text}, required`;
  }

  #doc() {
    const said = rules(this.schema).join(", ");
    return h("div.field-doc", { id: `${this.id}-doc` }, prose(this.schema.description ?? ""), said && h("p.rules", {}, said));
  }

  #absence() {
    if (this.#null) return h("code.fixed", {}, "null");
    const { default: value } = this.schema;
    const words = value === undefined ? "left out" : `left out: the server takes ${JSON.stringify(value)}`;
    return h("span.absent", {}, words);
  }

  /** What is beside the name: null, set, leave out, remove. */
  #switches() {
    const { shown, optional } = this;
    const made = [];
    if (this.nullable && !this.#absent) {
      const box = h("input", { type: "checkbox", checked: this.#null, "aria-label": `${shown} is null` });
      box.addEventListener("change", () => this.#switchTo(box.checked ? null : this.#some(), "[type=checkbox]"));
      made.push(h("label.null", {}, box, " null"));
    }
    if (this.#absent) made.push(button("Set", () => this.#switchTo(this.#first(), null), { "aria-label": `Set ${shown}` }));
    else if (optional) {
      made.push(button("Leave out", () => this.#switchTo(undefined, "button"), { "aria-label": `Leave out ${shown}` }));
    }
    if (this.remove) made.push(button("Remove", this.remove, { "aria-label": `Remove ${shown}` }));
    return h("span.switches", {}, made);
  }

  /** What a place begins with once it is there: its default, or something empty. */
  #first() {
    const begun = blankOf(this.schema, this.env.definitions);
    return begun === null || begun === undefined ? this.#some() : begun;
  }

  /** Something that is not null, for a place that has to hold something now. */
  #some() {
    const { default: _, ...schema } = this.schema;
    return blankOf(schema, this.env.definitions) ?? NOTHING;
  }

  #switchTo(value, focused) {
    if (value === NOTHING) {
      this.#absent = this.#null = false;
      this.#control = this.#make(false);
      this.isComposite = COMPOSITES.has(kindOf(this.schema));
      this.#render();
    } else this.set(value);
    const target = focused && this.element.querySelector(`.switches ${focused}`);
    if (target) target.focus();
    else this.focus();
    this.env.changed();
  }
}

/** Of a place that is there and empty, such as a number that is still to be typed. */
const NOTHING = Symbol("nothing typed yet");

function makeControl(schema, env, about, name) {
  switch (kindOf(schema)) {
    case "object":
      return new ObjectControl(schema, env);
    case "map":
      return new MapControl(schema, env, name);
    case "list":
    case "tuple":
      return new ListControl(schema, env, name);
    case "union":
      return new UnionControl(schema, env, about, name);
    default:
      return makeLeaf(schema, env, about);
  }
}

class ObjectControl {
  #rows = new Map();
  #unknown = {};
  #order = [];

  constructor(schema, env) {
    const required = new Set(schema.required);
    for (const [key, one] of Object.entries(schema.properties ?? {})) {
      // A discriminator with a default says which kind it is: leaving it out would not.
      const optional = !required.has(key) && !("const" in split(one, env.definitions).schema);
      this.#rows.set(key, new Row(key, one, env, { optional }));
    }
    this.note = h("p.rules");
    const rows = [...this.#rows.values()].map((row) => row.element);
    this.element = h("div.rows", {}, rows.length ? rows : h("p.rules", {}, "No fields."), this.note);
  }

  get value() {
    const pairs = [...this.#rows].map(([key, row]) => [key, row.value]);
    const made = new Map([...pairs.filter(([, value]) => value !== undefined), ...Object.entries(this.#unknown)]);
    // In the order in which the keys were given, those that are new last.
    const keys = [...this.#order.filter((key) => made.has(key)), ...made.keys()];
    return Object.fromEntries([...new Set(keys)].map((key) => [key, made.get(key)]));
  }

  set(value = {}) {
    this.#order = Object.keys(value);
    for (const [key, row] of this.#rows) row.set(value[key]);
    this.#unknown = Object.fromEntries(Object.entries(value).filter(([key]) => !this.#rows.has(key)));
    const names = Object.keys(this.#unknown);
    this.note.textContent = names.length ? `Also sent, though the schema does not know them: ${names.join(", ")}` : "";
  }

  at(key) {
    return this.#rows.get(String(key));
  }

  focus() {
    const fields = [...this.#rows.values()];
    (fields.find((row) => row.value !== undefined || !row.optional) ?? fields[0])?.focus();
  }
}

/** What lists and maps have in common: rows that come and go. */
class Growing {
  rows = [];

  constructor(schema, env, name) {
    Object.assign(this, { schema, env, name });
    this.list = h("div.rows");
    const added = kindOf(schema) === "map" ? "Add key" : "Add item";
    this.more = button(added, () => this.grow(), { "aria-label": `${added} to ${name}` });
    this.element = h("div", {}, this.list, this.more);
    this.show();
  }

  grow() {
    const row = this.push();
    this.show();
    row.focus();
    this.env.changed();
  }

  drop(row) {
    const at = this.rows.indexOf(row);
    this.set(this.without(at));
    (this.rows[at] ?? this.rows[at - 1] ?? this.more).focus();
    this.env.changed();
  }

  show() {
    this.list.replaceChildren(...this.rows.map((row) => row.element));
    this.more.disabled = this.rows.length >= (this.schema.maxItems ?? this.schema.maxProperties ?? Infinity);
    this.more.hidden = Boolean(this.schema.prefixItems) && !itemOf(this.schema, this.rows.length);
  }

  focus() {
    (this.rows[0] ?? this.more).focus();
  }
}

class ListControl extends Growing {
  get value() {
    return this.rows.map((row) => row.value).filter((one) => one !== undefined);
  }

  set(value = []) {
    this.rows = [];
    const { prefixItems = [] } = this.schema;
    const items = value.length < prefixItems.length ? [...value, ...prefixItems.slice(value.length).map(() => undefined)] : value;
    for (const one of items) {
      const row = this.push();
      if (one !== undefined) row.set(one);
    }
    this.show();
  }

  push() {
    const at = this.rows.length;
    const isFixed = at < (this.schema.prefixItems?.length ?? 0);
    const remove = isFixed ? null : () => this.drop(row);
    const row = new Row(`${this.name} ${at + 1}`, itemOf(this.schema, at) ?? {}, this.env, { remove });
    this.rows.push(row);
    return row;
  }

  without(at) {
    return this.rows.filter((_, other) => other !== at).map((row) => row.value);
  }

  at(key) {
    return this.rows[Number(key)];
  }
}

class MapControl extends Growing {
  get value() {
    const pairs = this.rows.map(({ key, row }) => [key.value, row.value]);
    return Object.fromEntries(pairs.filter(([, one]) => one !== undefined));
  }

  set(value = {}) {
    this.rows = [];
    for (const [key, one] of Object.entries(value)) this.push(key).row.set(one);
    this.show();
  }

  push(name = "") {
    const entry = { focus: () => entry.key.focus() };
    entry.key = h("input", { type: "text", value: name, placeholder: "key", "aria-label": `Key ${this.rows.length + 1} of ${this.name}` });
    entry.key.addEventListener("input", () => this.env.changed());
    const valueName = `${this.name} value ${this.rows.length + 1}`;
    const values = this.schema.additionalProperties ?? Object.values(this.schema.patternProperties ?? {})[0] ?? {};
    entry.row = new Row(valueName, values, this.env, { remove: () => this.drop(entry), shown: "value" });
    entry.element = h("div.pair", {}, entry.key, entry.row.element);
    this.rows.push(entry);
    return entry;
  }

  without(at) {
    const kept = this.rows.filter((_, other) => other !== at);
    return Object.fromEntries(kept.map(({ key, row }) => [key.value, row.value]));
  }

  at(key) {
    return this.rows.find((entry) => entry.key.value === String(key))?.row;
  }
}

class UnionControl {
  #row = null;

  constructor(schema, env, about, name) {
    Object.assign(this, { schema, env, name });
    const options = schema.variants.map((one, at) => h("option", { value: at }, variantText(one, env.definitions)));
    this.input = h("select", { id: about.id, "aria-describedby": about.describedBy, "aria-label": `Kind of ${name}` }, options);
    this.input.addEventListener("change", () => {
      this.#become(Number(this.input.value));
      env.changed();
    });
    this.body = h("div.variant");
    this.element = h("div", {}, this.input, this.body);
    this.#become(0);
  }

  get value() {
    return this.#row.value;
  }

  set(value) {
    const { variants } = this.schema;
    const at = value === undefined ? 0 : variantOf(variants, value, this.env.definitions);
    this.input.value = String(Math.max(at, 0));
    this.#become(Math.max(at, 0));
    if (value !== undefined) this.#row.set(value);
  }

  at(key) {
    return this.#row.at(key);
  }

  focus() {
    this.input.focus();
  }

  #become(at) {
    const { title, description, ...variant } = this.schema.variants[at];
    this.#row = new Row(this.name, variant, this.env, { shown: this.name });
    this.body.replaceChildren(this.#row.element);
  }
}
