"""
One connection without IO: a frame in, a decision out.

The stages are those of ``PROTOCOL 3``: size, parse, envelope shape, control
frames, route lookup, meta, and for a call its id, deadline and slot. Whatever is
refused up to there is answered at once by an ``Answer``. What passes becomes a
``Decoded`` whose payload, or the reason that it has none, waits for middleware.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from wskit_channels.protocol import wire
from wskit_channels.protocol.backlog import Kind
from wskit_channels.protocol.calls import Call, CallTable, IdInFlight, TooManyCalls
from wskit_channels.protocol.errors import SENSITIVE_KEYS, Refused, WsKitError, error_body
from wskit_channels.protocol.limits import LimitExceeded, Limits, LimitType
from wskit_channels.protocol.messages import Meta
from wskit_channels.protocol.plain import decode
from wskit_channels.protocol.validation import Invalid, Schema

__all__ = ["Abort", "Answer", "Close", "Connection", "Decoded", "RouteSpec"]

ERROR_WINDOW: Final = 60.0
"""Seconds within which refused frames are counted together."""
MAX_TYPE_IN_DETAILS: Final = 128
BUSY_RETRY_AFTER: Final = 0.1
"""Seconds that a client is told to wait when a line or all slots are full."""


class RouteSpec(Protocol):
    """What the connection needs to know of a route."""

    @property
    def schema(self) -> Schema: ...
    @property
    def is_call(self) -> bool: ...


@dataclass(slots=True)
class Decoded:
    """A frame to dispatch: its route, meta, and payload or the reason that there is none."""

    route: Any
    read_meta: Meta | wire.PlainMeta
    """The meta, or where it stands in the frame: ``meta`` has it either way."""

    payload: Any
    refusal: Exception | None
    size: int
    received_at: float
    """Seconds since the epoch."""

    correlation_id: str | None
    call: Call | None = None

    @property
    def meta(self) -> Meta:
        """The meta, made of the frame's text when it is first asked for."""
        if isinstance(self.read_meta, wire.PlainMeta):
            self.read_meta = Meta.model_validate(self.read_meta.parsed(), strict=True)
        return self.read_meta


@dataclass(slots=True)
class Close:
    """Close the connection, after what was answered before."""

    code: int
    reason: str


@dataclass(slots=True)
class Answer:
    """What the reader does at once: a frame to send, a limit to report, a close; or nothing."""

    frame: str | None = None
    exceeded: LimitExceeded | None = None
    close: Close | None = None
    kind: Kind = Kind.ERROR
    notes: tuple[str, ...] = field(default=())
    """What was left out of an error's details, for the operator's log."""


@dataclass(slots=True)
class Abort:
    """The client gives up the call with this id, which may not be in flight."""

    correlation_id: str


Decision = Decoded | Answer | Abort
_NOTHING: Final = Answer()


