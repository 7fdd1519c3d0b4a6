// What every part of the page needs.

import { ConnectionClosedError, TimeoutError } from "wskit";

export const element = (id) => document.getElementById(id);

/** A template's copy, with texts put where selectors say. */
export function fill(template, fields) {
  const item = element(template).content.cloneNode(true).firstElementChild;
  for (const [selector, text] of Object.entries(fields)) item.querySelector(selector).textContent = text;
  return item;
}

/** Put words where they are read out, unless they are there: they would be read out again. */
export function tell(id, words) {
  if (element(id).textContent !== words) element(id).textContent = words;
}

/** Why a request failed; `sorry` has words for error codes, `otherwise` what failed. */
export function wordsFor(error, sorry, otherwise) {
  if (error instanceof ConnectionClosedError) return `${otherwise}: The connection was lost.`;
  const code = error instanceof TimeoutError ? "DEADLINE_EXCEEDED" : error.code;
  return sorry[code] ?? `${otherwise}: ${error.message}`;
}
