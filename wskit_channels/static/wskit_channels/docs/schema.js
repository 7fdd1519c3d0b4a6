// JSON Schemas as the contract has them: what kind of value one means, in words and by example.
// Pure: nothing of the page is in here.

const NULLS = new Set(["null"]);

/** A schema with its reference followed, and what stands beside the reference kept. */
export function resolved(schema, definitions) {
  if (schema === true || schema === undefined || schema === null) return {};
  if (schema === false) return { not: {} };
  let found = schema;
  for (let steps = 0; found.$ref && steps < 50; steps += 1) {
    const { $ref, ...beside } = found;
    found = { ...definitions[$ref.replace("#/$defs/", "")], ...beside };
  }
  if (found.allOf) {
    const { allOf, ...beside } = found;
    found = Object.assign({}, ...allOf.map((one) => resolved(one, definitions)), beside);
  }
  if (Array.isArray(found.type)) {
    const { type, ...beside } = found;
    found = { ...beside, anyOf: type.map((one) => ({ ...rulesOf(one, beside), type: one })) };
  }
  return found;
}

/** The rules of a schema of several types that belong to one of them. */
function rulesOf(type, { description, default: _, ...rules }) {
  return NULLS.has(type) ? {} : rules;
}

/**
 * A schema without its null: `{ schema, nullable }`.
 *
 * Of several alternatives that are left, `schema.variants` is the list.
 */
export function split(given, definitions) {
  let schema = resolved(given, definitions);
  let nullable = schema.type === "null";
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (alternatives) {
    const { anyOf, oneOf, ...beside } = schema;
    const variants = [];
    for (const one of alternatives) {
      const part = split(one, definitions);
      nullable ||= part.nullable;
      if (part.schema.variants) variants.push(...part.schema.variants);
      else if (part.schema.type !== "null") variants.push(part.schema);
    }
    schema = variants.length === 1 ? { ...variants[0], ...beside } : { ...beside, variants };
    if (variants.length === 0) schema = { ...beside, type: "null" };
  }
  if (schema.enum?.includes(null)) {
    nullable = true;
    schema = { ...schema, enum: schema.enum.filter((one) => one !== null) };
  }
  return { schema, nullable };
}

