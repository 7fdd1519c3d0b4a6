"""
Frames that wait to be written, bounded in number.

No IO: the connection takes what it can write. A full queue behaves by policy while the
client is offline. Online it refuses the newest whatever the policy, since what waits then is
about to go.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from wskit_channels.client.calls import Exchange

__all__ = ["OutQueue", "Outgoing", "QueuePolicy"]

QueuePolicy = Literal["drop-oldest", "drop-newest", "off"]


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """A message's text, or the call whose request is to be written."""

    text: str = ""
    call: Exchange | None = None


class OutQueue:
    def __init__(self, policy: QueuePolicy, size: int) -> None:
        self._policy = policy
        self._size = size
        self._waiting: deque[Outgoing] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, frame: Outgoing, *, online: bool) -> tuple[bool, Outgoing | None]:
        """Whether the frame was taken, and the one that was dropped for it."""
        if not online and self._policy == "off":
            return False, None
        dropped = None
        if len(self._waiting) >= self._size:
            if online or self._policy != "drop-oldest":
                return False, None
            dropped = self._waiting.popleft()
        self._waiting.append(frame)
        return True, dropped

    def pop(self) -> Outgoing | None:
        return self._waiting.popleft() if self._waiting else None

    def put_back(self, frames: list[Outgoing]) -> None:
        """Put frames before all others, beyond the bound if need be."""
        self._waiting.extendleft(reversed(frames))

    def extend(self, frames: list[Outgoing]) -> None:
        """Put frames behind all others, beyond the bound if need be."""
        self._waiting.extend(frames)

    def take_all(self) -> list[Outgoing]:
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def withdraw(self, call: Exchange) -> bool:
        """Take a call's frame out, if it waits here."""
        for frame in self._waiting:
            if frame.call is call:
                self._waiting.remove(frame)
                return True
        return False

    def clear(self, *, keep_messages: bool) -> None:
        """Forget requests, and messages too unless they are to wait for another start."""
        kept = [frame for frame in self._waiting if keep_messages and frame.call is None]
        self._waiting = deque(kept)
