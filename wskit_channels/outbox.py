"""
The outbox: what waits to be written to one client, in the order queued.

Bounded in bytes. A send made while a handler runs is written by that handler's own
task when it returns; what is queued from anywhere else starts a writer, which ends
when the queue is empty, so that an idle connection owns no task for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["Outbox"]

logger = logging.getLogger("wskit_channels.outbox")


class Outbox:
    """
    One connection's frames on their way out. Used in its loop's thread only.

    Args:
        send: The ASGI send.
        limit: Bytes that may wait; a frame that finds more waiting is refused.
        on_overflow: Told how many bytes wait, once, when a frame is refused.
    """

    def __init__(
        self,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        limit: int,
        on_overflow: Callable[[int], None],
    ) -> None:
        self._send = send
        self._limit = limit
        self._on_overflow = on_overflow
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[str, int]] = deque()
        self._bytes = 0
        self._writing = False
        self._kick: asyncio.Handle | None = None
        self._writer: asyncio.Task[None] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._overflowed = False
        self._closed = False

    @property
    def unwritten(self) -> bool:
        """Whether frames are queued that nobody is writing."""
        return bool(self._queue) and not self._writing

    @property
    def waiting_bytes(self) -> int:
        """Bytes queued or being written."""
        return self._bytes

    def put(self, frame: str) -> None:
        """Queue a frame; refused, and reported once, if more than the limit waits already."""
        if self._closed or self._overflowed:
            return
        if self._bytes > self._limit:
            self._overflowed = True
            self._on_overflow(self._bytes)
            return
        size = len(frame) if frame.isascii() else len(frame.encode())
        self._queue.append((frame, size))
        self._bytes += size
        if not self._writing and self._kick is None:
            self._kick = self._loop.call_soon(self._start_writer)

    def _start_writer(self) -> None:
        self._kick = None
        if self.unwritten:
            self._writer = self._loop.create_task(self.flush())

    async def flush(self) -> None:
        """Write what is queued, unless somebody else is at it."""
        if self._writing:
            return
        self._writing = True
        queue, send = self._queue, self._send
        try:
            while queue:
                frame, size = queue.popleft()
                try:
                    await send({"type": "websocket.send", "text": frame})
                finally:
                    self._bytes -= size
        except Exception as error:  # noqa: BLE001 - the server's word that the client is gone
            logger.debug("a frame could not be sent: %s", type(error).__name__)
            self.close()
        finally:
            self._writing = False
            self._wake()
            if queue and not self._closed and self._kick is None:
                # Cancelled half way: what is left is another writer's.
                self._kick = self._loop.call_soon(self._start_writer)

    async def drain(self) -> None:
        """Wait until everything queued was written, or the outbox closed."""
        while self._bytes and not self._closed:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def close(self) -> None:
        """Take no more and forget what is queued."""
        self._closed = True
        self._bytes -= sum(size for _, size in self._queue)
        self._queue.clear()
        if self._kick is not None:
            self._kick.cancel()
            self._kick = None
        if self._writer is not None:
            self._writer.cancel()
        self._wake()

    def _wake(self) -> None:
        if not self._queue or self._closed:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()
