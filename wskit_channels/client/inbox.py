"""
Bounded buffers between the reader, which never waits, and whoever takes messages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar

__all__ = ["Inbox", "IncomingPolicy"]

IncomingPolicy = Literal["drop-oldest", "drop-newest"]
T = TypeVar("T")


class Inbox(Generic[T]):
    """
    Messages that wait to be taken, by ``async for``; at most ``size``.

    It ends, when it is empty, with the exception that ended it if one did.
    """

    def __init__(self, size: int, policy: IncomingPolicy = "drop-oldest") -> None:
        self._size = size
        self._policy = policy
        self._waiting: deque[T] = deque()
        self._wake = asyncio.Event()
        self._error: BaseException | None = None
        self._ended = False
        self.has_told = False
        """Whether somebody was told that it overflows, since it was last empty."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: T) -> bool:
        """Add a message; False if one was dropped, this or another."""
        if self._ended:
            return True  # nobody is there to miss it
        whole = len(self._waiting) < self._size
        if not whole and self._policy == "drop-oldest":
            self._waiting.popleft()
        if whole or self._policy == "drop-oldest":
            self._waiting.append(item)
        self._wake.set()
        return whole

    def end(self, error: BaseException | None = None) -> None:
        """Let takers end once they have had what waits."""
        if not self._ended:
            self._ended, self._error = True, error
            self._wake.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._waiting:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()


class Subscription(Inbox[T]):
    """What ``Client.listen()`` returns: messages of some classes, from now on."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_closed(self) -> bool:
        return self._ended

    def close(self) -> None:
        """Take no more messages; what waits can still be had."""
        self.end()
