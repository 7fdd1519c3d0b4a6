"""
The calls of one connection that are running: their tasks, slots and deadlines.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from wskit_channels.protocol.connection import BUSY_RETRY_AFTER
from wskit_channels.protocol.errors import Refused, WsKitError
from wskit_channels.routing.calls import RunningCall
from wskit_channels.routing.context import RpcContext
from wskit_channels.routing.failures import fail
from wskit_channels.routing.functions import uncancel
from wskit_channels.routing.log import fields

if TYPE_CHECKING:
    from wskit_channels.protocol.connection import Decoded
    from wskit_channels.routing.peer import Peer

__all__ = ["CallRunner"]

logger = logging.getLogger("wskit_channels.dispatch")


class CallRunner:
    """
    Runs calls side by side, each in a task of its own.

    Args:
        opened: Set when handlers may begin: after ``on_open``.
    """

    def __init__(self, peer: Peer, opened: asyncio.Event) -> None:
        self._peer = peer
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, RunningCall] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._bytes = 0
        self._was_full = False

    def start(self, decoded: Decoded) -> None:
        """Run a call's handler in a task of its own."""
        call = decoded.call
        assert call is not None  # noqa: S101 - the dispatcher looked
        running = RunningCall(
            self._peer,
            call,
            self._peer.transport.work(),
            cancellable=decoded.route.cancellable,
            refused=decoded.refusal is not None,
        )
        self._running[id(call)] = running
        self._bytes += decoded.size
        running.size = decoded.size
        if self._bytes > self._peer.limits.max_pending_bytes and len(self._running) > 1:
            self._refuse_busy(running)
            return
        self._was_full = False
        if self._alarm is None or call.deadline < self._alarm.when():
            self._set_alarm(call.deadline)
        running.task = self._loop.create_task(
            self._run_call(running, decoded), context=running.work.context
        )

    def _refuse_busy(self, running: RunningCall) -> None:
        """The requests that are held take as many bytes as they may: one more is refused."""
        limit = self._peer.limits.max_pending_bytes
        running.fail(Refused("RESOURCE_EXHAUSTED", retry_after=BUSY_RETRY_AFTER))
        if not self._was_full:
            self._was_full = True
            self._peer.report("pending_bytes", self._bytes, limit, BUSY_RETRY_AFTER)
        self._slot_free(running)

    def _see_to(self, running: RunningCall) -> None:
        """See to the end of a call that was cancelled before its task began to run."""
        task = running.task
        if task is not None and task.cancelling() and not running.began:
            task.add_done_callback(lambda _: self._call_ended(running))

    def _call_ended(self, running: RunningCall) -> None:
        if not running.call.ended:  # whatever ended the task, the client is answered
            running.fail(WsKitError("INTERNAL"))
        running.work.release(lambda: self._slot_free(running))

    def abort(self, correlation_id: str) -> None:
        """The client gives a call up; one that is not in flight is passed over."""
        call = self._peer.connection.calls.find(correlation_id)
        if call is not None:
            running = self._running[id(call)]
            running.abort()
            self._see_to(running)

    def cancel_all(self) -> set[asyncio.Task[None]]:
        """End every call without an answer (``PROTOCOL 5.6``); their tasks."""
        self._peer.connection.calls.disconnect()
        if self._alarm is not None:
            self._alarm.cancel()
        running = list(self._running.values())
        for call in running:
            call.cancel()
            self._see_to(call)
        return {call.task for call in running if call.task is not None}

    def refused(self) -> set[asyncio.Task[None]]:
        """The tasks that only have a refusal to answer."""
        running = self._running.values()
        return {run.task for run in running if run.refused and run.task is not None}

    def unanswered(self) -> set[asyncio.Task[None]]:
        """The tasks of calls that still have to be answered."""
        running = self._running.values()
        return {run.task for run in running if run.task is not None and not run.call.ended}

    def _slot_free(self, running: RunningCall) -> None:
        del self._running[id(running.call)]
        self._bytes -= running.size
        self._peer.connection.calls.handler_ended()

    async def _run_call(self, running: RunningCall, decoded: Decoded) -> None:
        running.began = True
        ctx: RpcContext[Any, Any] = RpcContext(self._peer, decoded, running)
        try:
            if not self._opened.is_set():
                await self._opened.wait()
            try:
                await decoded.route.run(ctx)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - all are answered
                await self._call_failed(ctx, running, error)
            else:
                if not running.call.ended:
                    self._answer_missing(ctx, running)
            if self._peer.transport.queue:
                await self._peer.transport.flush()
        except (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError):
            raise
        except BaseException:  # a Rust panic, say
            more = fields(self._peer, message_type=ctx.type)
            logger.exception("a call failed: type=%s", ctx.type, extra=more)
        finally:
            if running.cancelled:
                # Not before what it waited for, a thread perhaps, has heard of it.
                self._loop.call_soon(self._call_ended, running)
            else:
                self._call_ended(running)

    async def _call_failed(
        self, ctx: RpcContext[Any, Any], running: RunningCall, error: BaseException
    ) -> None:
        if isinstance(error, asyncio.CancelledError):
            if not running.call.ended:
                uncancel()
                bug = RuntimeError("the handler was cancelled from within")
                await fail(self._peer, ctx, bug, error)
        elif isinstance(error, Exception):
            if not running.call.ended:
                await fail(self._peer, ctx, error)
                return
            logger.warning(
                "a call failed after it had ended: %s",
                ctx.type,
                exc_info=error,
                extra=fields(self._peer, message_type=ctx.type),
            )

    def _answer_missing(self, ctx: RpcContext[Any, Any], running: RunningCall) -> None:
        logger.error(
            "the handler finished without a reply: type=%s",
            ctx.type,
            extra=fields(self._peer, message_type=ctx.type),
        )
        running.fail(WsKitError("INTERNAL", "The handler finished without a reply"))

    def _set_alarm(self, deadline: float) -> None:
        """Wake up at the earliest deadline: one timer serves all calls."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(deadline, self._expire, deadline)

    def _expire(self, due: float) -> None:
        self._alarm = None
        calls = self._peer.connection.calls
        # A loop runs its timers early by up to its clock's resolution.
        for call in calls.expire(now=max(self._loop.time(), due)):
            running = self._running[id(call)]
            running.expired()
            self._see_to(running)
        if (deadline := calls.next_deadline()) is not None:
            self._set_alarm(deadline)
