// Who wrote that? A name in the log opens a card, filled by the reply to GET_USER.

import { element, tell, wordsFor } from "./page.js";

const card = element("profile");
const since = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const PATIENCE = 10_000; // milliseconds, for the connection and for the answer
const SORRY = {
  NOT_FOUND: "This account no longer exists.",
  DEADLINE_EXCEEDED: "No answer came in time. Try again later.",
};

export function offerProfiles(lines, client) {
  lines.addEventListener("click", ({ target }) => {
    const name = target.closest(".author");
    if (name) show(name, Number(name.closest(".line").dataset.author), client);
  });
  element("profile-close").addEventListener("click", () => card.close());
}

async function show(name, id, client) {
  const closed = new AbortController();
  card.addEventListener("close", () => {
    closed.abort();
    name.focus(); // not every browser remembers where the click was
  }, { once: true });

  element("profile-name").textContent = name.textContent;
  element("profile-facts").hidden = true;
  say("Loading…");
  card.showModal();
  try {
    const options = { signal: closed.signal, timeoutMs: PATIENCE, queueTimeoutMs: PATIENCE };
    const { payload } = await client.request("GET_USER", { id }, options);
    fillIn(payload.user);
    say("");
  } catch (error) {
    if (!closed.signal.aborted) say(wordsFor(error, SORRY, "The profile cannot be shown"));
  }
}

function fillIn({ username, date_joined, lines_written }) {
  element("profile-name").textContent = username;
  element("profile-since").textContent = since.format(new Date(date_joined));
  element("profile-lines").textContent = lines_written.toLocaleString();
  element("profile-facts").hidden = false;
}

const say = (words) => tell("profile-words", words);
