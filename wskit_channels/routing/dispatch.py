"""
Dispatch: the order and the tasks in which one connection's frames are handled.

Events run one at a time, in arrival order, in a worker task that lives while
there is one waiting. Calls run beside them, each in a task of its own. The reader
only ever calls ``feed``, which never waits: aborts, pings and a disconnect are seen
at once, whatever handlers are doing.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from typing import Any

from wskit_channels.protocol.connection import BUSY_RETRY_AFTER, Abort, Answer, Decoded
from wskit_channels.protocol.errors import CloseConnection, Refused
from wskit_channels.routing.call_runner import CallRunner
from wskit_channels.routing.context import CloseContext, ConnectionContext, Context
from wskit_channels.routing.failures import fail
from wskit_channels.routing.functions import (
    from_within,
    is_async,
    name_of,
    same_context,
    uncancel,
)
from wskit_channels.routing.log import fields
from wskit_channels.routing.peer import Peer

__all__ = ["Dispatcher"]

logger = logging.getLogger("wskit_channels.dispatch")


# Of connections without such a hook: one for all, since nobody ever waits for it.
_OPEN = asyncio.Event()
_OPEN.set()


# Of connections that have sent no event yet: a deque of its own takes 700 bytes.
_NO_LINE: deque[Decoded] = deque(maxlen=0)


class Dispatcher:
    """
    The handlers of one connection, waiting and running.

    ``start`` comes first, then ``feed`` for every frame, then ``close``, which ends
    whatever still runs, and ``run_close_hooks``.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._connection = peer.connection
        self._limits = peer.limits
        self._loop = asyncio.get_running_loop()
        self._line: deque[Decoded] = _NO_LINE
        self._line_bytes = 0
        self._line_was_full = False
        self._side_bytes = 0
        self._worker: asyncio.Task[None] | None = None
        self._work = peer.transport.work()
        self._side_tasks: dict[asyncio.Task[None], Decoded] = {}
        self._opened = asyncio.Event() if peer.table.hooks.on_open else _OPEN
        self._closing = False
        self._deaf = False
        self.calls = CallRunner(peer, self._opened)

    # -- opening

    def start(self) -> None:
        """Begin: run ``on_open``; whatever is fed meanwhile waits for it."""
        if self._peer.table.hooks.on_open:
            self._start_worker()

    async def _open(self) -> None:
        ctx: ConnectionContext[Any] = ConnectionContext(self._peer)
        try:
            for hook in self._peer.table.hooks.on_open:
                await self._run_hook(hook, ctx)
        except CloseConnection as close:
            self._give_up(close.code, close.reason)
        except asyncio.CancelledError:
            if self._closing:
                raise
            uncancel()
            logger.exception("on_open was cancelled from within", extra=fields(self._peer))
            self._give_up(1011, "ON_OPEN_FAILED")
        except Exception:
            logger.exception("on_open failed", extra=fields(self._peer))
            self._give_up(1011, "ON_OPEN_FAILED")
        else:
            self._opened.set()

    def _give_up(self, code: int, reason: str) -> None:
        self._deaf = True
        self._peer.transport.close(code, reason)

    async def _run_hook(self, hook: Any, *args: Any) -> None:
        if is_async(hook):
            await from_within(hook(*args))
        else:
            await self._peer.transport.run_sync(hook, *args)

    # -- frames

    def feed(self, data: str | bytes) -> None:
        """Take a frame from the reader. Never waits and never raises."""
        if self._deaf:
            return
        decision = self._connection.receive(data, now=self._loop.time(), wall=time.time())
        if isinstance(decision, Decoded):
            if decision.call is not None:
                self.calls.start(decision)
            elif decision.route.concurrent:
                self._start_aside(decision)
            else:
                self._enqueue(decision)
        elif isinstance(decision, Abort):
            self.calls.abort(decision.correlation_id)
        else:
            self._carry_out(decision)

    def _carry_out(self, answer: Answer) -> None:
        if answer.exceeded is not None:
            self._peer.report_exceeded(answer.exceeded)
        for note in answer.notes:
            self._peer.log.warning("left out of a refusal: %s", note)
        if answer.frame is not None:
            self._peer.write(answer.frame, answer.kind)
        if answer.close is not None:
            self._close_in_turn(answer.close.code, answer.close.reason)

    def _close_in_turn(self, code: int, reason: str) -> None:
        """Hear nothing more from now on, and close once what came before is answered."""
        self._deaf = True
        logger.info(
            "closing: code=%s reason=%s client=%s",
            code,
            reason,
            self._peer.client_id,
            extra=fields(self._peer),
        )
        refused = self.calls.refused()
        refused |= {task for task, event in self._side_tasks.items() if event.refusal is not None}
        if self._worker is None and not refused:
            self._peer.transport.close(code, reason)
        else:
            self._peer.own(self._close_after(refused, code, reason))

    async def _close_after(self, refused: set[asyncio.Task[None]], code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(self._limits.close_timeout):
                if refused:
                    await asyncio.wait(refused)
                while self._worker is not None:
                    await asyncio.wait({self._worker})
        except TimeoutError:
            logger.info(
                "closing before all was answered: client=%s",
                self._peer.client_id,
                extra=fields(self._peer),
            )
        self._peer.transport.close(code, reason)

    # -- events

    def _enqueue(self, decoded: Decoded) -> None:
        line, limits = self._line, self._limits
        if line is _NO_LINE:
            line = self._line = deque()
        waiting = len(line) + len(self._side_tasks)
        size = self._line_bytes + decoded.size
        if waiting >= limits.max_pending_events:
            self._refuse_busy(decoded, "pending_events", waiting + 1, limits.max_pending_events)
        elif size > limits.max_pending_bytes and line:
            self._refuse_busy(decoded, "pending_bytes", size, limits.max_pending_bytes)
        else:
            self._line_was_full = False
            line.append(decoded)
            self._line_bytes = size
            if self._worker is None:
                self._start_worker()

    def _refuse_busy(self, decoded: Decoded, type_: Any, observed: int, limit: int) -> None:
        refusal = Refused("RESOURCE_EXHAUSTED", retry_after=BUSY_RETRY_AFTER)
        self._peer.send_error(refusal, correlation_id=decoded.correlation_id)
        if not self._line_was_full:
            self._line_was_full = True
            self._peer.report(type_, observed, limit, BUSY_RETRY_AFTER)

    def _start_worker(self) -> None:
        # A context of its own, so that no handler's variables are seen by the next one's task.
        self._worker = self._loop.create_task(self._work_off(), context=self._work.context.copy())

    async def _work_off(self) -> None:
        peer, transport, work = self._peer, self._peer.transport, self._work
        fresh = contextvars.copy_context()
        try:
            if not self._opened.is_set():
                work.begin()
                await self._open()
                work.release()
            line = self._line
            while line and not self._closing and self._opened.is_set():
                decoded = line.popleft()
                self._line_bytes -= decoded.size
                work.begin()
                ctx: Context[Any, Any] = Context(peer, decoded)
                try:
                    await decoded.route.run(ctx)
                except BaseException as error:  # noqa: BLE001 - every exception is answered
                    await self._failed(ctx, error)
                work.release()
                if transport.queue:
                    await transport.flush()
                if line and not same_context(contextvars.copy_context(), fresh):
                    break  # what this handler set is not the next one's: another task goes on
        finally:
            self._worker = None
            if self._line and not self._closing and self._opened.is_set():
                self._start_worker()

    async def _failed(self, ctx: Context[Any, Any], error: BaseException) -> None:
        """Answer what an event's handler raised, whatever that is."""
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise error
        if isinstance(error, asyncio.CancelledError):
            if self._closing or self._peer.closed:
                raise error
            uncancel()
            bug = RuntimeError("the handler was cancelled from within")
            await fail(self._peer, ctx, bug, error)
        elif isinstance(error, Exception):
            await fail(self._peer, ctx, error)
        else:  # a Rust panic, say
            await fail(self._peer, ctx, RuntimeError("the handler was torn down"), error)

    def _start_aside(self, decoded: Decoded) -> None:
        """Run an event out of line, within the bound of those that wait."""
        waiting = len(self._line) + len(self._side_tasks)
        if waiting >= self._limits.max_pending_events:
            limit = self._limits.max_pending_events
            self._refuse_busy(decoded, "pending_events", waiting + 1, limit)
            return
        size, bytes_limit = self._side_bytes + decoded.size, self._limits.max_pending_bytes
        if size > bytes_limit and self._side_tasks:
            self._refuse_busy(decoded, "pending_bytes", size, bytes_limit)
            return
        self._line_was_full = False
        self._side_bytes = size
        work = self._peer.transport.work()
        task = self._loop.create_task(self._aside(decoded), context=work.context)
        self._side_tasks[task] = decoded

        def ended(task: asyncio.Task[None]) -> None:
            self._side_bytes -= self._side_tasks.pop(task).size
            work.release()

        task.add_done_callback(ended)

    async def _aside(self, decoded: Decoded) -> None:
        await self._opened.wait()
        ctx: Context[Any, Any] = Context(self._peer, decoded)
        try:
            await decoded.route.run(ctx)
        except BaseException as error:  # noqa: BLE001 - every exception is answered
            await self._failed(ctx, error)
        await self._peer.transport.flush()

    # -- closing

    async def close(self) -> None:
        """
        End everything that runs: calls first, then events, then what was spawned.

        They are cancelled and get ``close_timeout`` seconds; what has not ended by then
        is logged and left alone.
        """
        self._closing = self._deaf = True
        self._peer.closed = True
        self._line.clear()
        # Whatever is still running now has nobody left to answer: even what is not cancellable
        # only keeps its flag, but is waited for below like the others.
        tasks: set[asyncio.Future[Any]] = {*self.calls.cancel_all()}
        others = [*self._side_tasks, *self._peer.spawned]
        if self._worker is not None:
            others.insert(0, self._worker)
        for task in others:
            task.cancel()
        tasks.update(others)
        tasks.update(self._peer.finishing)
        await self._wait_for(tasks)
        self._work.release()

    async def _wait_for(self, tasks: set[asyncio.Future[Any]]) -> None:
        if not tasks:
            return
        _, left = await asyncio.wait(tasks, timeout=self._limits.close_timeout)
        if left:
            logger.warning(
                "%s tasks still run %s s after their connection closed: client=%s",
                len(left),
                self._limits.close_timeout,
                self._peer.client_id,
                extra=fields(self._peer),
            )

    async def run_close_hooks(self, code: int, reason: str) -> None:
        """Run ``on_close`` hooks, each logged if it fails or takes longer than it may."""
        ctx: CloseContext[Any] = CloseContext(self._peer, code, reason)
        for hook in self._peer.table.hooks.on_close:
            try:
                async with asyncio.timeout(self._limits.close_timeout):
                    await self._run_hook(hook, ctx)
            except Exception:
                logger.exception(
                    "on_close failed: hook=%s", name_of(hook), extra=fields(self._peer)
                )
        if self._peer.finishing:
            await self._wait_for(set(self._peer.finishing))
