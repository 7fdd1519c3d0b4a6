"""
JSON Schemas of whole frames, by the rules of the wire (``PROTOCOL 1, 4, 5, 7``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from wskit_channels.codegen.contract import ErrorContract, MessageContract
from wskit_channels.codegen.schemas import REF, JsonSchema
from wskit_channels.protocol import wire

__all__ = [
    "CONTROL_FRAMES",
    "OWN_SCHEMAS",
    "ControlFrame",
    "Direction",
    "error_code_schema",
    "error_frame",
    "inbound_frame",
    "outbound_frame",
    "progress_frame",
    "reply_frame",
]

Direction: TypeAlias = Literal["to server", "to client"]

CLIENT_META: Final = "wskit.ClientMeta"
SERVER_META: Final = "wskit.ServerMeta"
REPLY_META: Final = "wskit.ReplyMeta"
ERROR_CODE: Final = "wskit.ErrorCode"
ERROR_BODY: Final = "wskit.Error"

_TIMESTAMP: JsonSchema = {
    "description": "When it was sent, in milliseconds since the Unix epoch.",
}
_ID: JsonSchema = {
    "description": "Names a call; every frame that belongs to it carries the same.",
    "type": "string",
}


def _object(
    properties: dict[str, Any], required: Iterable[str] = (), *, closed: bool = False
) -> JsonSchema:
    made: JsonSchema = {"type": "object", "properties": properties}
    if needed := [key for key in properties if key in set(required)]:
        made["required"] = needed
    if closed:
        made["additionalProperties"] = False
    return made


def _ref(name: str) -> JsonSchema:
    return {"$ref": REF + name}


_CLIENT_META = _object(
    {
        wire.CORRELATION_ID: {**_ID, "maxLength": wire.MAX_CORRELATION_ID},
        wire.TIMESTAMP: {**_TIMESTAMP, "type": "number"},
        wire.TIMEOUT_MS: {
            "description": "How long the client waits for the answer to a call, in milliseconds.",
            "type": "integer",
            "exclusiveMinimum": 0,
        },
        wire.IDEMPOTENCY_KEY: {
            "description": "A key of the client's for a call that is not to run twice.",
            "type": "string",
        },
    },
    closed=True,
)
_SERVER_META = _object(
    {wire.TIMESTAMP: {**_TIMESTAMP, "type": "integer"}, wire.CORRELATION_ID: _ID}, [wire.TIMESTAMP]
)
_REPLY_META = {**_SERVER_META, "required": [wire.TIMESTAMP, wire.CORRELATION_ID]}
_ERROR_BODY = _object(
    {
        "code": {"anyOf": [_ref(ERROR_CODE), {"type": "string"}]},
        "message": {"description": "A sentence for people.", "type": "string"},
        "details": {"type": "object"},
        "retryable": {"description": "Whether trying again may succeed.", "type": "boolean"},
        wire.RETRY_AFTER_MS: {
            "description": "How long to wait before trying again, in milliseconds; null: never.",
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}],
        },
    },
    ["code", "message"],
    closed=True,
)

OWN_SCHEMAS: Final = {
    CLIENT_META: _CLIENT_META,
    SERVER_META: _SERVER_META,
    REPLY_META: _REPLY_META,
    ERROR_BODY: _ERROR_BODY,
}
"""Definitions that the frames here refer to, beside ``wskit.ErrorCode``."""


def error_code_schema(errors: Iterable[ErrorContract]) -> JsonSchema:
    """The known codes, each with what it means."""
    return {"oneOf": [_one_code(error) for error in errors]}


def _one_code(error: ErrorContract) -> JsonSchema:
    made: JsonSchema = {"const": error.code}
    if error.doc:
        made["description"] = error.doc
    if error.retryable is not None:
        made["x-wskit-retryable"] = error.retryable
    return made


def _frame(type_: str, rest: dict[str, Any], *, optional: Iterable[str] = ()) -> JsonSchema:
    properties = {wire.TYPE: {"const": type_}, **rest}
    return _object(properties, properties.keys() - set(optional), closed=True)


def inbound_frame(message: MessageContract) -> JsonSchema:
    """What a client sends; its meta may be missing unless extended meta is required."""
    meta = _ref(CLIENT_META)
    required = message.meta.get("required", []) if message.meta else []
    if message.meta is not None:
        own = message.meta["properties"]
        meta = _object({**_CLIENT_META["properties"], **own}, required, closed=True)
    optional = () if required else (wire.META,)
    return _frame(message.type, _with_payload(meta, message.payload), optional=optional)


def outbound_frame(message: MessageContract) -> JsonSchema:
    """What the server sends of its own accord; whether it sets extended meta is its choice."""
    meta = _sent_meta(message, SERVER_META)
    return _frame(message.type, _with_payload(meta, message.payload))


def reply_frame(message: MessageContract) -> JsonSchema:
    """What answers a request, by its id."""
    meta = _sent_meta(message, REPLY_META)
    return _frame(message.type, _with_payload(meta, message.payload))


def _sent_meta(message: MessageContract, base: str) -> JsonSchema:
    if message.meta is None:
        return _ref(base)
    standard, own = OWN_SCHEMAS[base], message.meta["properties"]
    return _object({**standard["properties"], **own}, standard["required"])


def _with_payload(meta: JsonSchema, payload: JsonSchema | None) -> dict[str, Any]:
    return {wire.META: meta} if payload is None else {wire.META: meta, wire.PAYLOAD: payload}


def progress_frame(data: JsonSchema) -> JsonSchema:
    """Progress of one kind of call; without a declared kind its data is any JSON, or none."""
    optional = () if data else (wire.DATA,)
    return _frame(
        wire.PROGRESS, {wire.META: _ref(REPLY_META), wire.DATA: data or True}, optional=optional
    )


def error_frame(type_: str) -> JsonSchema:
    """``RPC_ERROR`` belongs to a call and always names it."""
    meta = _ref(REPLY_META if type_ == wire.RPC_ERROR else SERVER_META)
    return _frame(type_, {wire.META: meta, wire.PAYLOAD: _ref(ERROR_BODY)})


@dataclass(frozen=True, slots=True)
class ControlFrame:
    """A frame of the protocol's own."""

    type: str
    direction: Direction
    doc: str
    schema: JsonSchema
    reply: str | None = None
    """The type of the frame that answers it."""


