"""
RPC calls in flight on one connection.

A call opens with a request, may report progress, and ends once: replied,
failed, cancelled, expired or gone with its connection. Those rules live here
and nothing else does: no sockets, no tasks, no clock. Callers pass ``now``, in
monotonic seconds.

The id is free again at the terminal frame; the slot only when the handler has
ended, so that tiny deadlines cannot start unbounded work (``PROTOCOL 5.7``).
"""

from __future__ import annotations

from enum import Enum

__all__ = ["Call", "CallEnded", "CallTable", "IdInFlight", "Move", "State", "TooManyCalls"]


class State(Enum):
    OPEN = "open"
    REPLIED = "replied"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DISCONNECTED = "disconnected"


class Move(Enum):
    PROGRESS = "progress"
    REPLY = "reply"
    FAIL = "fail"
    CANCEL = "cancel"
    EXPIRE = "expire"
    DISCONNECT = "disconnect"


TRANSITIONS = {
    (State.OPEN, Move.PROGRESS): State.OPEN,
    (State.OPEN, Move.REPLY): State.REPLIED,
    (State.OPEN, Move.FAIL): State.FAILED,
    (State.OPEN, Move.CANCEL): State.CANCELLED,
    (State.OPEN, Move.EXPIRE): State.EXPIRED,
    (State.OPEN, Move.DISCONNECT): State.DISCONNECTED,
    # An ended call has no row: whoever answers it gets CallEnded, which the context logs and
    # drops (PROTOCOL 5.2). A peer that cancels too late no longer finds the id at all.
}


class CallEnded(Exception):
    """The call has had its terminal frame; nothing more may be sent for it."""


class IdInFlight(Exception):
    """The id belongs to a call that is still open on this connection."""


class TooManyCalls(Exception):
    """All slots are taken."""


def advance(state: State, move: Move) -> State:
    try:
        return TRANSITIONS[state, move]
    except KeyError:
        raise CallEnded(f"cannot {move.value}: call is {state.value}") from None


class Call:
    """One exchange: its id, whether the id was made up here, and until when it may run."""

    __slots__ = ("deadline", "id", "made_up", "state")

    def __init__(self, id: str, *, made_up: bool, deadline: float) -> None:
        self.id = id
        self.made_up = made_up
        self.deadline = deadline
        self.state = State.OPEN

    @property
    def ended(self) -> bool:
        """Whether the terminal frame was decided; the handler may still be running."""
        return self.state is not State.OPEN


class CallTable:
    """
    The calls of one connection, by id while open, and their slots.

    Args:
        max_inflight: Slots: calls whose handlers may be running.
        timeout: Seconds a call has when its client names none.
        max_timeout: Seconds a call has at most, whatever its client names.
    """

    __slots__ = ("_max_inflight", "_max_timeout", "_open", "_slots", "_timeout")

    def __init__(self, max_inflight: int, timeout: float, max_timeout: float = 300.0) -> None:
        self._max_inflight = max_inflight
        self._timeout = timeout
        self._max_timeout = max_timeout
        self._open: dict[str, Call] = {}
        self._slots = 0

    def __contains__(self, id: object) -> bool:
        """Whether an open call owns this id."""
        return id in self._open

    @property
    def running(self) -> int:
        """Slots taken: calls whose handlers have not ended."""
        return self._slots

    def open(
        self, id: str, *, now: float, timeout: float | None = None, made_up: bool = False
    ) -> Call:
        """
        Take an id and a slot. Who opens must see to it that ``handler_ended`` follows.

        Raises:
            IdInFlight: If an open call has the id.
            TooManyCalls: If every slot is taken.
        """
        if id in self._open:
            raise IdInFlight(id)
        if self._slots >= self._max_inflight:
            raise TooManyCalls(f"{self._slots} of {self._max_inflight} calls are in flight")
        allowed = self._timeout if timeout is None else timeout
        call = Call(id, made_up=made_up, deadline=now + min(allowed, self._max_timeout))
        self._open[id] = call
        self._slots += 1
        return call

    def move(self, call: Call, move: Move) -> None:
        """
        Make a move of a call; one that ends it frees its id.

        Raises:
            CallEnded: If the call had ended before.
        """
        call.state = advance(call.state, move)
        if call.state is not State.OPEN:
            del self._open[call.id]

    def find(self, id: str) -> Call | None:
        """The open call with this id."""
        return self._open.get(id)

    def expire(self, *, now: float) -> list[Call]:
        """End every open call whose deadline has come, the earliest first, and return them."""
        due = [call for call in self._open.values() if call.deadline <= now]
        due.sort(key=lambda call: call.deadline)
        for call in due:
            self.move(call, Move.EXPIRE)
        return due

    def next_deadline(self) -> float | None:
        """The earliest deadline of an open call; None if there is none."""
        return min((call.deadline for call in self._open.values()), default=None)

    def disconnect(self) -> list[Call]:
        """End every open call without a frame (``PROTOCOL 5.6``) and return them."""
        gone = list(self._open.values())
        for call in gone:
            self.move(call, Move.DISCONNECT)
        return gone

    def handler_ended(self) -> None:
        """Free the slot of a call whose handler, task and thread, has ended."""
        self._slots -= 1
