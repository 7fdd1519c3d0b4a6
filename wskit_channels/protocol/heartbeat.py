"""
Heartbeat: when a silent client is pinged, and when it is given up (``PROTOCOL 7``).

Any inbound frame is a sign of life, not only the pong. No clock: callers pass ``now``,
in monotonic seconds, and look again when they are told to.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["Beat", "Heartbeat", "Pulse"]

LATE: Final = 0.5
"""Seconds after which a check came so late that frames may wait unread: nobody's fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """
    Ping clients that are silent, and close those that stay so with 4000.

    The client has to answer ``$ws:ping``, or to send anything at all. One that does
    not, ws-kit's own among them, is used with the server's protocol pings instead:
    daphne ``--ping-interval``, uvicorn ``--ws-ping-interval``.

    Raises:
        ValueError: If a number is not above 0.
    """

    interval: float = 30.0
    """Seconds without an inbound frame after which the client is pinged."""

    timeout: float = 5.0
    """Seconds that it has to send anything then."""

    def __post_init__(self) -> None:
        for name in ("interval", "timeout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"{name} is a number of seconds above 0, not {value!r}.")


class Beat(Enum):
    WAIT = "wait"
    PING = "ping"
    STALE = "stale"


class Pulse:
    """The heartbeat of one connection, from when it opened."""

    __slots__ = ("_heartbeat", "_pinged_at", "due")

    def __init__(self, heartbeat: Heartbeat, *, now: float) -> None:
        self._heartbeat = heartbeat
        self._pinged_at: float | None = None
        self.due = now + heartbeat.interval
        """When to check next."""

    def check(self, *, heard_at: float, now: float) -> Beat:
        """What is to be done; ``heard_at`` is when the last inbound frame came."""
        late, self.due = now - self.due, now
        if self._pinged_at is None or heard_at >= self._pinged_at:
            self._pinged_at = None
            self.due = heard_at + self._heartbeat.interval
            if now < self.due:
                return Beat.WAIT
            self._pinged_at = now
            self.due = now + self._heartbeat.timeout
            return Beat.PING
        if late > LATE:
            self.due = now + LATE
            return Beat.WAIT
        return Beat.STALE
