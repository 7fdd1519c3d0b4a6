"""
TypeScript of a contract: types of all messages, and the browser client typed by them.

The file imports the client that this package ships, adds no code of its own but two small
functions, and is checked by ``tsc --strict``: a type of message that does not exist, a
payload that does not fit, or a progress that is none does not compile.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from wskit_channels.codegen.contract import (
    Contract,
    ErrorContract,
    MessageContract,
    RouteContract,
)
from wskit_channels.codegen.typescript_types import (
    TypeNames,
    comment,
    declaration,
    literal,
    property_name,
    type_of_schema,
)

__all__ = ["typescript"]

_OWN_NAMES = """
ApplicationErrorCode CODES Client ErrorBody ErrorCode ErrorPayload Events Incoming KnownError
Message PendingCall Reply RequestOptions Requests Rest SendOptions ServerError ServerMessages
StandardErrorCode TopicErrorCode Unsubscribe WsClient WsClientOptions connect isKnownError wsClient
"""
"""What the file itself declares or imports: a message class of such a name gets another."""

HEAD = """\
// Written by "manage.py wskit_typescript" from the server's messages: change those, not this.

import {{
  ServerError,
  wsClient as connect,
  type ErrorPayload,
  type Message,
  type PendingCall,
  type RequestOptions,
  type SendOptions,
  type Unsubscribe,
  type WsClient,
  type WsClientOptions,
}} from {client};
"""

TAIL = """\
/** What the server says of an error. */
export type ErrorBody = Omit<ErrorPayload, "code"> & {
  /** One of `ErrorCode`, unless the server knows more than this file. */
  code: ErrorCode | (string & {});
};

// -- the client

/** Payload and options; each may be left out where there is none, or none that is required. */
type Rest<M extends { payload?: unknown; meta?: unknown }, Options> =
  M extends { meta: object }
    ? [payload: M["payload"], options: Options & Pick<M, "meta">]
    : M extends { payload: unknown }
      ? [payload: M["payload"], options?: Options & Pick<M, "meta">]
      : [payload?: undefined, options?: Options & Pick<M, "meta">];

/** A message as handlers get it. */
export type Incoming<T extends keyof ServerMessages> = Message<
  T,
  ServerMessages[T]["payload"],
  ServerMessages[T]["meta"]
>;

/** The reply to a request. */
export type Reply<T extends keyof Requests> = Message<
  Requests[T]["response"]["type"],
  Requests[T]["response"]["payload"],
  Requests[T]["response"]["meta"]
>;

/** The client, typed by this server's messages. */
export interface Client extends Omit<WsClient, "on" | "request" | "send"> {
  /** Call back with what the server says of frames and events that failed. */
  on(
    type: "ERROR",
    handler: (message: Message<"ERROR" | "RPC_ERROR", ErrorBody>) => void,
  ): Unsubscribe;
  /** Call back with each message of a type. */
  on<T extends keyof ServerMessages>(
    type: T,
    handler: (message: Incoming<T>) => void,
  ): Unsubscribe;

  /** Send a message, now or when there is a connection; false: it never will be. */
  send<T extends keyof Events>(
    type: T,
    ...rest: Rest<Events[T], Omit<SendOptions, "meta">>
  ): boolean;

  /** Send a request; the promise is of its reply, and iterates over its progress. */
  request<T extends keyof Requests>(
    type: T,
    ...rest: Rest<
      Requests[T],
      Omit<RequestOptions<never, Requests[T]["progress"]>, "meta">
    >
  ): PendingCall<Reply<T>, Requests[T]["progress"]>;
}

/** Make a client of this server. */
export function wsClient(options: WsClientOptions): Client {
  return connect(options) as unknown as Client;
}

/** An error that the server answered with, by a code that this file knows. */
export type KnownError = ServerError & { readonly code: ErrorCode };

const CODES: ReadonlySet<string> = new Set<ErrorCode>([
%s]);

