"""
The outbox: what waits to be written to one client, in the order queued.

Bounded in bytes, by the rules of ``protocol.backlog``. A send made while a handler runs
is written by that handler's own task when it returns; what is queued from anywhere else
starts a writer, which ends when the queue is empty, so that an idle connection owns no
task for it.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
from types import coroutine
from typing import Any, Protocol

from wskit_channels.protocol.backlog import Backlog, Entry, Kind, Verdict, entry_of

__all__ = ["Flow", "Outbox"]

logger = logging.getLogger("wskit_channels.outbox")

REPORT_EVERY = 1.0
"""Seconds between two reports of frames that go on being dropped."""

OnDropped = Callable[[int, int, bool], None]


class Flow(Protocol):
    """Whether a server takes more, where its ``send`` does not wait for that itself."""

    @property
    def paused(self) -> bool: ...

    async def resumed(self) -> None:
        """Wait until the server takes more or the connection is lost."""


class Outbox:
    """
    One connection's frames on their way out. Used in its loop's thread only.

    Args:
        send: The ASGI send.
        backlog: The queue, with its limit.
        on_dropped: Told of frames that are lost: how many bytes wait, how many frames
            were dropped since it was last told, and whether the connection has to close.
            While drops go on it is told once a second, and of the rest at their end.
        flow: Asked before each frame, where ``send`` returns without waiting.
        needs_task: Whether ``send`` may only be begun in a task; servers are known whose
            ``send`` does not care.
    """

    def __init__(
        self,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        backlog: Backlog,
        on_dropped: OnDropped,
        flow: Flow | None = None,
        *,
        needs_task: bool = True,
    ) -> None:
        self._send = send
        self._backlog = backlog
        self.queue = backlog.queue
        """What waits to be written; read it only, to see whether there is anything."""
        self._on_dropped = on_dropped
        self._flow = flow
        self._loop = asyncio.get_running_loop()
        self._needs_task = needs_task
        self._turn = _turn_here()
        self._waits_for_turn = False
        self._writing = False
        self._writer: asyncio.Task[None] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._reported = 0
        self._reported_at: float | None = None
        self._overflowed = False
        self._closed = False

    def put(self, frame: str, kind: Kind = Kind.MESSAGE) -> bool:
        """Queue a frame. False says that it is a reply that does not fit: fail its call."""
        return self.share(entry_of(frame, kind))

    def share(self, entry: Entry) -> bool:
        """The same for a frame that waits in other queues, too: it is kept once for all."""
        backlog = self._backlog
        if self._closed or self._overflowed:
            return True
        if backlog.bytes > backlog.limit or backlog.waste is not None:
            return self._put_over(entry)
        # The same as backlog.put() does, for the one case that is common.
        self.queue.append(entry)
        backlog.bytes += entry[1]
        if not self._writing and not self._waits_for_turn:
            self._waits_for_turn = True
            self._turn.add(self)
        return True

    def _put_over(self, entry: Entry) -> bool:
        """Queue a frame where too much waits already, or did a moment ago."""
        backlog = self._backlog
        dropped = backlog.dropped
        verdict = backlog.put(entry)
        if verdict is Verdict.CLOSE:
            self._overflow()
            return True
        if not self._writing and not self._waits_for_turn:
            self._waits_for_turn = True
            self._turn.add(self)
        if backlog.dropped != dropped:
            self._report()
        return verdict is not Verdict.REFUSED

    def _overflow(self) -> None:
        """Take nothing any more, and lose what waits: the client would not read it."""
        self._overflowed = True
        waiting = self._backlog.bytes
        self._backlog.clear()
        self._backlog.dropped += 1  # the frame that did not fit
        self._tell(waiting, closing=True)

    def _report(self) -> None:
        """Report what was dropped, unless that was done a moment ago."""
        now = self._loop.time()
        if self._reported_at is None or now - self._reported_at >= REPORT_EVERY:
            self._reported_at = now
            self._tell(self._backlog.bytes)

    def _tell(self, waiting: int, *, closing: bool = False) -> None:
        dropped, self._reported = self._backlog.dropped - self._reported, self._backlog.dropped
        if dropped:
            self._on_dropped(waiting, dropped, closing)

    def have_written(self) -> None:
        """Write what is queued; where the server makes us wait, a task goes on with it."""
        if self._needs_task:
            self._writer = self._loop.create_task(self.flush())
            return
        flushing = self.flush()
        try:
            waited_for = flushing.send(None)
        except StopIteration:
            return
        self._writer = self._loop.create_task(_finish(flushing, waited_for))
        # A task that is cancelled before it began would leave the flush as it stands.
        self._writer.add_done_callback(lambda _: flushing.close())

    async def flush(self) -> None:
        """Write what is queued, unless somebody else is at it."""
        if self._writing:
            return
        self._writing = True
        backlog, queue, send, flow = self._backlog, self.queue, self._send, self._flow
        size = 0
        try:
            while queue:
                if flow is not None and flow.paused:
                    await flow.resumed()
                    continue
                if backlog.waste is None:
                    frame, size, _ = queue.popleft()
                else:
                    frame, size = backlog.pop()
                await send({"type": "websocket.send", "text": frame})
                backlog.bytes -= size
                size = 0
        except Exception as error:  # noqa: BLE001 - the server's word that the client is gone
            logger.debug("a frame could not be sent: %s", type(error).__name__)
            self.close()
        finally:
            backlog.bytes -= size  # of the frame that was being written, however that ended
            self._writing = False
            if self._waiters or self._reported_at is not None:
                self._wake()
            if queue and not self._closed and not self._waits_for_turn:
                # Cancelled half way: what is left is another writer's.
                self._waits_for_turn = True
                self._turn.add(self)

    async def drain(self) -> None:
        """Wait until everything queued was written, or the outbox closed."""
        while self._backlog.bytes and not self._closed:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def close(self) -> None:
        """Take no more and forget what is queued."""
        self._closed = True
        if not self._overflowed:
            self._tell(self._backlog.bytes)
        self._reported += self._backlog.clear()  # lost with the connection, not to a limit
        if self._writer is not None:
            self._writer.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._closed or not self.queue:
            if self._reported_at is not None:
                self._reported_at = None
                self._tell(self._backlog.bytes)
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()


async def _finish(flushing: Coroutine[Any, Any, None], waited_for: Any) -> None:
    await _go_on(flushing, waited_for)  # a task takes no generator since Python 3.12


@coroutine
def _go_on(flushing: Coroutine[Any, Any, None], waited_for: Any) -> Generator[Any, Any, None]:
    """
    Go on in a task with a flush that was begun outside of one.

    Only ever with the ``send`` of a server that is known not to ask for its task: what is
    begun in the loop itself must not set a timeout, nor tell who runs it.
    """
    step: Callable[[Any], Any]
    while True:
        try:
            result = yield waited_for
        except BaseException as error:  # noqa: BLE001 - the task was cancelled: tell it
            step, given = flushing.throw, error
        else:
            step, given = flushing.send, result
        try:
            waited_for = step(given)
        except StopIteration:
            return


class _Turn:
    """The outboxes of one event loop that got something to write; they share one callback."""

    def __init__(self) -> None:
        self._waiting: list[Outbox] = []

    def add(self, outbox: Outbox) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._come)
        self._waiting.append(outbox)

    def _come(self) -> None:
        waiting, self._waiting = self._waiting, []
        for outbox in waiting:
            outbox._waits_for_turn = False
            if outbox._writing or not outbox.queue:
                continue
            try:
                outbox.have_written()
            except (Exception, asyncio.CancelledError):
                logger.exception("writing failed")  # of one: the others have their turn


_turns: MutableMapping[asyncio.AbstractEventLoop, _Turn] = weakref.WeakKeyDictionary()


def _turn_here() -> _Turn:
    loop = asyncio.get_running_loop()
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = _Turn()
    return turn
