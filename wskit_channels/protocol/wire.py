"""
The wire: every name that goes over the socket, and every millisecond.

Nothing outside this module knows how a frame is spelled. Durations and instants
are float seconds on the Python side and integer milliseconds here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from pydantic_core import from_json, to_json

TYPE: Final = "type"
META: Final = "meta"
PAYLOAD: Final = "payload"
DATA: Final = "data"
CORRELATION_ID: Final = "correlationId"
TIMESTAMP: Final = "timestamp"
TIMEOUT_MS: Final = "timeoutMs"
IDEMPOTENCY_KEY: Final = "idempotencyKey"
RETRY_AFTER_MS: Final = "retryAfterMs"

RESERVED_META: Final = ("clientId", "receivedAt")
"""Keys that are the server's own: stripped on the way in, never sent."""
STANDARD_META: Final = (TIMESTAMP, CORRELATION_ID, TIMEOUT_MS, IDEMPOTENCY_KEY)

ERROR: Final = "ERROR"
RPC_ERROR: Final = "RPC_ERROR"
PROGRESS: Final = "$ws:rpc-progress"
ABORT: Final = "$ws:abort"
PING: Final = "$ws:ping"
PONG: Final = "$ws:pong"
BYE: Final = "$ws:bye"
HEARTBEAT: Final = "__heartbeat"
HEARTBEAT_ACK: Final = "__heartbeat_ack"

RESERVED_PREFIXES: Final = ("$", "__")
RESERVED_TYPES: Final = (ERROR, RPC_ERROR)

MAX_CORRELATION_ID: Final = 256
"""Longest id that is carried, in characters."""
RECOVERY_CHARS: Final = 4096
"""How much of a frame that is too large is read for its type and id."""

_HEAD = re.compile(
    r"""\{"type":"([^"\\\x00-\x1f]+)","meta":\{"timestamp":(0|[1-9][0-9]{0,14})
        (?:,"correlationId":"([\x20!#-\[\]-~]{1,256})")?
        (?:,"timeoutMs":([1-9][0-9]{0,11}))?
    \},"payload":""",
    re.VERBOSE,
)
_TYPE_FIRST = re.compile(r'\s*\{\s*"type"\s*:\s*"([^"\\]+)"')
# A number in one of these shapes may overflow to infinity; anything shorter cannot.
_EXPONENT = re.compile(r"[eE](?<=[0-9.][eE])\+?[0-9]{2}")
_MANY_DIGITS = re.compile(r"(?<![0-9])[0-9]{200}")
_DIGIT = re.compile(r"[0-9]")
_MAX_MS: Final = 10**12


if TYPE_CHECKING:
    _Text: TypeAlias = str | None
    _Number: TypeAlias = float | None
    _Whole: TypeAlias = int | None
else:  # absent is None to us, but null on the wire is refused
    _Text, _Number, _Whole = str, FiniteFloat, int


class StandardMeta(BaseModel):
    """The meta keys that every inbound message may carry (``PROTOCOL 1``)."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    correlation_id: _Text = Field(default=None, alias=CORRELATION_ID)
    """The id that answers carry, or None."""

    idempotency_key: _Text = Field(default=None, alias=IDEMPOTENCY_KEY)
    """The client's key for a call that is not to run twice, or None; see ``Router.rpc``."""

    sent_at_ms: _Number = Field(default=None, alias=TIMESTAMP, repr=False)
    timeout_ms: _Whole = Field(default=None, alias=TIMEOUT_MS, gt=0, repr=False)

    @property
    def timestamp(self) -> float | None:
        """When the client says it sent the message, in seconds since the epoch."""
        return None if self.sent_at_ms is None else self.sent_at_ms / 1000

    @property
    def timeout(self) -> float | None:
        """How long the client waits for an answer, in seconds."""
        return timeout_of(self)


def timeout_of(meta: StandardMeta | PlainMeta) -> float | None:
    """The timeout that a client's meta asks for, in seconds."""
    return None if meta.timeout_ms is None else min(meta.timeout_ms, _MAX_MS) / 1000


