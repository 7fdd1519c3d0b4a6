// Wrong uses of client.d.ts: each must be an error, or its comment is one.

import { wsClient } from "./client.js";

type Contract = {
  GET_USER: {
    payload: { id: number };
    response: { type: "USER_RESPONSE"; payload: { name: string } };
    progress: { stage: string };
    from: "client";
  };
  PING: { response: { type: "PONG" } };
  SAY: { payload: { text: string }; from: "client" };
  SAID: { payload: { text: string }; from: "server" };
  LEAVE: { from: "client" };
};

const client = wsClient<Contract>({ url: "/ws/" });

// @ts-expect-error: no such type
client.send("NOPE", {});
// @ts-expect-error: the payload is missing
client.send("SAY");
// @ts-expect-error: of the wrong type
client.send("SAY", { text: 1 });
// @ts-expect-error: one key too many
client.send("SAY", { text: "x", more: 1 });
// @ts-expect-error: the message has no payload
client.send("LEAVE", {});
// @ts-expect-error: only the server sends it
client.send("SAID", { text: "" });
// @ts-expect-error: nothing answers it
client.request("SAY", { text: "" });
// @ts-expect-error: only clients send it
client.on("SAY", () => {});
// @ts-expect-error: the reply has no such key
client.request("GET_USER", { id: 1 }).then(({ payload }) => payload.nope);
// @ts-expect-error: nor has its progress
client.request("GET_USER", { id: 1 }, { onProgress: (value) => value.nope });
// @ts-expect-error: another reply
client.request("GET_USER", { id: 1 }, "PONG");
// @ts-expect-error: no such policy
wsClient({ url: "/", queue: "none" });
// @ts-expect-error: a response is a message
wsClient<{ A: { response: "B" } }>({ url: "/" });
