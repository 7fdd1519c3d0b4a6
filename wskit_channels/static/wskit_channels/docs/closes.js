// What the end of a connection means, in words.

const MEANINGS = {
  1000: ["Closed normally.", ""],
  1001: ["The other side went away.", "Connect again."],
  1006: ["The connection broke off without a close frame.", "Is the server still running? Connect again."],
  1008: ["The server closed it for protocol abuse: too many frames were refused.", "Connect again, and mind the errors in the log."],
  1009: ["A frame was larger than the server takes.", "Connect again, and send less at a time."],
  1011: ["The server failed: on_open or a handler has a bug.", "Its log has the traceback."],
  1012: ["The server restarts or is being drained.", "Connect again in a moment."],
  1013: ["This page did not read as fast as the server sent.", "Connect again."],
  4000: ["The server saw no sign of life in time.", "Connect again."],
  4401: ["You are not signed in, or your session has ended.", "Sign in again, or give a fresh token."],
  4403: ["You are signed in, but not allowed here.", "Another user or token is needed."],
  4429: ["There are too many connections of this user or address.", "Close some, then connect again."],
};

/** Some servers cannot send 1008 to 1013, and send them 3,000 higher. */
const plainCode = (code) => (code >= 4008 && code <= 4013 ? code - 3000 : code);

/**
 * Why a connection ended, and what to do; `bye` is what the server said before.
 *
 * A browser tells nothing of a refused handshake, so that all that may be behind it is said.
 */
export function explain({ code, reason, wasOpen, isOurs, bye }) {
  if (isOurs) return "Closed by you.";
  if (!wasOpen && code === 1006) {
    return (
      "The handshake was refused, or there is no server. It may not be running, serve nothing at this " +
      "path, not allow this page's origin, or be full; its log says more."
    );
  }
  const [meaning, wayOut] = MEANINGS[plainCode(code)] ?? ["The application closed it.", ""];
  const asked = bye?.retryAfterMs ? `It asks clients to come back after ${bye.retryAfterMs} ms.` : wayOut;
  const said = reason ? ` “${reason}”` : "";
  return [`${code}${said}:`, meaning, asked].filter(Boolean).join(" ");
}

export const isGoodClose = ({ code, isOurs }) => isOurs || code === 1000;
