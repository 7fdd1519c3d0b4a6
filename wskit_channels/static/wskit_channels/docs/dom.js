// Making elements, and showing JSON in them.

let made = 0;

/** An id that no other element has. */
export const freshId = (name = "e") => `${name}-${(made += 1)}`;

/**
 * An element: `h("button.quiet", { onclick, "aria-label": "Close" }, "×")`.
 *
 * Functions become listeners, `true` an attribute without value; null, undefined and false
 * are left out, among attributes and children alike.
 */
export function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const button = (text, onclick, attributes = {}, kind = "quiet") =>
  h(`button.${kind}`, { type: "button", onclick, ...attributes }, text);

const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** JSON as coloured text in a box that can be scrolled by keyboard. */
export function jsonBox(text, label) {
  const code = h("code");
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [whole, string, colon, word] = match;
    code.append(text.slice(at, match.index));
    const kind = colon ? "key" : string ? "string" : word ? "word" : "number";
    code.append(h(`span.json-${kind}`, {}, string ?? whole), colon ?? "");
    at = match.index + whole.length;
  }
  code.append(text.slice(at));
  return h("pre.json", { tabindex: "0", role: "region", "aria-label": label }, code);
}

/**
 * JSON text, indented; what is no JSON stays as it is.
 *
 * Works on the text, so that numbers too long for JavaScript are shown as they were sent.
 */
export function pretty(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let made = "";
  let indent = "";
  for (const [part] of text.matchAll(/"(?:\\.|[^"\\])*"|\{\s*\}|\[\s*\]|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    if (part === "{" || part === "[") made += `${part}\n${(indent += "  ")}`;
    else if (part === "}" || part === "]") made += `\n${(indent = indent.slice(2))}${part}`;
    else if (part === ",") made += `,\n${indent}`;
    else if (part === ":") made += ": ";
    else made += /^[{[]/.test(part) ? part.replace(/\s/g, "") : part;
  }
  return made;
}

const encoder = new TextEncoder();
export const bytesOf = (text) => encoder.encode(text).length;

export function sizeText(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function durationText(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Prose of docstrings: paragraphs, and `code` marked by one or two backquotes. */
export function prose(text) {
  return text
    .trim()
    .split(/\n\s*\n/)
    .filter(Boolean)
    .map((paragraph) =>
      h("p", {}, ...paragraph.split(/(``?[^`]+``?)/).map((part) =>
        part.startsWith("`") ? h("code", {}, part.replaceAll("`", "")) : part,
      )),
    );
}

/** Copy text; where the browser forbids it, the button says so. */
export async function copy(text, control) {
  const before = control.textContent;
  try {
    await navigator.clipboard.writeText(text);
    control.textContent = "Copied";
  } catch {
    control.textContent = "Not allowed";
  }
  setTimeout(() => (control.textContent = before), 1500);
}

/** A random id, also on pages without TLS, where `crypto.randomUUID` is missing. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