/** What edits a schema: const, enum, union, list, tuple, object, map, boolean, number, string or any. */
export function kindOf(schema) {
  if ("const" in schema) return "const";
  if (schema.enum) return "enum";
  if (schema.variants) return "union";
  if (schema.type === "array") return schema.prefixItems ? "tuple" : "list";
  if (schema.type === "object") {
    const isMap = !schema.properties && schema.additionalProperties !== false;
    return isMap ? "map" : "object";
  }
  if (schema.type === "integer") return "number";
  return ["boolean", "number", "string", "null"].includes(schema.type) ? schema.type : "any";
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether a value is of a schema's kind, however deep; lengths and bounds are the server's to judge. */
export function fits(given, value, definitions) {
  const { schema, nullable } = split(given, definitions);
  if (value === null) return nullable || kindOf(schema) === "any";
  switch (kindOf(schema)) {
    case "const":
      return same(schema.const, value);
    case "enum":
      return schema.enum.some((one) => same(one, value));
    case "union":
      return schema.variants.some((one) => fits(one, value, definitions));
    case "list":
      return Array.isArray(value) && value.every((one) => fits(schema.items, one, definitions));
    case "tuple":
      return Array.isArray(value) && value.every((one, at) => fits(itemOf(schema, at), one, definitions));
    case "map":
      return isObject(value);
    case "object":
      return isObject(value) && fitsObject(schema, value, definitions);
    case "number":
      return typeof value === "number" && (schema.type === "number" || Number.isInteger(value));
    case "any":
      return true;
    default:
      return typeof value === schema.type;
  }
}

function fitsObject({ properties = {}, required = [], additionalProperties }, value, definitions) {
  if (required.some((key) => value[key] === undefined)) return false;
  return Object.entries(value).every(([key, one]) => {
    if (key in properties) return one === undefined || fits(properties[key], one, definitions);
    return additionalProperties !== false;
  });
}

export const itemOf = (schema, at) => schema.prefixItems?.[at] ?? schema.items;

export const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** Whether a kind can show a value without changing it; deeper parts decide for themselves. */
export function shows(schema, value) {
  switch (kindOf(schema)) {
    case "list":
    case "tuple":
      return Array.isArray(value);
    case "map":
    case "object":
      return isObject(value);
    case "const":
      return same(schema.const, value);
    case "enum":
      return schema.enum.some((one) => same(one, value));
    case "boolean":
    case "number":
    case "string":
      return typeof value === kindOf(schema) && !(Object.is(value, -0) || Number.isNaN(value));
    default:
      return true;
  }
}

/** The variant of a union that a value is of; the one that names its discriminator, else the first that fits. */
export function variantOf(variants, value, definitions) {
  const fitting = variants.findIndex((one) => fits(one, value, definitions));
  if (fitting >= 0) return fitting;
  if (isObject(value)) {
    const named = variants.findIndex(({ properties = {} }) =>
      Object.entries(properties).some(([key, one]) => "const" in one && key in value && same(one.const, value[key])),
    );
    if (named >= 0) return named;
  }
  return variants.findIndex((one) => shows(one, value) && kindOf(one) !== "any");
}

/** A short name of a schema: what stands in tables and beside labels. */
export function typeText(given, definitions, deep = 0) {
  const { schema, nullable } = split(given, definitions);
  const text = plainText(schema, definitions, deep);
  return nullable && text !== "null" ? `${text} or null` : text;
}

function plainText(schema, definitions, deep) {
  const inner = (one) => (deep > 3 ? "…" : typeText(one, definitions, deep + 1));
  switch (kindOf(schema)) {
    case "const":
      return JSON.stringify(schema.const);
    case "enum":
      return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
    case "union":
      return [...new Set(schema.variants.map((one) => one.title ?? inner(one)))].join(" or ");
    case "list":
      return `${schema.uniqueItems ? "set" : "list"} of ${inner(schema.items)}`;
    case "tuple":
      return `[${schema.prefixItems.map(inner).join(", ")}]`;
    case "map":
      return schema.additionalProperties ? `object of ${inner(schema.additionalProperties)}` : "object";
    case "object":
      return schema.title ?? "object";
    case "string":
      return schema.format ?? "string";
    case "any":
      return "any JSON";
    default:
      return schema.type;
  }
}

/** The name of one variant of a union, as a select offers it. */
export function variantText(schema, definitions) {
  const marks = Object.entries(schema.properties ?? {})
    .filter(([, one]) => "const" in one)
    .map(([, one]) => String(one.const));
  return marks.join(", ") || schema.title || typeText(schema, definitions);
}

const BOUNDS = [
  ["minLength", "at least % characters"],
  ["maxLength", "at most % characters"],
  ["minimum", "≥ %"],
  ["exclusiveMinimum", "> %"],
  ["maximum", "≤ %"],
  ["exclusiveMaximum", "< %"],
  ["multipleOf", "multiple of %"],
  ["minItems", "at least % items"],
  ["maxItems", "at most % items"],
  ["minProperties", "at least % keys"],
  ["maxProperties", "at most % keys"],
  ["pattern", "matches %"],
];

/** The rules of a schema in words, such as "at most 50 characters". */
export function rules(schema) {
  return BOUNDS.filter(([key]) => schema[key] !== undefined && !(schema.prefixItems && /Items/.test(key))).map(
    ([key, words]) => words.replace("%", () => String(schema[key])),
  );
}

// -- values to begin with

/** What a form begins with: what is required, empty where there is something to type. */
export function blankOf(given, definitions, deep = 0) {
  const { schema, nullable } = split(given, definitions);
  if (schema.default !== undefined) return structuredClone(schema.default);
  if (nullable) return null;
  switch (kindOf(schema)) {
    case "const":
      return schema.const;
    case "enum":
      return schema.enum[0];
    case "union":
      return blankOf(schema.variants[0], definitions, deep);
    case "list":
      return Array.from({ length: schema.minItems ?? 0 }, () => blankOf(schema.items, definitions, deep + 1));
    case "tuple":
      return schema.prefixItems.map((one) => blankOf(one, definitions, deep + 1));
    case "map":
      return {};
    case "object":
      return objectOf(schema, schema.required ?? [], (one) => blankOf(one, definitions, deep + 1), deep);
    case "boolean":
      return false;
    case "string":
      return schema.format ? undefined : "";
    case "any":
      return null;
    default:
      return undefined;
  }
}

function objectOf({ properties = {} }, keys, make, deep) {
  if (deep > 8) return {};
  const pairs = keys.filter((key) => key in properties).map((key) => [key, make(properties[key], key)]);
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
}

const FORMATS = {
  "date-time": "2030-01-31T12:00:00Z",
  date: "2030-01-31",
  time: "12:00:00",
  duration: "PT15M",
  uuid: "3f2b8c1e-5d7a-4c3b-9e6f-1a2b3c4d5e6f",
  email: "someone@example.org",
  uri: "https://example.org/",
  ipv4: "192.0.2.1",
  ipv6: "2001:db8::1",
};
const WORDS = ["example", "text", "1", "a", "A", "1.0", "AA", "abc-123", "12345678"];

/** A value of a schema, with everything in it; optional parts are left out where it grows too deep. */
export function exampleOf(given, definitions, name = "", deep = 0) {
  const { schema, nullable } = split(given, definitions);
  if (schema.examples?.length) return structuredClone(schema.examples[0]);
  if (schema.default !== undefined && schema.default !== null && !same(schema.default, [])) {
    return structuredClone(schema.default);
  }
  if (nullable && deep > 4) return null;
  const inner = (one, key = name) => exampleOf(one, definitions, key, deep + 1);
  switch (kindOf(schema)) {
    case "const":
      return schema.const;
    case "enum":
      return schema.enum[0];
    case "union":
      return exampleOf(schema.variants[0], definitions, name, deep);
    case "list":
      return Array.from({ length: lengthOf(schema, deep) }, () => inner(schema.items));
    case "tuple":
      return schema.prefixItems.map((one) => inner(one));
    case "map":
      return deep > 4 ? {} : { key: inner(schema.additionalProperties ?? {}, "value") };
    case "object": {
      const keys = deep > 4 ? (schema.required ?? []) : Object.keys(schema.properties ?? {});
      return objectOf(schema, keys, inner, deep);
    }
    case "boolean":
      return true;
    case "number":
      return numberOf(schema);
    case "string":
      return stringOf(schema, name);
    default:
      return null;
  }
}

const lengthOf = ({ minItems = 0, maxItems = 1 }, deep) => Math.max(minItems, deep > 4 ? 0 : Math.min(1, maxItems));

function numberOf({ type, minimum, exclusiveMinimum, maximum, exclusiveMaximum, multipleOf }) {
  const step = multipleOf ?? (type === "integer" ? 1 : 0.5);
  const least = minimum ?? (exclusiveMinimum === undefined ? undefined : exclusiveMinimum + step);
  const most = maximum ?? (exclusiveMaximum === undefined ? undefined : exclusiveMaximum - step);
  const wanted = Math.min(Math.max(1, least ?? 1), most ?? Infinity);
  return multipleOf ? Math.ceil(wanted / multipleOf) * multipleOf : wanted;
}

function stringOf({ format, pattern, minLength = 0, maxLength = Infinity }, name) {
  if (FORMATS[format]) return FORMATS[format];
  const words = [name, ...WORDS].filter((word) => word || pattern === undefined);
  const sized = words.map((word) => word.padEnd(minLength, "a").slice(0, maxLength));
  return sized.find((word) => matches(pattern, word)) ?? sized[0] ?? "";
}

function matches(pattern, word) {
  if (pattern === undefined) return word !== "";
  try {
    return new RegExp(pattern, "u").test(word);
  } catch {
    return true; // Python's own syntax: the server knows
  }
}
