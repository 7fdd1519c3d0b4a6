// What has happened in the room: lines, and notices between them.

import { element, fill } from "./page.js";

const SAME_BREATH = 5 * 60_000; // lines of one author this close together share a byline

export const me = Number(element("chat").dataset.user);
export const lines = element("lines");
const scroller = element("scroller");
let newest = 0; // id of the newest line shown
let atEnd = true;

const today = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const otherDay = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function timeOf(date) {
  return (date.toDateString() === new Date().toDateString() ? today : otherDay).format(date);
}

/** A line that comes again, after a loss or because it was sent twice, is known by its id. */
export const isShown = ({ id }) => element(`line-${id}`) !== null;

export function showLine(line) {
  if (isShown(line)) return;
  const { id, author, text, sent_at } = line;
  const sent = new Date(sent_at);
  const item = fill("line-template", {
    ".avatar": author.name.slice(0, 1).toUpperCase(),
    ".author": author.id === me ? "You" : author.name,
    ".text": text,
    time: timeOf(sent),
  });
  item.id = `line-${id}`;
  item.querySelector("time").dateTime = sent_at;
  item.querySelector("time").title = otherDay.format(sent);
  item.querySelector(".avatar").dataset.hue = author.id % 6;
  item.classList.toggle("mine", author.id === me);
  Object.assign(item.dataset, { line: id, author: author.id, sent: sent.getTime() });

  const later = id > newest ? null : [...lines.children].find((other) => Number(other.dataset.line) > id);
  lines.insertBefore(item, later ?? null);
  newest = Math.max(newest, id);
  if (follows(item, item.previousElementSibling)) {
    item.classList.add("follows");
    item.querySelector(".author").tabIndex = -1; // it is not seen
  }
}

function follows(item, previous) {
  return (
    previous?.dataset.author === item.dataset.author &&
    Number(item.dataset.sent) - Number(previous.dataset.sent) < SAME_BREATH
  );
}

export function showNotice(text) {
  const item = fill("notice-template", {});
  item.textContent = text;
  lines.append(item);
}

export function showHistory({ lines: history, earlier }) {
  const gap = earlier && newest > 0 && !history.some(({ id }) => id <= newest);
  scroller.ariaBusy = "true"; // many lines at once are not read out
  changeLog(() => {
    if (gap) lines.replaceChildren();
    history.forEach(showLine);
    element("earlier").hidden &&= !earlier;
  });
  scroller.ariaBusy = "false";
}

/** Runs a change of the log, and stays at its end if the reader was there. */
export function changeLog(change, { follow = false } = {}) {
  change();
  element("empty").hidden = lines.childElementCount + element("waiting").childElementCount > 0;
  if (atEnd || follow) goToEnd();
  else element("to-end").hidden = false;
}

function goToEnd() {
  scroller.scrollTop = scroller.scrollHeight;
}

let height = scroller.clientHeight;
scroller.addEventListener("scroll", () => {
  // Amid a resize the distance to the end is the layout's doing, not the reader's.
  if (scroller.clientHeight !== height) return;
  atEnd = scroller.scrollHeight - scroller.scrollTop - height < 40;
  if (atEnd) element("to-end").hidden = true;
});
// A phone's keyboard, or a growing text box, makes the log shorter.
new ResizeObserver(() => {
  height = scroller.clientHeight;
  if (atEnd) goToEnd();
}).observe(scroller);
element("to-end").addEventListener("click", () => {
  goToEnd();
  element("text").focus();
});