def milliseconds(instant: float) -> int:
    return int(instant * 1000)


def duration_ms(seconds: float) -> int:
    return round(min(seconds * 1000, _MAX_MS))


def is_reserved(type_: str) -> bool:
    """Whether applications may neither declare nor send this type."""
    return type_.startswith(RESERVED_PREFIXES) or type_ in RESERVED_TYPES


def carries_id(correlation_id: Any) -> bool:
    """Whether answers can carry this id (``PROTOCOL 1``)."""
    return (
        isinstance(correlation_id, str)
        and len(correlation_id) <= MAX_CORRELATION_ID
        and bool(correlation_id.strip())
    )


plain_head = _HEAD.match
"""
The start of a frame as clients write it, with plain meta before a payload; None for others.

Its ``TYPE_GROUP`` is the type, and its meta a ``PlainMeta``. If what is left up to the last
brace is one JSON value, then the frame is JSON, of nothing but these three keys, once each.
"""

TYPE_GROUP: Final = 1


def peek_type(text: str) -> str | None:
    """
    The type of a frame that starts with one, without parsing it.

    A guess: a later ``type`` key would win, so that whoever uses it must compare.
    """
    match = _TYPE_FIRST.match(text)
    return match[1] if match else None


class PlainMeta:
    """A meta of standard keys in their usual order, read from a ``plain_head`` as needed."""

    __slots__ = ("_timeout", "_timestamp", "correlation_id")

    def __init__(self, head: re.Match[str]) -> None:
        # The match itself would keep the whole frame for as long as its handler runs.
        _, self._timestamp, self.correlation_id, self._timeout = head.groups()

    @property
    def timeout_ms(self) -> int | None:
        return None if self._timeout is None else int(self._timeout)

    def parsed(self) -> dict[str, Any]:
        """The same as it would be parsed."""
        found = {
            TIMESTAMP: int(self._timestamp),
            CORRELATION_ID: self.correlation_id,
            TIMEOUT_MS: self.timeout_ms,
        }
        return {key: value for key, value in found.items() if value is not None}


def may_hold_non_finite(text: str) -> bool:
    """Whether a number in the text might not be finite; never wrong when it says no."""
    return "NaN" in text or "Infinity" in text or _may_overflow(text)


def _may_overflow(text: str) -> bool:
    if _EXPONENT.search(text) is not None:
        return True
    # 200 digits in a row stand at one of every 200 places: looked at first, as it is cheap.
    return _DIGIT.search(text[199::200]) is not None and _MANY_DIGITS.search(text) is not None


def parse(text: str) -> Any:
    """
    Parse one JSON value, as strictly as ``PROTOCOL 2`` asks.

    Raises:
        ValueError: For anything but one JSON value, NaN, Infinity, numbers that overflow
            to them, lone surrogates, and nesting or integers beyond the parser's limits.
    """
    try:
        value = from_json(text, allow_inf_nan=False)
    except TypeError:  # a str that is no text: only an in-process peer can make one
        raise ValueError("lone surrogates") from None
    if _may_overflow(text) and _has_infinity(value):
        raise ValueError("a number overflows")
    return value


def _has_infinity(value: Any) -> bool:
    if isinstance(value, float):
        return value in (float("inf"), float("-inf"))
    if isinstance(value, dict):
        return any(map(_has_infinity, value.values()))
    return isinstance(value, list) and any(map(_has_infinity, value))


def recover(text: str) -> tuple[str | None, Any]:
    """Type and correlation id of a frame too large to parse, as far as its start shows them."""
    try:
        start = from_json(text[:RECOVERY_CHARS], allow_partial=True)
    except (ValueError, TypeError):  # as in parse(): a str may be no text
        return None, None
    if not isinstance(start, dict):
        return None, None
    type_, meta = start.get(TYPE), start.get(META)
    correlation_id = meta.get(CORRELATION_ID) if isinstance(meta, dict) else None
    return (type_ if isinstance(type_, str) else None), correlation_id


