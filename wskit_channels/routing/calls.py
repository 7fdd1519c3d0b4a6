"""
A call that is running: its frames, its cancellation and its throttled progress.

The rules are ``protocol.calls``; this carries them out in the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from wskit_channels.protocol.backlog import Kind
from wskit_channels.protocol.calls import Call, CallEnded, Move
from wskit_channels.protocol.errors import WsKitError
from wskit_channels.routing.functions import name_of
from wskit_channels.routing.log import fields

if TYPE_CHECKING:
    from wskit_channels.routing.keeper import Keeper
    from wskit_channels.routing.peer import Peer
    from wskit_channels.routing.shell import Work

logger = logging.getLogger("wskit_channels.calls")

OnCancel = Callable[[], object]


class RunningCall:
    """One call in flight: what its context, its deadline and its client's abort act on."""

    __slots__ = (
        "_callbacks",
        "_cancelled",
        "_held",
        "_loop",
        "_peer",
        "_progress_timer",
        "_progressed_at",
        "began",
        "call",
        "cancellable",
        "handler_began",
        "keeper",
        "refused",
        "size",
        "task",
        "work",
    )

    def __init__(
        self, peer: Peer, call: Call, work: Work, *, cancellable: bool, refused: bool
    ) -> None:
        self._peer = peer
        self.call = call
        self.work = work
        self.began = False
        self.size = 0
        """Bytes of the request, which is held until the handler has ended."""

        self.cancellable = cancellable
        self.refused = refused
        self.task: asyncio.Task[None] | None = None
        self.handler_began = False
        self.keeper: Keeper | None = None
        self._loop = asyncio.get_running_loop()
        self._cancelled: asyncio.Event | None = None
        self._callbacks: dict[object, OnCancel] = {}
        self._held: str | None = None
        self._progress_timer: asyncio.TimerHandle | None = None
        self._progressed_at: float | None = None

    def reply(self, frame: str) -> None:
        """
        Send the reply, unless the call has ended.

        A client that does not read gets an error in its place, if there is no room.
        """
        if self._move(Move.REPLY) and not self._peer.write(frame, Kind.REPLY):
            logger.info(
                "a reply did not fit: client=%s", self._peer.client_id, extra=fields(self._peer)
            )
            self._send_error(WsKitError("RESOURCE_EXHAUSTED", "The reply did not fit"))

    def fail(self, error: WsKitError) -> None:
        """Answer with an error, unless the call has ended."""
        if self.keeper is not None:  # also of a call that has ended: it is what its handler did
            self.keeper.failed(error)
        if self._move(Move.FAIL):
            self._send_error(error)

    def progress(self, frame: str, throttle: float | None) -> None:
        """
        Send progress, or hold it back while ``throttle`` seconds have not passed.

        What is held goes out when they have, or right before the terminal frame;
        of several only the last.
        """
        try:
            self._peer.connection.calls.move(self.call, Move.PROGRESS)
        except CallEnded as ended:
            logger.debug("progress dropped: %s", ended, extra=fields(self._peer))
            return
        now = self._loop.time()
        if throttle and self._progressed_at is not None:
            due = self._progressed_at + throttle
            if now < due:
                self._held = frame
                if self._progress_timer is None:
                    self._progress_timer = self._loop.call_at(due, self._send_held)
                return
        self._held = frame
        self._send_held()

    def _send_held(self) -> None:
        if self._progress_timer is not None:
            self._progress_timer.cancel()
            self._progress_timer = None
        if self._held is not None:
            self._progressed_at = self._loop.time()
            self._peer.write(self._held, Kind.PROGRESS)
            self._held = None

    def _move(self, move: Move) -> bool:
        try:
            self._peer.connection.calls.move(self.call, move)
        except CallEnded as ended:
            logger.debug("answer dropped: %s", ended, extra=fields(self._peer))
            return False
        self._send_held()
        return True

    def _send_error(self, error: WsKitError) -> None:
        # A request that is refused before its handler began gets no made-up id (PROTOCOL 5).
        refused = self.call.made_up and not self.handler_began
        self._peer.send_error(
            error, correlation_id=None if refused else self.call.id, rpc=True, call=self.call
        )

    def abort(self) -> None:
        """The client gives up: answer ``CANCELLED`` at once and cancel (``PROTOCOL 5.5``)."""
        if self._move(Move.CANCEL):
            self._send_error(WsKitError("CANCELLED"))
            self.cancel()

    def expired(self) -> None:
        """The deadline has come, as the table decided: answer at once and cancel."""
        self._send_held()
        self._send_error(WsKitError("DEADLINE_EXCEEDED"))
        self.cancel()

    def cancel(self) -> None:
        """Set the flag, run the callbacks in order, and cancel the handler if it may be."""
        if self._progress_timer is not None:
            self._progress_timer.cancel()
        self._event().set()
        callbacks = list(self._callbacks.values())
        self._callbacks.clear()
        for callback in callbacks:
            self._call(callback)
        if self.task is not None and self.cancellable:
            self.task.cancel()

    def _call(self, callback: OnCancel) -> None:
        try:
            found = callback()
        except Exception:
            logger.exception(
                "cancel callback failed: callback=%s", name_of(callback), extra=fields(self._peer)
            )
        else:
            if isinstance(found, Awaitable):  # Task.cancel, say, returns a bool
                self._peer.finish(found)

    @property
    def cancelled(self) -> bool:
        return self._cancelled is not None and self._cancelled.is_set()

    def on_cancel(self, callback: OnCancel) -> Callable[[], None]:
        """Have a callback run at cancellation, at once if that was before; undone by the result."""
        key = object()

        def register() -> None:
            if self.cancelled:
                self._call(callback)
            else:
                self._callbacks[key] = callback

        def unregister() -> None:
            self._callbacks.pop(key, None)

        self._peer.post(register)
        return lambda: self._peer.post(unregister)

    def _event(self) -> asyncio.Event:
        if self._cancelled is None:
            self._cancelled = asyncio.Event()
        return self._cancelled

    async def wait_cancelled(self) -> None:
        await self._event().wait()

    def time_remaining(self) -> float:
        return max(0.0, self.call.deadline - self._loop.time())
