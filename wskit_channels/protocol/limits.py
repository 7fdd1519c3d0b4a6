"""
Ceilings for one connection, and the report of one that was crossed.

Fields that were not given are resolved late, one by one, from the settings.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from wskit_channels.protocol.errors import UNSET

__all__ = ["LimitExceeded", "Limits"]

LimitType = Literal[
    "payload_bytes",
    "protocol_errors",
    "inflight_rpcs",
    "pending_events",
    "pending_bytes",
    "topics",
    "socket_buffer_bytes",
    "connections_per_user",
    "connections_per_ip",
    "layer_messages",
    "rate",
]

BOOLEANS = frozenset({"drop_progress_on_backpressure"})
"""Fields of ``Limits`` that are no number and no choice."""

# Typed as what a field is once resolved, which is all that serving code ever sees.
_UNSET: Any = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    Ceilings for one connection.

    Crossing one is answered with ``RESOURCE_EXHAUSTED``; the connection stays
    open except where a field says otherwise. A field that is not given takes
    its value from ``WSKIT``, whose defaults stand below.

    Raises:
        ValueError: If a number is negative or a choice is none of those listed.
    """

    max_payload_bytes: int = _UNSET
    """Largest frame accepted, in bytes of UTF-8, judged before it is parsed (1,000,000)."""

    on_exceeded: Literal["send", "close", "custom"] = _UNSET
    """A frame over that: answer it ("send"), close with ``close_code``, or leave it to the hook."""

    close_code: int = _UNSET
    """Close code for ``on_exceeded="close"`` (1009)."""

    max_inflight_rpcs: int = _UNSET
    """Calls one connection may have running; the next one is refused (1,000)."""

    max_pending_events: int = _UNSET
    """Events that may wait for their turn; the next one is refused (1,024)."""

    max_pending_bytes: int = _UNSET
    """
    Bytes of frames that may wait for their turn; the next one is refused (4 MiB).

    Calls that run may hold as many, and so may events that run beside the line.
    """

    close_timeout: float = _UNSET
    """Seconds that handlers have to end once they are cancelled (5); daphne kills after 10."""

    max_protocol_errors: int = _UNSET
    """Refused frames answered within 60 s; the next one closes with 1008 (100)."""

    max_topics_per_connection: int = _UNSET
    """Topics one connection may be subscribed to (1,000)."""

    topic_pattern: str = _UNSET
    """Regular expression that a whole topic name matches, after normalising."""

    max_topic_length: int = _UNSET
    """Longest topic name, in characters, after normalising (128)."""

    socket_buffer_limit_bytes: int = _UNSET
    """
    Bytes that may wait for a client that does not read (1 MiB).

    A frame that finds more waiting is refused: progress is dropped, a reply becomes
    ``RESOURCE_EXHAUSTED``, errors may use 64 KiB beyond, and for the rest see
    ``on_slow_consumer``.
    """

    drop_progress_on_backpressure: bool = _UNSET
    """Over that limit, drop progress frames before anything else gives way (True)."""

    on_slow_consumer: Literal["close", "drop"] = _UNSET
    """Over that limit: close with 1013, or drop messages, the oldest first ("close")."""

    max_connections_per_user: int = _UNSET
    """Connections that one user may have open; the next one is closed with 4429 (0: no limit)."""

    max_connections_per_ip: int = _UNSET
    """Connections that one address, for IPv6 one /64, may have open; the next one is closed
    with 4429 (0: no limit)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in BOOLEANS:
                if value is not UNSET and not isinstance(value, bool):
                    raise ValueError(f"{field.name} is True or False, not {value!r}.")
            elif isinstance(value, int | float) and (isinstance(value, bool) or value < 0):
                raise ValueError(f"{field.name} must not be {value!r}.")
        if self.on_exceeded not in (UNSET, "send", "close", "custom"):
            raise ValueError(f"on_exceeded is 'send', 'close' or 'custom', not {self.on_exceeded}.")
        if self.on_slow_consumer not in (UNSET, "close", "drop"):
            raise ValueError(f"on_slow_consumer is 'close' or 'drop', not {self.on_slow_consumer}.")

    def resolved(self, settings: Limits) -> Limits:
        """These limits, with what is unset taken from ``settings``."""
        given: dict[str, Any] = {
            field.name: getattr(settings, field.name)
            for field in fields(self)
            if getattr(self, field.name) is UNSET
        }
        return replace(self, **given)


DEFAULTS = Limits(
    max_payload_bytes=1_000_000,
    on_exceeded="send",
    close_code=1009,
    max_inflight_rpcs=1000,
    max_pending_events=1024,
    max_pending_bytes=4 * 1024 * 1024,
    close_timeout=5.0,
    max_protocol_errors=100,
    max_topics_per_connection=1000,
    topic_pattern=r"[A-Za-z0-9:_./-]{1,128}",
    max_topic_length=128,
    socket_buffer_limit_bytes=1024 * 1024,
    drop_progress_on_backpressure=True,
    on_slow_consumer="close",
    max_connections_per_user=0,
    max_connections_per_ip=0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitExceeded:
    """What ``on_limit_exceeded`` is told: which limit, by how much, by whom."""

    type: LimitType
    """Which limit; new ones may be added."""

    observed: int
    """The figure that was over the limit, in the limit's unit; for ``rate`` a message's cost,
    over the tokens that were left."""

    limit: int
    client_id: str
    """The connection; empty for ``layer_messages``, which other processes published and the
    channel layer lost: ``observed`` says how many."""

    retry_after: float | None = None
    """Seconds that the client was told to wait; None where waiting does not help."""

    dropped: int = 0
    """For ``socket_buffer_bytes``: frames that this client lost since the last such report."""
