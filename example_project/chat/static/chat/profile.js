// Who wrote that? A name in the log opens a card, filled by the reply to GET_USER.

import { element } from "./page.js";

const card = element("profile");
const since = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const SORRY = {
  NOT_FOUND: "This account no longer exists.",
  DEADLINE_EXCEEDED: "The server took too long to answer. Try again later.",
};

export function offerProfiles(lines, request) {
  lines.addEventListener("click", ({ target }) => {
    const name = target.closest(".author");
    if (name) show(name, Number(name.closest(".line").dataset.author), request);
  });
  element("profile-close").addEventListener("click", () => card.close());
}

async function show(name, id, request) {
  const closed = new AbortController();
  card.addEventListener("close", () => {
    closed.abort();
    name.focus(); // not every browser remembers where the click was
  }, { once: true });

  element("profile-name").textContent = name.textContent;
  element("profile-facts").hidden = true;
  tell("Loading…");
  card.showModal();
  try {
    const { user } = await request("GET_USER", { id }, { signal: closed.signal });
    fillIn(user);
    tell("");
  } catch (error) {
    if (!closed.signal.aborted) tell(SORRY[error.code] ?? `The profile cannot be shown: ${error.message}`);
  }
}

function fillIn({ username, date_joined, lines_written }) {
  element("profile-name").textContent = username;
  element("profile-since").textContent = since.format(new Date(date_joined));
  element("profile-lines").textContent = lines_written.toLocaleString();
  element("profile-facts").hidden = false;
}

function tell(words) {
  element("profile-words").textContent = words;
}
