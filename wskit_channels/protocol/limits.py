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
    "layer_messages",
]

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
    """Bytes of frames that may wait for their turn; the next one is refused (4 MiB)."""

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
    """Bytes that may wait for a client that does not read; over it: close 1013 (1 MiB)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and (isinstance(value, bool) or value < 0):
                raise ValueError(f"{field.name} must not be {value!r}.")
        if self.on_exceeded not in (UNSET, "send", "close", "custom"):
            raise ValueError(f"on_exceeded is 'send', 'close' or 'custom', not {self.on_exceeded}.")

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
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitExceeded:
    """What ``on_limit_exceeded`` is told: which limit, by how much, by whom."""

    type: LimitType
    """Which limit; new ones may be added."""

    observed: int
    """The figure that was over the limit, in the limit's unit."""

    limit: int
    client_id: str
    """The connection; empty for ``layer_messages``, which other processes published and the
    channel layer lost: ``observed`` says how many."""

    retry_after: float | None = None
    """Seconds that the client was told to wait; None where waiting does not help."""