class Connection:
    """
    The rules of one connection, with the few things it has to remember.

    Args:
        routes: Routes by wire type, fixed for the connection's life.
        limits: Resolved limits.
        calls: The connection's calls.
        client_id: For reports only.
        new_id: Makes the id of a call that came without one.
        sensitive: Lower-case detail keys that never leave.
    """

    __slots__ = (
        "_client_id",
        "_limits",
        "_new_id",
        "_refused_at",
        "_routes",
        "_slots_were_full",
        "calls",
        "heard_at",
        "sensitive",
    )

    def __init__(
        self,
        routes: Mapping[str, RouteSpec],
        limits: Limits,
        calls: CallTable,
        *,
        client_id: str,
        new_id: Callable[[], str],
        sensitive: frozenset[str] = SENSITIVE_KEYS,
    ) -> None:
        self._routes = routes
        self._limits = limits
        self._client_id = client_id
        self._new_id = new_id
        self.sensitive = sensitive
        self._refused_at: list[float] = []  # an empty deque takes 700 bytes more
        self._slots_were_full = False
        self.calls = calls
        self.heard_at = 0.0
        """When the last frame came, whatever it held; monotonic seconds."""

    def receive(self, data: str | bytes, *, now: float, wall: float) -> Decision:
        """
        Decide what to do with a frame. Never raises, whatever the frame holds.

        ``now`` is monotonic, ``wall`` is since the epoch, both in seconds.
        """
        self.heard_at = now
        if isinstance(data, bytes) or data.isascii():
            size = len(data)
        else:
            size = len(data.encode("utf-8", "surrogatepass"))
        if size > self._limits.max_payload_bytes:
            return self._too_large(data, size, now, wall)
        if isinstance(data, str):
            text = data
        else:
            try:
                text = data.decode()
            except UnicodeDecodeError:
                return self._refuse(Refused("INVALID_ARGUMENT", "Not UTF-8"), now, wall)
        head = wire.plain_head(text)
        type_ = wire.peek_type(text) if head is None else head[wire.TYPE_GROUP]
        route = self._routes.get(type_ or "")
        if route is None:
            return self._receive_slowly(text, size, now, wall)
        meta, payload = decode(route.schema, text, head)
        if payload is None:
            return self._receive_slowly(text, size, now, wall)
        if route.is_call:
            return self._accept(route, meta, payload, None, size, now, wall)
        given = meta.correlation_id
        carried = given if given is None or wire.carries_id(given) else None
        return Decoded(route, meta, payload, None, size, wall, carried)

    def _receive_slowly(self, text: str, size: int, now: float, wall: float) -> Decision:
        """The same for a frame that is not plainly right: parse it and find out why."""
        try:
            envelope = wire.parse(text)
        except (ValueError, RecursionError):
            return self._refuse(Refused("INVALID_ARGUMENT", "Malformed JSON"), now, wall)
        if not isinstance(envelope, dict):
            return self._refuse(Refused("INVALID_ARGUMENT", "Not an object"), now, wall)
        meta = wire.normalised_meta(envelope.get(wire.META))
        correlation_id = meta.get(wire.CORRELATION_ID)
        type_ = envelope.get(wire.TYPE)
        if not isinstance(type_, str) or not type_:
            refusal = Refused("INVALID_ARGUMENT", "The type is missing or no string")
            return self._refuse(refusal, now, wall, correlation_id)
        if wire.is_reserved(type_):
            return self._control(type_, meta, now, wall)
        route = self._routes.get(type_)
        if route is None:
            own = {wire.TYPE: type_[:MAX_TYPE_IN_DETAILS]}
            refusal = Refused("UNIMPLEMENTED", "Unknown message type", own=own)
            return self._refuse(refusal, now, wall, correlation_id, rpc=True)
        envelope[wire.META] = meta
        return self._classify(route, envelope, size, now, wall)

    def _classify(
        self, route: RouteSpec, envelope: dict[str, Any], size: int, now: float, wall: float
    ) -> Decision:
        """Validate a parsed frame; what is wrong with it is told only after middleware."""
        raw = envelope[wire.META]
        refusal: Exception
        try:
            meta, payload = route.schema.check(envelope)
        except Invalid as invalid:
            refusal = Refused("INVALID_ARGUMENT", own={"issues": invalid.issues})
        except Exception as error:  # noqa: BLE001 - a bug in a validator is answered as one
            refusal = error
        else:
            return self._accept(route, meta, payload, None, size, now, wall)
        given = raw.get(wire.CORRELATION_ID)
        if route.is_call and _opens_nothing(raw):
            return self._refuse(refusal, now, wall, given, rpc=True)
        if isinstance(refusal, Refused) and (close := self._count_refusal(now)):
            return close
        return self._accept(route, _meta_of(raw), None, refusal, size, now, wall)

    def _accept(
        self,
        route: RouteSpec,
        meta: Meta | wire.PlainMeta,
        payload: Any,
        refusal: Exception | None,
        size: int,
        now: float,
        wall: float,
    ) -> Decision:
        given = meta.correlation_id
        carried = given if given is not None and wire.carries_id(given) else None
        if not route.is_call:
            return Decoded(route, meta, payload, refusal, size, wall, carried)
        if given is not None and len(given) > wire.MAX_CORRELATION_ID:
            issue = {"path": [wire.META, wire.CORRELATION_ID], "message": "Too long"}
            issues = [{**issue, "type": "string_too_long"}]
            return self._refuse(Refused("INVALID_ARGUMENT", own={"issues": issues}), now, wall)
        id_ = carried if carried is not None else self._new_id()
        try:
            call = self.calls.open(
                id_, now=now, timeout=wire.timeout_of(meta), made_up=carried is None
            )
        except IdInFlight:
            return self._answer(Refused("ALREADY_EXISTS", "This id is in flight"), wall, id_)
        except TooManyCalls:
            return self._no_slot(carried, wall)
        self._slots_were_full = False
        return Decoded(route, meta, payload, refusal, size, wall, id_, call)

    def _no_slot(self, correlation_id: str | None, wall: float) -> Answer:
        refusal = Refused("RESOURCE_EXHAUSTED", "Too many calls", retry_after=BUSY_RETRY_AFTER)
        answer = self._answer(refusal, wall, correlation_id, rpc=True)
        if not self._slots_were_full:  # reported once, until a call is accepted again
            self._slots_were_full = True
            limit = self._limits.max_inflight_rpcs
            answer.exceeded = self._report("inflight_rpcs", limit + 1, limit, BUSY_RETRY_AFTER)
        return answer

    def _control(self, type_: str, meta: dict[str, Any], now: float, wall: float) -> Decision:
        if type_ == wire.ABORT:
            correlation_id = meta.get(wire.CORRELATION_ID)
            return Abort(correlation_id) if isinstance(correlation_id, str) else _NOTHING
        if type_ == wire.PING:
            pong = wire.pong_frame(meta.get(wire.TIMESTAMP), now=wall)
            return Answer(pong, kind=Kind.MESSAGE)
        if type_ == wire.HEARTBEAT:
            return Answer(wire.heartbeat_ack_frame(now=wall), kind=Kind.MESSAGE)
        if type_ == wire.PONG:
            return _NOTHING
        return self._count_refusal(now) or _NOTHING

    def _too_large(self, data: str | bytes, size: int, now: float, wall: float) -> Answer:
        limit = self._limits.max_payload_bytes
        exceeded = self._report("payload_bytes", size, limit)
        if self._limits.on_exceeded == "close":
            close = Close(self._limits.close_code, "PAYLOAD_TOO_LARGE")
            return Answer(exceeded=exceeded, close=close)
        if close_now := self._count_refusal(now):
            close_now.exceeded = exceeded
            return close_now
        if self._limits.on_exceeded == "custom":
            return Answer(exceeded=exceeded)
        start = data[: wire.RECOVERY_CHARS]
        text = start.decode(errors="ignore") if isinstance(start, bytes) else start
        type_, correlation_id = wire.recover(text)
        route = self._routes.get(type_ or "")
        own = {"observed": size, "limit": limit}
        answer = self._answer(
            Refused("RESOURCE_EXHAUSTED", "The frame is too large", own=own, retry_after=None),
            wall,
            correlation_id,
            rpc=route is None or route.is_call,
        )
        answer.exceeded = exceeded
        return answer

    def _refuse(
        self,
        refusal: Exception,
        now: float,
        wall: float,
        correlation_id: Any = None,
        *,
        rpc: bool = False,
    ) -> Answer:
        """Answer a refused frame, within the budget of ``PROTOCOL 3``."""
        return self._count_refusal(now) or self._answer(refusal, wall, correlation_id, rpc=rpc)

    def _answer(
        self, refusal: Exception, wall: float, correlation_id: Any = None, *, rpc: bool = False
    ) -> Answer:
        error = WsKitError.wrap(refusal)
        carried = correlation_id if wire.carries_id(correlation_id) else None
        text, notes = self.error_frame(error, now=wall, rpc=rpc, correlation_id=carried)
        return Answer(text, notes=notes)

    def error_frame(
        self,
        error: WsKitError,
        *,
        now: float,
        rpc: bool,
        correlation_id: str | None,
        call: Call | None = None,
    ) -> tuple[str, tuple[str, ...]]:
        """
        An error's frame, and what was left out of it.

        ``rpc`` asks for ``RPC_ERROR``, which needs an id. ``call`` is the call that
        this error ends: an id that another open call owns never goes out (``PROTOCOL 3``).
        """
        body = error_body(error, self.sensitive)
        payload = body.payload
        if correlation_id is not None and call is None and correlation_id in self.calls:
            details = {**payload.get("details", {}), wire.CORRELATION_ID: correlation_id}
            payload = {**payload, "details": details}
            rpc, correlation_id = False, None
        text = wire.error_frame(
            payload, now=now, rpc=rpc and correlation_id is not None, correlation_id=correlation_id
        )
        return text, body.dropped

    def _count_refusal(self, now: float) -> Answer | None:
        """Count a refused frame; the close that is due where the budget is used up."""
        refused, limit = self._refused_at, self._limits.max_protocol_errors
        while refused and now - refused[0] >= ERROR_WINDOW:
            del refused[0]
        if len(refused) < limit:
            refused.append(now)
            return None
        report = self._report("protocol_errors", limit + 1, limit)
        return Answer(exceeded=report, close=Close(1008, "PROTOCOL_ERRORS"))

    def _report(
        self, type_: LimitType, observed: int, limit: int, retry_after: float | None = None
    ) -> LimitExceeded:
        return LimitExceeded(
            type=type_,
            observed=observed,
            limit=limit,
            client_id=self._client_id,
            retry_after=retry_after,
        )


def _opens_nothing(meta: dict[str, Any]) -> bool:
    """Whether a call's id or timeout is such that it is refused at once (``PROTOCOL 5``)."""
    if wire.CORRELATION_ID in meta:
        correlation_id = meta[wire.CORRELATION_ID]
        if not isinstance(correlation_id, str) or len(correlation_id) > wire.MAX_CORRELATION_ID:
            return True
    if wire.TIMEOUT_MS not in meta:
        return False
    timeout = meta[wire.TIMEOUT_MS]
    return not isinstance(timeout, int) or isinstance(timeout, bool) or timeout <= 0


def _meta_of(raw: dict[str, Any]) -> Meta:
    """The standard part of a meta that was refused, as far as it is right."""
    kept: dict[str, Any] = {}
    for key in wire.STANDARD_META:
        if key in raw:
            try:
                Meta.model_validate({key: raw[key]}, strict=True)
            except ValueError:
                continue
            kept[key] = raw[key]
    return Meta.model_validate(kept, strict=True)