def _control(
    type_: str, meta: JsonSchema, *, optional: bool = False, **rest: JsonSchema
) -> JsonSchema:
    frame = _object({wire.TYPE: {"const": type_}, wire.META: meta, **rest})
    return {**frame, "required": [wire.TYPE, *([] if optional else [wire.META]), *rest]}


_ECHO: JsonSchema = {"description": "The timestamp of the ping.", "type": "number"}
_ABORTED = _object({wire.CORRELATION_ID: _ID}, [wire.CORRELATION_ID])
_ACK = _object({"ts": {**_TIMESTAMP, "type": "integer"}}, ["ts"])
_ANY_META = _object({wire.TIMESTAMP: {**_TIMESTAMP, "type": "number"}})
_PONGED = _object({**_SERVER_META["properties"], "echo": _ECHO}, [wire.TIMESTAMP])
_GOODBYE = _object(
    {
        "code": {"description": "The code that the close will have.", "type": "integer"},
        "reason": {"type": "string"},
        "reconnect": {"description": "Whether to come back.", "type": "boolean"},
        wire.RETRY_AFTER_MS: {"description": "When to come back.", "type": "integer"},
    },
    ["code", "reason", "reconnect", wire.RETRY_AFTER_MS],
)

CONTROL_FRAMES: Final = (
    ControlFrame(
        wire.ABORT,
        "to server",
        "Gives up a call: its handler is cancelled, and it ends with RPC_ERROR CANCELLED.",
        _control(wire.ABORT, _ABORTED),
        reply=wire.RPC_ERROR,
    ),
    ControlFrame(
        wire.PING,
        "to server",
        "Asks for a sign of life.",
        _control(wire.PING, _ANY_META, optional=True),
        reply=wire.PONG,
    ),
    ControlFrame(
        wire.PONG,
        "to server",
        "Answers a ping of the server's.",
        _control(wire.PONG, _ANY_META, optional=True),
    ),
    ControlFrame(
        wire.HEARTBEAT,
        "to server",
        "Asks for a sign of life, as ws-kit's client does.",
        _control(wire.HEARTBEAT, _object({}), optional=True),
        reply=wire.HEARTBEAT_ACK,
    ),
    ControlFrame(
        wire.PING,
        "to client",
        "Asks for a sign of life, where the server's heartbeat is on; answer with a pong.",
        _control(wire.PING, _ref(SERVER_META)),
    ),
    ControlFrame(wire.PONG, "to client", "Answers a ping.", _control(wire.PONG, _PONGED)),
    ControlFrame(
        wire.HEARTBEAT_ACK,
        "to client",
        "Answers ws-kit's sign of life.",
        _control(wire.HEARTBEAT_ACK, _ACK),
    ),
    ControlFrame(
        wire.BYE,
        "to client",
        "Says that the server goes down and closes the connection; the last frame before that.",
        _control(wire.BYE, _ref(SERVER_META), data=_GOODBYE),
    ),
)