/** Whether what was caught is an error of the server's, by a code that this file knows. */
export function isKnownError(error: unknown): error is KnownError {
  return error instanceof ServerError && CODES.has(error.code);
}
"""


def typescript(contract: Contract, *, client: str = "./client.js") -> str:
    """The file's text; ``client`` is the module that it imports the client from."""
    names = TypeNames(contract.definitions, _OWN_NAMES.split())
    parts = [
        HEAD.format(client=json.dumps(client)),
        "// -- payloads\n",
        *(declaration(names[name], schema, names) for name, schema in contract.definitions.items()),
        "// -- messages\n",
        "".join(_events(contract, names)),
        "".join(_requests(contract, names)),
        "".join(_server_messages(contract, names)),
        "// -- errors\n",
        *_error_codes(contract),
        TAIL % "".join(f"  {literal(error.code)},\n" for error in contract.errors),
    ]
    return "\n".join(parts)


def _events(contract: Contract, names: TypeNames) -> Iterator[str]:
    yield "/** What a client sends without waiting for an answer. */\n"
    yield "export interface Events {\n"
    for route in contract.routes:
        if route.response is None:
            meta = _meta_taken(route.message, names)
            yield from _entry(route.message, names, meta=meta, doc=route.doc)
    yield "}\n"


def _requests(contract: Contract, names: TypeNames) -> Iterator[str]:
    yield "/** What a client sends and is answered. */\n"
    yield "export interface Requests {\n"
    for route in contract.routes:
        if route.response is not None:
            meta = _meta_taken(route.message, names)
            answers = _answers(route, route.response, names)
            yield from _entry(route.message, names, meta=meta, doc=route.doc, more=answers)
    yield "}\n"


def _answers(route: RouteContract, response: MessageContract, names: TypeNames) -> Iterator[str]:
    yield "    response: {\n"
    yield f"      type: {literal(response.type)};\n"
    yield f"      {_payload(response, names, '      ')};\n"
    yield f"      {_meta_sent(response, names, '      ')};\n"
    yield "    };\n"
    yield f"    progress: {type_of_schema(route.progress, names, '    ')};\n"


def _server_messages(contract: Contract, names: TypeNames) -> Iterator[str]:
    yield "/** What the server sends of its own accord. */\n"
    yield "export interface ServerMessages {\n"
    for message in contract.sent:
        yield from _entry(message, names, meta=_meta_sent(message, names))
    yield "}\n"


def _entry(
    message: MessageContract,
    names: TypeNames,
    *,
    meta: str,
    doc: str = "",
    more: Iterable[str] = (),
) -> Iterator[str]:
    yield comment(doc or message.doc, "  ")
    yield f"  {property_name(message.type)}: {{\n"
    yield f"    {_payload(message, names, '    ')};\n"
    yield f"    {meta};\n"
    yield from more
    yield "  };\n"


def _payload(message: MessageContract, names: TypeNames, indent: str) -> str:
    if message.payload is None:
        return "payload?: undefined"
    return f"payload: {type_of_schema(message.payload, names, indent)}"


def _meta_taken(message: MessageContract, names: TypeNames) -> str:
    """Extended meta, which may be left out where it has no required key."""
    if message.meta is None:
        return "meta?: undefined"
    mark = "" if message.meta.get("required") else "?"
    return f"meta{mark}: {type_of_schema(message.meta, names, '    ')}"


def _meta_sent(message: MessageContract, names: TypeNames, indent: str = "    ") -> str:
    """Extended meta, whose every key is there only if the server set it."""
    if message.meta is None:
        return "meta: {}"
    optional = {**message.meta, "required": []}
    return f"meta: {type_of_schema(optional, names, indent)}"


def _error_codes(contract: Contract) -> Iterator[str]:
    by_origin = {
        "StandardErrorCode": [one for one in contract.errors if one.origin == "standard"],
        "TopicErrorCode": [one for one in contract.errors if one.origin == "topics"],
        "ApplicationErrorCode": [one for one in contract.errors if one.origin == "application"],
    }
    docs = {
        "StandardErrorCode": "Codes that every server of this kind uses.",
        "TopicErrorCode": "Codes of topics that could not be joined or left.",
        "ApplicationErrorCode": "Codes of this server's own.",
    }
    for name, errors in by_origin.items():
        yield f"{comment(docs[name])}export type {name} ={''.join(_codes(errors)) or ' never'};\n"
    yield f"export type ErrorCode = {' | '.join(by_origin)};\n"


def _codes(errors: Iterable[ErrorContract]) -> Iterator[str]:
    for error in errors:
        yield f"\n{comment(error.doc, '  ')}  | {literal(error.code)}"
