// Wrong uses of the file that is made of tests/codegen/sample: no marked line compiles.
import { isKnownError, wsClient, type Draw, type Drawn } from "./contract.js";

const client = wsClient({ url: "/ws/" });
const drawing: Draw = { shape: { kind: "circle", radius: 1 }, colour: "red", at: { x: 1 }, "quoted-name": "q" };
declare const drawn: Drawn;
declare const caught: unknown;

client.send("DRAWW", drawing); // wrong: a type that there is not
client.send("DRAW"); // wrong: a payload left out
client.send("DRAW", {}); // wrong: an empty payload where fields are required
client.send("DRAW", { ...drawing, colour: "blue" }); // wrong: a value that is not of the enum
client.send("DRAW", { ...drawing, level: 3 }); // wrong: a number that is not of the enum
client.send("DRAW", { ...drawing, mode: "dots" }); // wrong: another literal
client.send("DRAW", { ...drawing, size: [1, 2, 3] }); // wrong: a tuple too long
client.send("DRAW", { ...drawing, size: [1] }); // wrong: a tuple too short
client.send("DRAW", { ...drawing, shape: { kind: "circle", side: 1 } }); // wrong: a field of another kind
client.send("DRAW", { ...drawing, shape: { kind: "triangle" } }); // wrong: a kind that there is not
client.send("DRAW", { ...drawing, at: { y: 1 } }); // wrong: a field missing in a nested model
client.send("DRAW", { ...drawing, at: { x: 1, z: 1 } }); // wrong: an unknown field in a nested model
client.send("DRAW", { ...drawing, path: [{ x: "1" }] }); // wrong: a string for a number in a list
client.send("DRAW", { ...drawing, labels: { a: 1 } }); // wrong: a number in a dict of strings
client.send("DRAW", { ...drawing, by_mode: { dots: 1 } }); // wrong: a key that the dict does not take
client.send("DRAW", { ...drawing, extra: { note: "n" } }); // wrong: a typed dict without its key
client.send("DRAW", { ...drawing, tree: { name: "a", children: [{ label: "b" }] } }); // wrong: deep in a tree
client.send("DRAW", { ...drawing, when: new Date() }); // wrong: a Date where JSON has a string
client.send("DRAW", { ...drawing, colour: null }); // wrong: null where it is not taken
client.send("DRAW", { ...drawing, quoted_name: "q" }); // wrong: a name in place of its alias
client.send("camel:case", { room_id: 1 }); // wrong: the Python name of a field
client.send("LEAVE", {}); // wrong: a payload for a message without one
client.send("LEAVE", null); // wrong: null for a message without payload
client.send("LEAVE", undefined, { meta: { traceId: "t" } }); // wrong: meta that is not declared
client.send("TRACED", { text: "t" }); // wrong: required meta left out
client.send("TRACED", { text: "t" }, { meta: {} }); // wrong: a key of required meta left out
client.send("TRACED", { text: "t" }, { meta: { traceId: 1 } }); // wrong: meta of another type
client.send("TRACED", { text: "t" }, { meta: { traceId: "t", other: 1 } }); // wrong: an unknown meta key
client.send("FIND", { text: "x" }); // wrong: a request sent as an event
client.send("DRAWN", drawn); // wrong: a message that only the server sends
client.request("DRAW", drawing); // wrong: an event sent as a request
client.request("FIND"); // wrong: a request without its payload
client.request("FIND", { text: 1 }); // wrong: a request's field of another type
client.request("COUNT", {}); // wrong: a payload for a request without one
client.request("FIND", { text: "x" }, { timeout: 1 }); // wrong: an option that there is not
client.request("FIND", { text: "x" }, { onProgress: (value: string) => value }); // wrong: progress of another type
client.request("FIND", { text: "x" }).then((reply) => reply.payload.nothing); // wrong: a field that the reply has not
client.request("FIND", { text: "x" }).then((reply) => reply.type === "CLEARED"); // wrong: a reply of another type
client.request("ASK", { id: 1 }, { onProgress: (value) => value.done }); // wrong: progress of a kind that is not declared
client.request("COUNT").then((reply) => reply.payload.count); // wrong: the payload of a reply without one
client.on("DRAW", () => undefined); // wrong: a message that only clients send
client.on("DRAWNN", () => undefined); // wrong: a message that nobody sends
client.on("DRAWN", ({ payload }) => payload.at.z); // wrong: a field that it has not
client.on("DRAWN", ({ payload }) => payload.colour === "blue"); // wrong: a value that never comes
client.on("DRAWN", ({ payload }) => payload.on.getTime()); // wrong: a date is a string
client.on("DRAWN", ({ meta }) => meta.traceId.length); // wrong: meta that the server may leave out
client.on("CLEARED", ({ payload }) => payload.at); // wrong: the payload of a message without one
client.on("ERROR", ({ payload }) => payload.codes); // wrong: a field that errors have not
if (isKnownError(caught)) caught.code === "ROOM_FUL"; // wrong: a code that there is not
if (caught.code === "ROOM_FULL") client.close(); // wrong: an error that was not looked at
wsClient({ uri: "/ws/" }); // wrong: an option that there is not
wsClient(); // wrong: no options
