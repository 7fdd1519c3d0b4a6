// Right uses of client.d.ts with a contract written by hand; none may be an error.

import { RpcError, ServerError, WsClient, wsClient, type ClientState } from "./client.js";

interface Contract {
  GET_USER: {
    payload: { id: number };
    response: { type: "USER_RESPONSE"; payload: { name: string } };
    progress: { stage: string };
    from: "client";
  };
  PING: { response: { type: "PONG" }; from: "client" };
  SAY: { payload: { text: string }; meta: { trace?: string }; from: "client" };
  SAID: { payload: { text: string }; meta: { seq: number }; from: "server" };
  LEAVE: { from: "client" };
}

const client: WsClient<Contract> = wsClient<Contract>({
  url: "/ws/",
  auth: { getToken: async ({ refresh }) => (refresh ? null : "token") },
});

const sent: boolean = client.send("SAY", { text: "x" }, { meta: { trace: "1" }, correlationId: "c" });
client.send("LEAVE");
client.send("LEAVE", undefined, { correlationId: "c" });
client.send({ type: "SAY" }, { text: "x" });
client.on("SAID", ({ payload, meta }) => {
  const [text, seq, when]: [string, number, number | undefined] = [payload.text, meta.seq, meta.timestamp];
});
client.on("ERROR", ({ payload }) => payload.code === "NOT_FOUND");
const stop: () => void = client.onState((state: ClientState, { retryInMs }) => retryInMs);

export async function main() {
  const reply = await client.request("GET_USER", { id: 1 }, { onProgress: (value) => value.stage.length });
  const [type, name]: ["USER_RESPONSE", string] = [reply.type, reply.payload.name];
  for await (const value of client.request("GET_USER", { id: 1 })) value.stage.toUpperCase();
  const none: undefined = (await client.request("PING")).payload;
  await client.request("GET_USER", { id: 1 }, "USER_RESPONSE", { idempotencyKey: "k" });
  await client.request({ type: "GET_USER", response: "USER_RESPONSE" }, { id: 1 });
  client.request("PING").abort();
  try {
    await client.connect();
  } catch (error) {
    if (error instanceof RpcError) {
      const same: ServerError = error;
      const after: number | null | undefined = same.retryAfterMs;
    }
  }
}

// Without a contract everything goes.
const any = wsClient({ url: new URL("wss://example.com/ws/") });
any.send("WHATEVER");
any.send("WHATEVER", { a: 1 });
any.request("X", { a: 1 }, { onProgress: (value) => value.anything }).then(({ payload }) => payload.foo);
any.request("X", { a: 1 }, "Y", {});
any.on("Z", ({ payload }) => payload.deep.er);
