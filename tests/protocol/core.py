"""A connection without IO to put frames into, and what its client would read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from wskit_channels import Message, Meta, Rpc
from wskit_channels.protocol.calls import CallTable
from wskit_channels.protocol.connection import Answer, Connection, Decoded
from wskit_channels.protocol.errors import WsKitError
from wskit_channels.protocol.limits import DEFAULTS
from wskit_channels.protocol.messages import type_of
from wskit_channels.protocol.validation import Schema, schema_of

WALL = 1_700_000_000.25
WALL_MS = 1_700_000_000_250


class Note(Message, type="NOTE"):
    text: str


class Anything(Message, type="ANYTHING"):
    value: Any


class Weigh(Message, type="WEIGH"):
    grams: float


class Bare(Message, type="BARE"):
    pass


class Found(Message, type="FOUND"):
    name: str


class Find(Rpc[Found], type="FIND"):
    id: int


class TraceMeta(Meta):
    trace: str


class Traced(Message, type="TRACED", meta=TraceMeta):
    pass


@dataclass(frozen=True)
class Route:
    schema: Schema
    is_call: bool


def connect(*messages: type[Message], calls: CallTable | None = None, **limits: Any) -> Connection:
    """A connection that routes these messages, or one of each kind; ids made up are counted."""
    made_up: Iterator[int] = count(1)
    limits_ = replace(DEFAULTS, **limits)
    return Connection(
        {
            str(type_of(message)): Route(schema_of(message), issubclass(message, Rpc))
            for message in messages or (Note, Anything, Weigh, Bare, Find, Traced)
        },
        limits_,
        calls or CallTable(limits_.max_inflight_rpcs, timeout=30.0),
        client_id="client",
        new_id=lambda: f"made-up-{next(made_up)}",
    )


def frame(type_: str, payload: Any = ..., **meta: Any) -> str:
    """A frame's text, without a payload or meta where none is given."""
    envelope: dict[str, Any] = {"type": type_}
    if meta:
        envelope["meta"] = meta
    if payload is not ...:
        envelope["payload"] = payload
    return json.dumps(envelope)


def accepted(
    connection: Connection, data: str | bytes, *, now: float = 0.0, wall: float = WALL
) -> Decoded:
    """What goes to a handler; fails for a frame that was refused."""
    decoded = connection.receive(data, now=now, wall=wall)
    assert isinstance(decoded, Decoded), decoded
    assert decoded.refusal is None, decoded.refusal
    return decoded


def at_once(
    connection: Connection, data: str | bytes, *, now: float = 0.0, wall: float = WALL
) -> dict[str, Any]:
    """The frame that the reader answers with, before any middleware."""
    answer = connection.receive(data, now=now, wall=wall)
    assert isinstance(answer, Answer), answer
    assert answer.frame is not None, answer
    return strictly(answer.frame)


def in_turn(
    connection: Connection, data: str | bytes, *, now: float = 0.0, wall: float = WALL
) -> dict[str, Any]:
    """The frame that a deferred refusal is answered with, as dispatch does it after middleware."""
    decoded = connection.receive(data, now=now, wall=wall)
    assert isinstance(decoded, Decoded), decoded
    assert decoded.refusal is not None
    call = decoded.call
    text, _ = connection.error_frame(
        WsKitError.wrap(decoded.refusal),
        now=wall,
        rpc=call is not None,
        correlation_id=None if call is not None and call.made_up else decoded.correlation_id,
        call=call,
    )
    return strictly(text)


def issues(answer: dict[str, Any]) -> list[dict[str, Any]]:
    assert answer["payload"]["code"] == "INVALID_ARGUMENT"
    found: list[dict[str, Any]] = answer["payload"]["details"]["issues"]
    return found


def strictly(text: str) -> dict[str, Any]:
    """Parse a frame of ours, which must be strict JSON that UTF-8 can carry."""
    text.encode()
    found = json.loads(text, parse_constant=_refuse)
    assert isinstance(found, dict)
    return found


def _refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} was sent")
