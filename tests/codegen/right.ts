// Right uses of the file that is made of tests/codegen/sample: all of it compiles.
import {
  isKnownError,
  wsClient,
  type Camel,
  type Client,
  type Draw,
  type Drawn,
  type ErrorCode,
  type Found,
  type Incoming,
  type PagePoint,
  type TreeInput,
} from "./contract.js";

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Equal<A, B>): void => undefined;

const client: Client = wsClient({ url: "/ws/", reconnect: { maxAttempts: 1 } });

// -- payloads

same<Draw["shape"], { kind: "circle"; radius: number } | { kind: "square"; side: number }>(
  null as unknown as true,
);
same<Draw["size"], [number, number] | undefined>(true);
same<Draw["colour"], "red" | "green">(true);
same<Draw["level"], 1 | 2 | undefined>(true);
same<Draw["labels"], { [key: string]: string } | undefined>(true);
same<Draw["by_mode"], Partial<Record<"fill" | "line", number>> | undefined>(true);
same<Draw["price"], number | string | undefined>(true);
same<Draw["anything"], unknown>(true);
same<Draw["quoted-name"], string>(true);
same<TreeInput["children"], TreeInput[] | undefined>(true);
same<Camel, { roomId: number }>(null as unknown as true);
same<Drawn["colour"], "red" | "green">(true);
same<Drawn["far"], boolean>(true);
same<PagePoint["next"], string | null>(true);

// -- sending

const drawing: Draw = {
  shape: { kind: "circle", radius: 1 },
  colour: "red",
  at: { x: 1 },
  size: [1, 2],
  path: [null, { x: 1, y: 2 }],
  labels: { any: "label" },
  by_mode: { fill: 1 },
  extra: { tag: "t" },
  tree: { name: "a", children: [{ name: "b" }] },
  when: null,
  "quoted-name": "q",
};
const sent: boolean = client.send("DRAW", drawing);
client.send("camel:case", { roomId: 1 });
client.send("LEAVE");
client.send("LEAVE", undefined, { correlationId: "c" });
client.send("TRACED", { text: "t" }, { meta: { traceId: "t" } });
client.send("HIDDEN", undefined, { meta: { traceId: "t", hops: 1 } });

// -- receiving

const stop: () => void = client.on("DRAWN", (message) => {
  same<typeof message.type, "DRAWN">(true);
  const when: string = message.payload.on;
  const trace: string | undefined = message.meta.traceId;
  const sentAt: number | undefined = message.meta.timestamp;
  void [when, trace, sentAt];
});
client.on("CLEARED", ({ payload }) => same<typeof payload, undefined>(true));
client.on("ERROR", ({ payload }) => {
  if (payload.code === "ROOM_FULL") console.log(payload.message, payload.retryAfterMs);
});
const later = (message: Incoming<"SHORT">): string => message.payload.text;
client.on("SHORT", later);

// -- requests

export async function requests(): Promise<void> {
  const found = await client.request("FIND", { text: "x" }, {
    timeoutMs: 5_000,
    idempotencyKey: "k",
    onProgress: (stage) => same<typeof stage, { done: number; total: number }>(null as unknown as true),
  });
  same<typeof found.type, "FOUND">(true);
  const trace: string | undefined = found.meta.traceId;
  void trace;
  const payload: Found = found.payload;
  void payload;

  for await (const stage of client.request("FIND", { text: "x" })) {
    const done: number = stage.done;
    void done;
  }
  const counted = await client.request("COUNT");
  same<typeof counted.payload, undefined>(true);
  const asked = client.request("ASK", { id: 1 });
  asked.abort();
  const answer: string = (await asked).payload.answer;
  void answer;
}

// -- errors

export function told(error: unknown): string {
  if (!isKnownError(error)) return "unknown";
  const code: ErrorCode = error.code;
  switch (error.code) {
    case "ROOM_FULL":
      return `full, ${error.retryable}`;
    case "NOT_FOUND":
      return "nothing there";
    default:
      return code;
  }
}

// -- what is the client's own stays

await client.connect();
client.onState((state) => state === "open");
const state: "closed" | "connecting" | "open" | "closing" | "reconnecting" = client.state;
await client.close();
void [sent, stop, state];
