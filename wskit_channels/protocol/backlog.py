"""
What waits to be written to one client, and what gives way when it is too much.

A frame is refused only if more than the limit waits already, so that one big reply to
a client that reads always goes. Then progress gives way first; a reply is refused, to
be answered with an error in its place; errors have a reserve; and any other message is
dropped, the oldest first, or ends the connection. Nothing is dropped uncounted.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

__all__ = ["ERROR_RESERVE", "Backlog", "Entry", "Kind", "Verdict", "entry_of"]

ERROR_RESERVE: Final = 64 * 1024
"""Bytes beyond the limit that only error frames may use."""


class Kind(Enum):
    """What a frame is, as far as it matters when the client does not read."""

    MESSAGE = "message"
    PROGRESS = "progress"
    REPLY = "reply"
    ERROR = "error"


class Verdict(Enum):
    QUEUED = "queued"
    DROPPED = "dropped"

    REFUSED = "refused"
    """A reply that did not fit: its call is to be failed instead."""

    CLOSE = "close"
    """The connection is to be closed: the frame, and all that waits, is lost."""


Entry = tuple[str, int, Kind]
"""A frame, its size in bytes of UTF-8, and what it is; one will do for many queues."""


def entry_of(frame: str, kind: Kind = Kind.MESSAGE) -> Entry:
    return frame, len(frame) if frame.isascii() else len(frame.encode()), kind


_GONE: Final[Entry] = ("", 0, Kind.MESSAGE)
"""Stands in the queue where a frame was dropped."""


class Backlog:
    """
    A queue of frames, bounded in bytes of UTF-8.

    ``bytes`` counts a frame until its writer takes the size off: while it is being written
    it still waits for the client. ``dropped`` counts frames since the start.

    Args:
        limit: Bytes that may wait before a frame is refused.
        drop_progress: Whether progress gives way first.
        drop_messages: Whether messages are dropped, oldest first, instead of closing.
    """

    __slots__ = (
        "_drop_messages",
        "_drop_progress",
        "bytes",
        "dropped",
        "limit",
        "queue",
        "waste",
    )

    def __init__(
        self, limit: int, *, drop_progress: bool = True, drop_messages: bool = False
    ) -> None:
        self.limit = limit
        self.bytes = 0
        self.dropped = 0
        self._drop_progress = drop_progress
        self._drop_messages = drop_messages
        self.queue: deque[Entry] = deque()
        """What waits, in order. While ``waste`` is None it holds nothing that was dropped."""

        self.waste: Waste | None = None
        """Where dropped frames stand; while it is None the queue may be used as it is."""

    def __len__(self) -> int:
        return len(self.queue) - (0 if self.waste is None else self.waste.gone)

    def put(self, entry: Entry) -> Verdict:
        """Queue a frame, or say what becomes of it."""
        _, size, kind = entry
        if self.bytes > self.limit and (verdict := self._make_room(kind)) is not Verdict.QUEUED:
            if verdict is not Verdict.CLOSE:
                self.dropped += 1
            return verdict
        self.queue.append(entry)
        self.bytes += size
        if self.waste is not None:
            self.waste.added(len(self.queue) - 1, kind)
        return Verdict.QUEUED

    def pop(self) -> tuple[str, int]:
        """
        The next frame, with its size.

        Raises:
            IndexError: If none waits.
        """
        entry = self.queue.popleft()
        if self.waste is not None:
            self.waste.popped(entry)
            while entry is _GONE:
                entry = self.queue.popleft()
                self.waste.popped(entry)
            self._tidy()
        return entry[0], entry[1]

    def clear(self) -> int:
        """Forget what waits, counting it as dropped; how many frames that were."""
        lost = len(self)
        self.dropped += lost
        self.bytes -= sum(size for _, size, _ in self.queue)
        self.queue.clear()
        self.waste = None
        return lost

    def _make_room(self, kind: Kind) -> Verdict:
        if self._drop_progress:
            if kind is Kind.PROGRESS:
                return Verdict.DROPPED
            self._drop(Kind.PROGRESS)
        if self.bytes <= self.limit:
            return Verdict.QUEUED
        if kind is Kind.REPLY:
            return Verdict.REFUSED
        if kind is Kind.ERROR:
            fits = self.bytes <= self.limit + ERROR_RESERVE
            return Verdict.QUEUED if fits else Verdict.CLOSE
        if not self._drop_messages:
            return Verdict.CLOSE
        self._drop(Kind.MESSAGE)
        if not self._drop_progress:
            self._drop(Kind.PROGRESS)
        return Verdict.QUEUED if self.bytes <= self.limit else Verdict.DROPPED

    def _drop(self, kind: Kind) -> None:
        """Drop the oldest frames of a kind until what waits is within the limit."""
        if self.waste is None:
            self.waste = Waste(self.queue)
        waste = self.waste
        while self.bytes > self.limit and (size := waste.drop(kind)):
            self.bytes -= size
            self.dropped += 1
        self._tidy()

    def _tidy(self) -> None:
        if not len(self):
            self.queue.clear()
            self.waste = None


class Waste:
    """
    Where in a queue the frames stand that may be dropped; kept only while some are.

    Positions count from the queue's first entry at the time that this was made, so that
    dropping the oldest costs no search through what may not be dropped.
    """

    __slots__ = ("_at", "_first", "_queue", "gone")

    def __init__(self, queue: deque[Entry]) -> None:
        self._queue = queue
        self.gone = 0
        self._index()

    def _index(self) -> None:
        self._first = 0
        self._at: dict[Kind, deque[int]] = {Kind.MESSAGE: deque(), Kind.PROGRESS: deque()}
        for position, (_, _, kind) in enumerate(self._queue):
            self.added(position, kind)

    def added(self, index: int, kind: Kind) -> None:
        if kind in self._at:
            self._at[kind].append(self._first + index)

    def popped(self, entry: Entry) -> None:
        if entry is _GONE:
            self.gone -= 1
        elif entry[2] in self._at:
            self._at[entry[2]].popleft()  # a kind's frames leave in the order they came
        self._first += 1

    def drop(self, kind: Kind) -> int:
        """Drop the oldest frame of a kind; its size, 0 if there is none."""
        positions = self._at[kind]
        while positions:
            index = positions.popleft() - self._first
            size = self._queue[index][1]
            self._queue[index] = _GONE
            self.gone += 1
            if self.gone * 2 > len(self._queue) + 64:
                self._compact()
                positions = self._at[kind]
            if size:
                return size
        return 0

    def _compact(self) -> None:
        left = [entry for entry in self._queue if entry is not _GONE]
        self._queue.clear()
        self._queue.extend(left)
        self.gone = 0
        self._index()