def normalised_meta(meta: Any) -> dict[str, Any]:
    """Meta as it is validated: an object, without the server's own keys."""
    if not isinstance(meta, dict):
        return {}
    return {key: value for key, value in meta.items() if key not in RESERVED_META}


def dump(value: Any) -> str:
    """
    Compact JSON of plain data.

    Raises:
        ValueError: If JSON cannot hold it, a number that is not finite included.
    """
    text = to_json(value).decode()
    if "NaN" in text or "Infinity" in text:
        try:
            from_json(text, allow_inf_nan=False)  # well where they stand in strings
        except ValueError:
            raise ValueError("a number is not finite") from None
    return text


def meta_suffix(correlation_id: str | None, extended: Mapping[str, Any] | None = None) -> str:
    """What stands in ``meta`` behind the timestamp."""
    suffix = f',"{CORRELATION_ID}":{dump(correlation_id)}' if correlation_id is not None else ""
    if extended:
        suffix += f",{dump(extended)[1:-1]}"
    return suffix


def prefix(type_: str) -> str:
    """A frame's text up to the timestamp's figures; the same for every frame of a type."""
    return f'{{"{TYPE}":{dump(type_)},"{META}":{{"{TIMESTAMP}":'


def frame(prefix: str, now: float, suffix: str = "", payload: str | None = None) -> str:
    """A message frame: its ``prefix``, the rest of its meta, and its payload as JSON text."""
    if payload is None:
        return f"{prefix}{int(now * 1000)}{suffix}}}}}"
    return f'{prefix}{int(now * 1000)}{suffix}}},"{PAYLOAD}":{payload}}}'


_ERROR_PREFIX = prefix(ERROR)
_RPC_ERROR_PREFIX = prefix(RPC_ERROR)
_PROGRESS_PREFIX = prefix(PROGRESS)
_PING_PREFIX = prefix(PING)
_PONG_PREFIX = prefix(PONG)


def error_frame(
    payload: Mapping[str, Any], *, now: float, rpc: bool, correlation_id: str | None
) -> str:
    """An error frame of a payload by ``errors.error_body``."""
    if "retry_after" in payload:
        payload = dict(payload)
        seconds = payload.pop("retry_after")
        payload[RETRY_AFTER_MS] = None if seconds is None else duration_ms(seconds)
    start = _RPC_ERROR_PREFIX if rpc else _ERROR_PREFIX
    return frame(start, now, meta_suffix(correlation_id), dump(payload))


def progress_frame(correlation_id: str, data: str | None, *, now: float) -> str:
    """A progress frame; ``data`` is JSON text."""
    suffix = meta_suffix(correlation_id)
    tail = "" if data is None else f',"{DATA}":{data}'
    return f"{_PROGRESS_PREFIX}{milliseconds(now)}{suffix}}}{tail}}}"


def pong_frame(echo: Any, *, now: float) -> str:
    """The answer to a ping, whose own timestamp it echoes where that is a number."""
    is_number = isinstance(echo, int | float) and not isinstance(echo, bool)
    return frame(_PONG_PREFIX, now, f',"echo":{dump(echo)}' if is_number else "")


def ping_frame(*, now: float) -> str:
    """Asks a silent client for a sign of life (``PROTOCOL 7``)."""
    return frame(_PING_PREFIX, now)


def heartbeat_ack_frame(*, now: float) -> str:
    return f'{{"{TYPE}":"{HEARTBEAT_ACK}","{META}":{{"ts":{milliseconds(now)}}}}}'


def bye_frame(*, code: int, reason: str, retry_after: float, now: float) -> str:
    """The last frame before a close with 1012 (``PROTOCOL 7``)."""
    data = {
        "code": code,
        "reason": reason,
        "reconnect": True,
        RETRY_AFTER_MS: duration_ms(retry_after),
    }
    return f'{prefix(BYE)}{milliseconds(now)}}},"{DATA}":{dump(data)}}}'
