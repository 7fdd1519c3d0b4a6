"""
Requests without an answer yet, from the client's side.

A call waits to be written, then for its answer; when the connection is lost it fails, or
waits to be written again if the server can know it by its idempotency key. Those rules live
here: no sockets, no tasks, no clock. Callers pass ``now``, in monotonic seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Generic, TypeVar

from wskit_channels.client.errors import StateError

__all__ = ["CallTable", "Exchange", "Phase"]


class Phase(Enum):
    QUEUED = "queued"
    SENT = "sent"
    LOST = "lost"
    ENDED = "ended"


class Exchange:
    """One request: its frame, how long it may take, and how far it has come."""

    def __init__(
        self,
        id: str,
        *,
        frame: Callable[[float | None], str],
        response_type: str,
        timeout: float | None,
        queue_timeout: float | None = None,
        idempotent: bool = False,
    ) -> None:
        self.id = id
        self.frame = frame
        """Its text, for a number of seconds that the caller still waits."""
        self.response_type = response_type
        self.timeout = timeout
        self.queue_timeout = queue_timeout
        self.idempotent = idempotent
        self.phase = Phase.QUEUED
        self.deadline: float | None = None
        """When its time is up, which starts when it is first written."""
        self.due: float | None = None
        """When something is to happen to it; None while nothing limits it."""


E = TypeVar("E", bound=Exchange)


class CallTable(Generic[E]):
    """
    The calls of one client, across its connections.

    Args:
        limit: Calls that may be without an answer; the next is refused.
        resend_window: Seconds after the loss of a connection within which an idempotent
            call may be written again.
    """

    def __init__(self, *, limit: int, resend_window: float) -> None:
        self._limit = limit
        self._resend_window = resend_window
        self._open: dict[str, E] = {}
        self._late: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, call: E, *, now: float) -> None:
        """
        Take a call that is being queued.

        Raises:
            StateError: If too many are open.
        """
        if len(self._open) >= self._limit:
            raise StateError(
                f"{self._limit} requests wait for an answer, as many as pending_requests_limit "
                "allows: await some before sending more."
            )
        self._open[call.id] = call
        self.unread(call, now=now)

    def find(self, id: str | None) -> E | None:
        return self._open.get(id) if id is not None else None

    def sent(self, call: Exchange, *, now: float) -> str:
        """Its frame, which is being written now: its time starts, unless it already has."""
        call.phase = Phase.SENT
        if call.deadline is None and call.timeout is not None:
            call.deadline = now + call.timeout
        call.due = call.deadline
        return call.frame(None if call.deadline is None else call.deadline - now)

    def unread(self, call: Exchange, *, now: float) -> None:
        """Nobody has read it, so that its time has not started."""
        call.phase, call.deadline = Phase.QUEUED, None
        call.due = None if call.queue_timeout is None else now + call.queue_timeout

    def end(self, call: Exchange) -> bool:
        """Forget a call; whether it was open. Its late answers are known for what they are."""
        if self._open.pop(call.id, None) is None:
            return False
        call.phase, call.due = Phase.ENDED, None
        self._late[call.id] = call.response_type
        if len(self._late) > self._limit:
            self._late.popitem(last=False)
        return True

    def is_late(self, id: str | None, type_: str) -> bool:
        """Whether this is the reply of a call that was given up."""
        return id is not None and self._late.get(id) == type_

    def lost(self, *, now: float) -> list[E]:
        """The connection is gone: take out and return the calls that it takes along."""
        gone: list[E] = []
        for call in list(self._open.values()):
            if call.phase is not Phase.SENT:
                continue
            if call.idempotent and self._resend_window > 0:
                call.phase, until = Phase.LOST, now + self._resend_window
                call.due = until if call.deadline is None else min(until, call.deadline)
            else:
                self.end(call)
                gone.append(call)
        return gone

    def resend(self) -> list[E]:
        """Calls to write again on a new connection, in their order; they are queued then."""
        again = [call for call in self._open.values() if call.phase is Phase.LOST]
        for call in again:
            call.phase, call.due = Phase.QUEUED, call.deadline
        return again

    def expire(self, *, now: float) -> list[tuple[E, Phase]]:
        """Take out the calls whose time is up; each with how far it had come."""
        expired = [
            (call, call.phase)
            for call in self._open.values()
            if call.due is not None and call.due <= now
        ]
        for call, _ in expired:
            self.end(call)
        return expired

    def next_due(self) -> float | None:
        return min((call.due for call in self._open.values() if call.due is not None), default=None)

    def clear(self) -> list[E]:
        """Take out all calls."""
        gone = list(self._open.values())
        for call in gone:
            self.end(call)
        return gone
