// What every part of the page needs.

export const element = (id) => document.getElementById(id);

/** A template's copy, with texts put where selectors say. */
export function fill(template, fields) {
  const item = element(template).content.cloneNode(true).firstElementChild;
  for (const [selector, text] of Object.entries(fields)) item.querySelector(selector).textContent = text;
  return item;
}
