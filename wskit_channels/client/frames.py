"""
Frames as a client writes and reads them: the other half of ``protocol.wire``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter, ValidationError

from wskit_channels.client.errors import InvalidFrame, ServerError, ServerTimeout
from wskit_channels.client.policy import Bye
from wskit_channels.protocol import wire
from wskit_channels.protocol.strict import strictly
from wskit_channels.protocol.validation import Invalid, schema_of

__all__ = ["Frame", "UnknownMessage"]

Kind: TypeAlias = type[Any]  # inside Frame, ``type`` is the frame's
PROTOCOL_KEYS: Final = frozenset({*wire.STANDARD_META, *wire.RESERVED_META})


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message of a type for which the client knows no class; plain JSON values."""

    type: str
    meta: Mapping[str, Any]
    payload: Any = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame from the server, parsed and not yet validated."""

    text: str
    meta: Mapping[str, Any]
    body: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str) -> Frame:
        """
        Raises:
            InvalidFrame: If it is no frame at all.
        """
        try:
            body = wire.parse(text)
        except (ValueError, RecursionError):
            raise InvalidFrame("") from None
        type_ = body.get(wire.TYPE) if isinstance(body, dict) else None
        if not isinstance(type_, str) or not type_:
            raise InvalidFrame("")
        return cls(text, wire.normalised_meta(body.get(wire.META)), body)

    @property
    def type(self) -> str:
        found: str = self.body[wire.TYPE]
        return found

    @property
    def correlation_id(self) -> str | None:
        found = self.meta.get(wire.CORRELATION_ID)
        return found if isinstance(found, str) else None

    @property
    def payload(self) -> Any:
        return self.body.get(wire.PAYLOAD)

    @property
    def data(self) -> Any:
        return self.body.get(wire.DATA)

    def decode(self, message: Kind) -> Any:
        """
        The message, as its class validates it (``PROTOCOL 1``).

        Raises:
            InvalidFrame: With the issues found.
        """
        schema = schema_of(message)
        if not (schema.open_numbers and wire.may_hold_non_finite(self.text)):
            found = schema.decode(self.text)
            if found is not None:
                return found[1]
        try:
            return schema.check({**self.body, wire.META: dict(self.meta)})[1]
        except Invalid as invalid:
            raise InvalidFrame(self.type, invalid.issues) from None

    def decode_progress(self, validate: Callable[[str], Any] | None) -> Any:
        """
        What the server reports, validated where the request says as what.

        Raises:
            InvalidFrame: If it is something else.
        """
        if validate is None:
            return self.data
        try:
            return validate(wire.dump(self.data))
        except ValidationError:
            raise InvalidFrame(self.type) from None

    def as_unknown(self) -> UnknownMessage:
        return UnknownMessage(self.type, self.meta, self.payload)

    def as_bye(self) -> Bye:
        data = self.data if isinstance(self.data, dict) else {}
        reconnect = data.get("reconnect", True) is not False
        return Bye(reconnect, _seconds(data.get(wire.RETRY_AFTER_MS)))

    def as_error(self) -> ServerError:
        """What an error frame says, however little that is."""
        payload = self.payload if isinstance(self.payload, dict) else {}
        code = str(payload.get("code") or "INTERNAL")
        details, retryable = payload.get("details"), payload.get("retryable")
        kind = ServerTimeout if code == "DEADLINE_EXCEEDED" else ServerError
        return kind(
            code,
            str(payload.get("message") or ""),
            details=details if isinstance(details, dict) else None,
            retryable=retryable if isinstance(retryable, bool) else None,
            retry_after=_seconds(payload.get(wire.RETRY_AFTER_MS)),
        )


def _seconds(milliseconds: Any) -> float | None:
    is_number = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool)
    return max(0.0, milliseconds / 1000) if is_number else None


def progress_validator(request: type[Any]) -> Callable[[str], Any] | None:
    """What validates a request's progress, or None where any JSON will do."""
    progress = getattr(request, "__wskit_progress__", Any)
    return None if progress is Any else strictly(TypeAdapter(progress))


def message_frame(message: Any, *, now: float, meta: Mapping[str, Any] | None = None) -> str:
    """
    A message as text.

    Raises:
        TypeError: If it is no message, or one without a type.
        ValueError: If JSON cannot hold it, or ``meta`` uses a key of the protocol's.
    """
    schema = schema_of(type(message))
    return wire.frame(schema.prefix, now, _suffix(None, meta), schema.encode(message))


def request_writer(
    request: Any,
    correlation_id: str,
    *,
    idempotency_key: str | None,
    meta: Mapping[str, Any] | None,
) -> Callable[[float | None], str]:
    """What writes a request for a timeout in seconds; raises as ``message_frame`` does."""
    schema = schema_of(type(request))
    payload = schema.encode(request)
    own = {} if idempotency_key is None else {wire.IDEMPOTENCY_KEY: idempotency_key}
    _suffix(correlation_id, meta)  # raises here rather than in the writer

    def write(timeout: float | None) -> str:
        limit = {} if timeout is None else {wire.TIMEOUT_MS: max(1, wire.duration_ms(timeout))}
        suffix = _suffix(correlation_id, meta, {**limit, **own})
        return wire.frame(schema.prefix, time.time(), suffix, payload)

    return write


def _suffix(
    correlation_id: str | None, meta: Mapping[str, Any] | None, own: Mapping[str, Any] | None = None
) -> str:
    if clash := PROTOCOL_KEYS & set(meta or ()):
        raise ValueError(f"meta must not hold {min(clash)!r}, which is the protocol's own.")
    return wire.meta_suffix(correlation_id, {**(own or {}), **(meta or {})})


def abort_frame(correlation_id: str) -> str:
    return wire.dump({wire.TYPE: wire.ABORT, wire.META: {wire.CORRELATION_ID: correlation_id}})
