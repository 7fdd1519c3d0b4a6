"""
AsyncAPI 3.0 of a contract: one channel, the socket, with a message for each kind of frame.

A message's payload is the whole frame, since on a WebSocket there is nothing else. What a
client sends is an operation that the application receives; a request's has its replies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from wskit_channels.codegen.contract import Contract, MessageContract, RouteContract
from wskit_channels.codegen.frames import (
    CONTROL_FRAMES,
    ERROR_CODE,
    OWN_SCHEMAS,
    Direction,
    error_code_schema,
    error_frame,
    inbound_frame,
    outbound_frame,
    progress_frame,
    reply_frame,
)
from wskit_channels.codegen.schemas import REF, JsonSchema, reachable
from wskit_channels.protocol import wire

__all__ = ["ApiInfo", "Credentials", "asyncapi", "asyncapi_text"]

CHANNEL: Final = "socket"
SCHEMAS: Final = "#/components/schemas/"
CORRELATION: Final = {"$ref": "#/components/correlationIds/call"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How a client may say who it is; names are the project's."""

    session_cookie: str | None = "sessionid"
    """None where the socket is served without sessions."""

    token_parameter: str = "access_token"  # noqa: S105 - its name, not a token
    token_subprotocol_prefix: str = "bearer."  # noqa: S105


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiInfo:
    """What a router does not know of the interface that it makes."""

    title: str = "WebSocket API"
    version: str = "1.0.0"
    path: str | None = None
    """Where the socket is served, its parameters in braces; None if that is not known."""

    credentials: Credentials = Credentials()


def asyncapi_text(contract: Contract, info: ApiInfo) -> str:
    """The document as it is written to a file."""
    return json.dumps(asyncapi(contract, info), indent=2, ensure_ascii=False) + "\n"


def asyncapi(contract: Contract, info: ApiInfo) -> dict[str, Any]:
    """The document as plain data, in a fixed order."""
    return _Document(contract, info).made()


