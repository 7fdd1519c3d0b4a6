"""
The client's frames: what waits to be written, which calls are open, and whose a frame is.

Outlives connections. One connection at a time takes frames from here to write, and brings
what it reads; nothing here waits for a socket.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from wskit_channels.client.call import Call
from wskit_channels.client.calls import CallTable, Exchange, Phase
from wskit_channels.client.errors import (
    ConnectionClosed,
    InvalidFrame,
    RequestTimeout,
    StateError,
)
from wskit_channels.client.frames import Frame, abort_frame
from wskit_channels.client.hooks import Hooks
from wskit_channels.client.incoming import Incoming
from wskit_channels.client.outqueue import Outgoing, OutQueue
from wskit_channels.client.policy import REFUSALS, Bye, Ended
from wskit_channels.client.settings import ClientSettings
from wskit_channels.protocol import wire

__all__ = ["Traffic"]

AnyCall = Call[Any, Any]


class Traffic:
    def __init__(self, settings: ClientSettings, hooks: Hooks, incoming: Incoming) -> None:
        self._hooks = hooks
        self._incoming = incoming
        self._queue = OutQueue(settings.queue, settings.queue_size)
        self._calls: CallTable[AnyCall] = CallTable(
            limit=settings.pending_requests_limit, resend_window=settings.resend_window
        )
        self._control: deque[str] = deque()
        self._pong: str | None = None
        self._most_unproven = settings.queue_size
        self._unproven: list[Outgoing] | None = None
        self._online = False
        self._leaving = False
        self._stopped = False
        self._ended = Ended()
        self._timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._written = asyncio.Event()

    def send(self, text: str) -> bool:
        """Queue a message; False if it was not taken."""
        return self._push(Outgoing(text))

    def open(self, call: AnyCall) -> None:
        """
        Queue a call's request.

        Raises:
            StateError: If it cannot be taken.
        """
        self._calls.open(call, now=self._now())
        if not self._push(Outgoing(call=call)):
            self._calls.end(call)
            raise StateError(
                "the queue of outgoing frames is full: await client.drain()"
                if self._online or len(self._queue)
                else 'the client is not connected, and queue="off" keeps nothing until it is'
            )
        self._arm(call.due)

    def abandon(self, call: Exchange) -> None:
        """The caller gives a call up: take its request back, or tell the server."""
        phase = call.phase
        if self._calls.end(call):
            self._give_up(call, phase)

    def take(self) -> str | None:
        """The next frame to write, at once; a call's time starts here."""
        if self._control:
            return self._control.popleft()
        if self._pong is not None:
            text, self._pong = self._pong, None
            return text
        if self._leaving:
            return None  # what is written after a goodbye is read by nobody
        frame = self._queue.pop()
        if frame is None:
            self._written.set()
            return None
        # Bounded, so that a server which never answers costs no memory; what is not kept is
        # lost if the server refuses us after all.
        if self._unproven is not None and len(self._unproven) < self._most_unproven:
            self._unproven.append(frame)
        if frame.call is None:
            return frame.text
        text = self._calls.sent(frame.call, now=self._now())
        self._arm(frame.call.due)
        return text

    async def wait_for_work(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    async def drain(self) -> None:
        """Wait until nothing is queued, or the client has stopped."""
        while len(self._queue) and not self._stopped:
            self._written.clear()
            await self._written.wait()

    def ping(self) -> None:
        self._control.append(wire.ping_frame(now=time.time()))
        self._wake.set()

    def receive(self, text: str) -> Bye | None:
        """Act on a frame; the goodbye if it is one."""
        self._hooks.frame("in", text)
        self._unproven = None
        try:
            frame = Frame.parse(text)
        except InvalidFrame as error:
            self._hooks.report(error)
            return None
        if frame.type == wire.BYE:
            self._leaving = True
            return frame.as_bye()
        if frame.type == wire.PING:
            # Only the latest is owed: a server that pings without reading gets no backlog.
            self._pong = wire.pong_frame(frame.meta.get(wire.TIMESTAMP), now=time.time())
            self._wake.set()
        elif frame.type == wire.PROGRESS:
            self._progress(frame)
        elif frame.type in wire.RESERVED_TYPES:
            self._error(frame)
        elif not wire.is_reserved(frame.type):
            self._message(frame)
        return None

    def started(self) -> None:
        """Connections may come."""
        self._stopped = False

    def opened(self, announce: Callable[[], None]) -> None:
        """
        A connection stands. What ``announce`` sends goes first: rooms are joined again there.

        Then come calls that are written again, then what is queued. Before all goes a ping: a
        server that closes with a refusal and has answered nothing has read none of what
        followed, so that it can be written on the next connection.
        """
        self._online, self._leaving, self._unproven = True, False, []
        self.ping()
        again = [Outgoing(call=call) for call in self._calls.resend()]
        waiting = self._queue.take_all()
        announce()
        self._queue.extend([*again, *waiting])
        self._wake.set()

    def lost(self, ended: Ended) -> None:
        """The connection is gone, and may come back."""
        self._online, self._ended = False, ended
        self._control.clear()
        self._pong = None
        if ended.code in REFUSALS and self._unproven:
            self._put_back_unread(self._unproven)
        self._unproven = None
        for call in self._calls.lost(now=self._now()):
            call.fail(
                ConnectionClosed(
                    ended.code,
                    ended.reason,
                    "the request may have run; give idempotency_key= to have it sent again",
                )
            )
        self._arm(self._calls.next_due())

    def stopped(self, error: ConnectionClosed, *, keep_messages: bool) -> None:
        """No connection will come, unless the client is started again; calls fail."""
        self._online, self._stopped = False, True
        self._queue.clear(keep_messages=keep_messages)
        self._written.set()
        for call in self._calls.clear():
            call.fail(error.again())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _put_back_unread(self, frames: list[Outgoing]) -> None:
        unread = [each for each in frames if each.call is None or each.call.phase is Phase.SENT]
        for frame in unread:
            if frame.call is not None:
                self._calls.unread(frame.call, now=self._now())
        self._queue.put_back(unread)

    def _push(self, frame: Outgoing) -> bool:
        taken, dropped = self._queue.push(frame, online=self._online)
        if dropped is not None and isinstance(dropped.call, Call) and self._calls.end(dropped.call):
            dropped.call.fail(StateError("newer frames have driven the request out of the queue"))
        self._wake.set()
        return taken

    def _message(self, frame: Frame) -> None:
        call = self._calls.find(frame.correlation_id)
        if call is not None and frame.type == call.response_type:
            self._calls.end(call)
            call.replied(frame)
        elif not self._calls.is_late(frame.correlation_id, frame.type):
            self._incoming.deliver(frame)

    def _error(self, frame: Frame) -> None:
        call = self._calls.find(frame.correlation_id)
        if call is not None:
            self._calls.end(call)
            call.fail(frame.as_error())
        elif frame.type == wire.ERROR:  # an RPC_ERROR without a call is the answer to an abort
            self._hooks.report(frame.as_error())

    def _progress(self, frame: Frame) -> None:
        call = self._calls.find(frame.correlation_id)
        if call is None:
            return
        try:
            call.progressed(frame)
        except InvalidFrame as error:
            self._hooks.report(error)
        except Exception as error:  # noqa: BLE001 - the reply must not be lost with it
            self._hooks.failed(error, "on_progress")

    def _give_up(self, call: Exchange, phase: Phase) -> None:
        if phase is Phase.SENT and self._online:
            self._control.append(abort_frame(call.id))
            self._wake.set()
        elif phase is Phase.QUEUED and self._queue.withdraw(call) and not len(self._queue):
            self._written.set()

    def _arm(self, due: float | None) -> None:
        """Have the timer go off at ``due`` unless it does so earlier."""
        if due is None or (self._timer is not None and self._timer.when() <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due, self._expire, due)

    def _expire(self, due: float) -> None:
        self._timer = None
        # Timers may go off a little early, by the clock's resolution.
        now = max(due, self._now())
        for call, phase in self._calls.expire(now=now):
            self._give_up(call, phase)
            call.fail(self._too_late(call, phase, now=now))
        self._arm(self._calls.next_due())

    def _too_late(self, call: Exchange, phase: Phase, *, now: float) -> Exception:
        if call.deadline is not None and call.deadline <= now:
            return RequestTimeout(f"no answer within {call.timeout:g} s")
        if phase is Phase.QUEUED:
            return RequestTimeout(f"not sent within the queue_timeout of {call.queue_timeout:g} s")
        explanation = "it was not sent again within resend_window"
        return ConnectionClosed(self._ended.code, self._ended.reason, explanation)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
