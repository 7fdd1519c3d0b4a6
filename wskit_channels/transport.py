"""
One connection of the ASGI server, as routing uses it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from typing_extensions import ParamSpec, TypeVar

from wskit_channels import hub
from wskit_channels.outbox import Outbox
from wskit_channels.protocol.backlog import Backlog
from wskit_channels.protocol.limits import Limits
from wskit_channels.routing.results import PublishResult
from wskit_channels.routing.table import Hooks
from wskit_channels.servers import daphne, uvicorn
from wskit_channels.threads import ConnectionWork, pooled_context

__all__ = ["SERVER_SEND", "ConsumerTransport", "close_now", "refuse_by_http"]

P = ParamSpec("P")
T = TypeVar("T")

SERVER_SEND = "wskit_channels.send"
"""Scope key under which ``websocket_application`` keeps the server's own ``send``."""

logger = logging.getLogger("wskit_channels.connection")

CLOSE_GRACE = 1.0
"""Seconds that queued frames, and then the close itself, have to get out."""


Send = Callable[[dict[str, Any]], Awaitable[None]]


async def close_now(scope: Mapping[str, Any], send: Send, code: int, reason: str) -> None:
    """Close an accepted socket by the best way there is. Never raises."""
    server_send = scope.get(SERVER_SEND)
    uvicorn.let_close_pass(send, server_send)
    try:
        async with asyncio.timeout(CLOSE_GRACE):
            await daphne.close(send, server_send, code, reason)
    except Exception as error:  # noqa: BLE001 - the client is gone, one way or another
        logger.debug("the close could not be sent: %s", type(error).__name__)


async def refuse_by_http(scope: Mapping[str, Any], send: Send, status: int, body: bytes) -> None:
    """Refuse a handshake with a status, or with the 403 that a server makes of a close."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"text/plain")]
    if status == 503:
        headers.append((b"retry-after", b"5"))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


class Users(Protocol):
    """Who sees to whose connection it is."""

    async def set_user(self, user: Any) -> None: ...
    async def refresh_user(self) -> None: ...


def _outbox(
    scope: Mapping[str, Any],
    send: Send,
    limits: Limits,
    on_dropped: Callable[[int, int, bool], None],
) -> Outbox:
    backlog = Backlog(
        limits.socket_buffer_limit_bytes,
        drop_progress=limits.drop_progress_on_backpressure,
        drop_messages=limits.on_slow_consumer == "drop",
    )
    return Outbox(
        send,
        backlog,
        on_dropped,
        daphne.flow_behind(send, scope.get(SERVER_SEND)),
        needs_task=not (daphne.protocol_behind(send) or uvicorn.protocol_behind(send)),
    )


class ConsumerTransport:
    """
    The way out to one client, for ``routing``; made when the socket is accepted.

    Closing is asked for here and done by the consumer: ``close`` only notes code and
    reason and interrupts the task that reads.
    """

    def __init__(
        self,
        scope: MutableMapping[str, Any],
        send: Callable[[dict[str, Any]], Awaitable[None]],
        *,
        client_id: str,
        layer: str,
        namespace: str,
        hooks: Hooks,
        limits: Limits,
        on_dropped: Callable[[int, int, bool], None],
        users: Users,
    ) -> None:
        self.client_id = client_id
        self.close_request: tuple[int, str] | None = None
        self._scope = scope
        self._send = send
        self._layer = layer
        self._namespace = namespace
        self._hooks = hooks
        self._hub: hub.Hub | None = None
        self._topics: dict[str, None] = {}  # as a set; an empty one is larger
        self._outbox = _outbox(scope, send, limits, on_dropped)
        self._reader: asyncio.Task[Any] | None = None
        self._base = pooled_context()
        # What routing calls for every message, without a hop.
        self.write = self._outbox.put
        self.share = self._outbox.share
        self.queue = self._outbox.queue
        self.flush = self._outbox.flush
        self.drain = self._outbox.drain
        self.set_user = users.set_user
        self.refresh_user = users.refresh_user

    # -- closing

    def close(self, code: int, reason: str) -> None:
        """Have the connection closed after what is queued; the first close wins."""
        if self.close_request is None:
            self.close_request = (code, reason)
            if self._reader is not None:
                self._reader.cancel()

    def interrupt_here(self) -> None:
        """From now on a close interrupts the present task, which reads."""
        self._reader = asyncio.current_task()

    def forget_reader(self) -> None:
        """From now on a close interrupts nobody."""
        self._reader = None

    def seal(self) -> None:
        """From now on a close comes too late: the consumer is at its end."""
        if self.close_request is None:
            self.close_request = (1006, "")

    async def send_close(self, code: int, reason: str) -> None:
        """Write what is queued, as far as the client takes it, and close."""
        try:
            if code != 1013:  # a slow consumer's queue would never be written
                async with asyncio.timeout(CLOSE_GRACE):
                    await self._outbox.flush()
                    await self._outbox.drain()
        except TimeoutError:
            logger.info(
                "closing with frames unwritten: client=%s",
                self.client_id,
                extra={"client_id": self.client_id},
            )
        self._outbox.close()
        await close_now(self._scope, self._send, code, reason)

    def gone(self) -> None:
        """The client is gone: nothing is written any more."""
        self._outbox.close()

    # -- work

    def work(self) -> ConnectionWork:
        """Context variables and a thread, for an event line or a call."""
        return ConnectionWork(self._base)

    def background(self) -> contextvars.Context:
        """Context variables in which jobs go to threads that handlers do not use."""
        return self._base.copy()

    async def run_sync(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain function in the present work's thread, cleaning up as Channels does."""
        result: T = await database_sync_to_async(function)(*args, **kwargs)
        return result

    def call(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function from a plain handler's thread and wait for it."""
        result: T = async_to_sync(function)(*args, **kwargs)
        return result

    # -- topics

    async def subscribe(self, topic: str) -> None:
        if self._hub is None:
            self._hub = hub.hub_for(get_channel_layer(self._layer), self._namespace)
            self._hub.observed_by(self._hooks)
        self._topics[topic] = None
        try:
            await self._hub.join(topic, self)
        except BaseException:
            self._topics.pop(topic, None)
            raise

    async def unsubscribe(self, topic: str) -> None:
        self._topics.pop(topic, None)
        if self._hub is not None:
            self._hub.leave(topic, self)

    def leave_all(self) -> None:
        """Take this connection out of the hub; groups are left in the background."""
        if self._hub is not None:
            for topic in self._topics:
                self._hub.leave(topic, self)
        self._topics.clear()

    async def publish(self, topic: str, frame: str, *, exclude_self: bool) -> PublishResult:
        exclude = self.client_id if exclude_self else None
        return await hub.apublish_frame(self._layer, self._namespace, topic, frame, exclude=exclude)