class _Document:
    def __init__(self, contract: Contract, info: ApiInfo) -> None:
        self._contract = contract
        self._info = info
        self._messages: dict[str, dict[str, Any]] = {}
        self._operations: dict[str, dict[str, Any]] = {}

    def made(self) -> dict[str, Any]:
        self._add_errors()
        self._add_control_frames()
        for route in self._contract.routes:
            self._add_route(route)
        for message in self._contract.sent:
            key = self._add("sent", message.type, outbound_frame(message), message)
            self._operate("send", message.type, [key], description=message.doc)
        security = _security_schemes(self._contract, self._info.credentials)
        document = {
            "asyncapi": "3.0.0",
            "info": {"title": self._info.title, "version": self._info.version},
            "defaultContentType": "application/json",
            "servers": {"server": _server(self._contract, security)},
            "channels": {CHANNEL: self._channel()},
            "operations": dict(sorted(self._operations.items())),
            "components": {
                "schemas": self._schemas(),
                "messages": dict(sorted(self._messages.items())),
                "correlationIds": {
                    "call": {
                        "description": "A request, and every frame that belongs to it.",
                        "location": f"$message.payload#/{wire.META}/{wire.CORRELATION_ID}",
                    }
                },
                "securitySchemes": security,
            },
        }
        moved: dict[str, Any] = _moved(document)
        return moved

    # -- messages and operations

    def _add(
        self,
        role: str,
        type_: str,
        frame: JsonSchema,
        message: MessageContract | None = None,
        doc: str = "",
        *,
        known_as: str = "",
        correlated: bool = False,
    ) -> str:
        """Describe one message; returns the key by which operations refer to it."""
        key = f"{role}.{_key(known_as or type_)}"
        made: dict[str, Any] = {"name": type_, "title": message.name if message else type_}
        if text := message.doc if message else doc:
            made["description"] = text
        if correlated:
            made["correlationId"] = CORRELATION
        made["payload"] = frame
        base, number = key, 2
        while self._messages.get(key, made) != made:  # two types of one key, such as A:B and A/B
            key, number = f"{base}.{number}", number + 1
        self._messages[key] = made
        return key

    def _operate(
        self,
        action: str,
        name: str,
        messages: list[str],
        replies: Iterable[str] = (),
        **rest: Any,
    ) -> None:
        channel = {"$ref": f"#/channels/{CHANNEL}"}
        made: dict[str, Any] = {"action": action, "channel": channel, "title": name}
        made.update({key: value for key, value in rest.items() if value})
        made["messages"] = _in_channel(messages)
        if replies := list(replies):
            made["reply"] = {"channel": channel, "messages": _in_channel(replies)}
        key = base = f"{action}.{_key(name)}"
        number = 2
        while key in self._operations:
            key, number = f"{base}.{number}", number + 1
        self._operations[key] = made

    def _add_route(self, route: RouteContract) -> None:
        message, type_ = route.message, route.message.type
        is_call = route.response is not None
        frame = inbound_frame(message)
        key = self._add("received", type_, frame, message, correlated=is_call)
        self._operate(
            "receive",
            type_,
            [key],
            self._replies(route),
            description=route.doc or message.doc,
            **{"x-wskit-sends": list(route.sends), "x-wskit-idempotent": route.idempotent},
        )

    def _replies(self, route: RouteContract) -> Iterator[str]:
        if route.response is None or route.progress is None:
            return
        response = route.response
        frame = reply_frame(response)
        yield self._add("reply", response.type, frame, response, correlated=True)
        call = route.message.type
        doc, frame = f"Progress of {call}.", progress_frame(route.progress)
        yield self._add("progress", wire.PROGRESS, frame, doc=doc, known_as=call, correlated=True)
        yield _error_key(wire.RPC_ERROR)

    def _add_errors(self) -> None:
        docs = {
            wire.ERROR: "A frame or an event was refused or failed.",
            wire.RPC_ERROR: "A call was refused or failed.",
        }
        for type_, doc in docs.items():
            key = self._add("error", type_, error_frame(type_), doc=doc, correlated=True)
            self._operate("send", type_, [key], description=doc)

    def _add_control_frames(self) -> None:
        for frame in CONTROL_FRAMES:
            correlated = frame.type == wire.ABORT
            role = _control_role(frame.direction)
            self._add(role, frame.type, frame.schema, doc=frame.doc, correlated=correlated)
        for frame in CONTROL_FRAMES:
            action = "receive" if frame.direction == "to server" else "send"
            key = f"{_control_role(frame.direction)}.{_key(frame.type)}"
            answers = {wire.RPC_ERROR: _error_key(wire.RPC_ERROR)}
            reply = frame.reply and answers.get(frame.reply, f"control.sent.{_key(frame.reply)}")
            self._operate(
                action, frame.type, [key], [reply] if reply else [], description=frame.doc
            )

    # -- the rest

    def _channel(self) -> dict[str, Any]:
        contract = self._contract
        made: dict[str, Any] = {
            "address": self._info.path,
            "description": "One WebSocket connection. Frames are JSON objects, sent as text.",
            "messages": {
                key: {"$ref": f"#/components/messages/{key}"} for key in sorted(self._messages)
            },
            "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        }
        if parameters := re.findall(r"{(\w+)}", self._info.path or ""):
            made["parameters"] = {name: {} for name in parameters}
        if contract.subprotocols:
            made["x-wskit-subprotocols"] = list(contract.subprotocols)
        if contract.topics:
            made["x-wskit-topics"] = [
                {
                    "name": topic.name,
                    "pattern": topic.pattern,
                    "description": topic.doc,
                    "messages": list(topic.messages),
                }
                for topic in contract.topics
            ]
        return made

    def _schemas(self) -> dict[str, JsonSchema]:
        """All definitions that a frame refers to, and the error codes."""
        known = {**self._contract.definitions, **OWN_SCHEMAS}
        used = reachable((message["payload"] for message in self._messages.values()), known)
        used[ERROR_CODE] = error_code_schema(self._contract.errors)
        return {_key(name): schema for name, schema in sorted(used.items())}


def _key(name: str) -> str:
    """A name as a key of AsyncAPI's: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9_.-]+", ".", name).strip(".") or "_"


def _error_key(type_: str) -> str:
    return f"error.{type_}"


def _control_role(direction: Direction) -> str:
    return "control.received" if direction == "to server" else "control.sent"


def _in_channel(keys: Iterable[str]) -> list[JsonSchema]:
    return [{"$ref": f"#/channels/{CHANNEL}/messages/{key}"} for key in keys]


def _server(contract: Contract, security: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "host": "{host}",
        "protocol": "wss",
        "variables": {"host": {"description": "Where it is served.", "default": "localhost"}},
    }
    if contract.login_required or contract.authenticates:
        made["security"] = [{"$ref": f"#/components/securitySchemes/{key}"} for key in security]
    return made


def _security_schemes(contract: Contract, credentials: Credentials) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if credentials.session_cookie is not None:
        made["session"] = {
            "type": "httpApiKey",
            "in": "cookie",
            "name": credentials.session_cookie,
            "description": "The session of a user who has logged in.",
        }
    if contract.authenticates:
        prefix = credentials.token_subprotocol_prefix
        made["tokenHeader"] = {
            "type": "http",
            "scheme": "bearer",
            "description": "A token in the Authorization header, which browsers cannot send.",
        }
        made["tokenParameter"] = {
            "type": "httpApiKey",
            "in": "query",
            "name": credentials.token_parameter,
            "description": "A token as a query parameter.",
        }
        made["tokenSubprotocol"] = {
            "type": "httpApiKey",
            "in": "header",
            "name": "Sec-WebSocket-Protocol",
            "description": f"A token as an offered subprotocol: {prefix}<token>.",
        }
    return made


def _moved(part: Any) -> Any:
    """
    The document with its schemas made AsyncAPI's: draft 7, and definitions in components.

    A reference with keys beside it, which draft 7 ignores, goes into an ``allOf``.
    pydantic's ``discriminator`` is OpenAPI's and means another thing here.
    """
    if isinstance(part, list):
        return [_moved(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: _moved(value) for key, value in part.items()}
    reference = made.get("$ref")
    if isinstance(reference, str):
        if reference.startswith(REF):
            reference = SCHEMAS + _key(reference.removeprefix(REF))
        rest = {key: value for key, value in made.items() if key != "$ref"}
        return {"allOf": [{"$ref": reference}], **rest} if rest else {"$ref": reference}
    if isinstance(made.get("discriminator"), dict) and "mapping" in made["discriminator"]:
        del made["discriminator"]
    if isinstance(made.get("prefixItems"), list):
        prefix, rest_of = made.pop("prefixItems"), made.pop("items", True)
        made["items"] = prefix
        made["additionalItems"] = rest_of if made.get("maxItems") != len(prefix) else False
    return made
