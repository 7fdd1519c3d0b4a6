"""
The consumer: one WebSocket connection under an ASGI server.

A real ``AsyncWebsocketConsumer`` with a run loop of its own. Stock dispatch costs a
thread hop for every frame, awaits each handler before the next frame, and gives every
connection a queue in the channel layer, whose failure then ends the socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from channels.exceptions import AcceptConnection, DenyConnection, StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from wskit_channels import auth
from wskit_channels.conf import get_settings
from wskit_channels.own_channel import OwnChannel, wants_own_channel
from wskit_channels.protocol import wire
from wskit_channels.protocol.calls import CallTable
from wskit_channels.protocol.connection import Connection
from wskit_channels.routing.dispatch import Dispatcher
from wskit_channels.routing.handshake import Handshake
from wskit_channels.routing.peer import Peer
from wskit_channels.routing.router import Router
from wskit_channels.servers import daphne
from wskit_channels.threads import pooled
from wskit_channels.transport import SERVER_SEND, ConsumerTransport

__all__ = ["WsKitConsumer"]

logger = logging.getLogger("wskit_channels.consumer")

YIELD_EVERY = 32
"""Frames that are read at a stretch: some servers hand over a burst without a pause."""

RESTART_SPREAD = (0.5, 5.0)
"""Seconds within which clients of a server that goes down are asked to come back."""


class WsKitConsumer(AsyncWebsocketConsumer):
    """
    Serves a ``Router``; ``router.as_asgi()`` makes one for each connection.

    A subclass may override ``connect``, ``receive`` and ``disconnect``, calling ``super()``:
    a ``connect`` that accepts by itself has authenticated nobody, and is closed with 1011.
    ``own_channel`` gives it a channel of its own in the channel layer, and with it
    ``channel_name`` and ``groups``; None does so where it defines a channel-layer handler:
    an ``async`` method with one argument that this class does not have.
    """

    router: ClassVar[Router[Any] | None] = None
    own_channel: bool | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._channel: OwnChannel | None = None
        self._transport: ConsumerTransport | None = None
        self._dispatcher: Dispatcher | None = None
        self._peer: Peer | None = None
        self._accepted = False
        for name, value in options.items():
            setattr(self, name, value)

    @classmethod
    def as_asgi(cls, **options: Any) -> Any:
        """
        The ASGI application.

        Raises:
            TypeError: For an option that is no attribute of the class.
            ImproperlyConfigured: If there is no router.
        """
        for name in options:
            if name.startswith("_") or not hasattr(cls, name):
                raise TypeError(
                    f"{cls.__name__}.as_asgi() got an unknown option {name!r}: options are "
                    "attributes of the class, like router and own_channel."
                )
        if not isinstance(options.get("router", cls.router), Router):
            raise ImproperlyConfigured(
                f"{cls.__name__} has no router: write router.as_asgi(), or set the attribute."
            )
        return super().as_asgi(**options)

    # -- the run loop

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.base_send = send
        self._scope: dict[str, Any] = scope
        self._send: Any = send
        if scope["type"] != "websocket":
            raise ValueError(f"{type(self).__name__} serves WebSockets, not {scope['type']!r}.")
        with pooled():
            message = await receive()
            if message["type"] == "websocket.connect":
                await self._serve(receive)

    async def _serve(self, receive: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        if wants_own_channel(self, WsKitConsumer):
            self._channel = OwnChannel(self)
            await self._channel.open()
        try:
            await self._connect()
            if self._transport is not None:
                await self._run(receive)
        finally:
            if self._channel is not None:
                await self._channel.close()

    async def _connect(self) -> None:
        try:
            await self.connect()
        except AcceptConnection:
            await self.accept()
        except DenyConnection:
            await super().close()
        if self._accepted and self._peer is None:
            # Nobody was authenticated, so that nobody may be served.
            logger.error("%s.connect() must call super().connect()", type(self).__name__)
            await daphne.close(self._send, self._scope.get(SERVER_SEND), 1011, "INTERNAL")

    async def accept(self, subprotocol: str | None = None, headers: Any = None) -> None:
        """Accept the socket; ``connect`` does."""
        self._accepted = True
        await super().accept(subprotocol, headers)

    async def connect(self) -> None:
        """
        Admit the client or refuse it: hooks, authentication, accept.

        Who is refused is accepted and closed with 4401, since a close before accept
        reaches browsers as a bare HTTP 403 (``PROTOCOL 8``).
        """
        router = self._router
        settings = get_settings()
        handshake = Handshake(
            self._scope,
            token_parameter=settings.token_parameter,
            token_subprotocol=settings.token_subprotocol_prefix,
        )
        admission = await auth.admit(router, handshake)
        subprotocol = handshake.select_subprotocol(router.subprotocols)
        await self.accept(subprotocol)
        self._open(handshake, admission.data)
        if admission.refusal is not None:
            assert self._transport is not None  # noqa: S101 - opened above
            transport, self._transport = self._transport, None
            await transport.send_close(*admission.refusal)

    def _open(self, handshake: Handshake, data: Any) -> None:
        """Put the connection together; nothing of the application has run for it yet."""
        router, settings = self._router, get_settings()
        table = router.freeze()
        limits = router.limits.resolved(settings.limits)
        client_id = new_client_id()
        self._transport = ConsumerTransport(
            self._scope,
            self._send,
            client_id=client_id,
            layer=router.channel_layer,
            namespace=router.namespace,
            hooks=table.hooks,
            buffer_limit=limits.socket_buffer_limit_bytes,
            on_overflow=self._overflowed,
        )
        calls = CallTable(
            limits.max_inflight_rpcs,
            router.rpc_timeout or settings.rpc_timeout,
            settings.max_rpc_timeout,
        )
        connection = Connection(
            table.routes,
            limits,
            calls,
            client_id=client_id,
            new_id=lambda: str(uuid.uuid4()),
            sensitive=settings.sensitive,
        )
        self._peer = Peer(
            table,
            self._transport,
            handshake,
            connection,
            limits=limits,
            client_id=client_id,
            data=data,
            debug=django_settings.DEBUG,
        )
        self._dispatcher = Dispatcher(self._peer)

    @property
    def _router(self) -> Router[Any]:
        if self.router is None:
            raise ImproperlyConfigured(f"{type(self).__name__} has no router.")
        return self.router

    def _overflowed(self, waiting: int) -> None:
        """The client does not read: over the limit it is closed with 1013."""
        assert self._peer is not None  # noqa: S101 - an outbox is made with its peer
        self._peer.report(
            "socket_buffer_bytes", waiting, self._peer.limits.socket_buffer_limit_bytes
        )
        self._peer.transport.close(1013, "SLOW_CONSUMER")

    async def _run(self, receive: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Serve an open connection to its end, and see to it that the end is complete."""
        transport, dispatcher = self._transport, self._dispatcher
        assert transport is not None and dispatcher is not None  # noqa: S101, PT018 - _open() ran
        code, reason, cancelled = 1006, "", False
        started = transport.close_request is None  # else a subclass closed while it connected
        try:
            if started:
                dispatcher.start()
                transport.interrupt_here()
                code, reason = await self._read(receive, dispatcher)
            if transport.close_request is not None:
                await asyncio.sleep(0)  # our own interruption may still be on its way to us
            transport.forget_reader()
        except asyncio.CancelledError:
            transport.forget_reader()
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - we run in one
            asked = transport.close_request is not None
            cancelled = not asked or task.cancelling() > 1
            while task.cancelling():
                task.uncancel()
            if not asked:
                self._say_goodbye(transport)
        except Exception:
            transport.forget_reader()
            logger.exception("the consumer failed: client=%s", transport.client_id)
            transport.close(1011, "INTERNAL")
        request = transport.close_request
        transport.seal()
        interrupted = await _to_the_end(self._finish(request, code, reason, started=started))
        if cancelled or interrupted:
            raise asyncio.CancelledError

    def _say_goodbye(self, transport: ConsumerTransport) -> None:
        """The server cancels us with the client still there: it goes down (``PROTOCOL 8``)."""
        retry_after = random.uniform(*RESTART_SPREAD)  # noqa: S311 - jitter
        bye = wire.bye_frame(code=1012, reason="RESTART", retry_after=retry_after, now=time.time())
        transport.write(bye)
        transport.close(1012, "RESTART")

    async def _read(
        self, receive: Callable[[], Coroutine[Any, Any, Any]], dispatcher: Dispatcher
    ) -> tuple[int, str]:
        """Read frames until the client disconnects; how it did."""
        feed = dispatcher.feed if self._keeps("receive") else None
        frames = 0
        while True:
            message = await receive()
            if message["type"] == "websocket.receive":
                data = message.get("text")
                if data is None:
                    data = message["bytes"]
                if feed is not None:
                    feed(data)
                elif isinstance(data, str):
                    await self.receive(text_data=data)
                else:
                    await self.receive(bytes_data=data)
                frames += 1
                if frames % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            elif message["type"] == "websocket.disconnect":
                return message.get("code") or 1005, message.get("reason") or ""

    def _keeps(self, method: str) -> bool:
        """Whether a method is this class's own and not a subclass's."""
        return getattr(type(self), method) is getattr(WsKitConsumer, method)

    async def _finish(
        self, request: tuple[int, str] | None, code: int, reason: str, *, started: bool
    ) -> None:
        transport, dispatcher, peer = self._transport, self._dispatcher, self._peer
        assert transport and dispatcher and peer  # noqa: S101, PT018 - _open() ran
        if request is not None:
            code, reason = request
            peer.closed = True
            await transport.send_close(code, reason)
        transport.gone()
        transport.leave_all()
        await dispatcher.close()
        if started:
            await dispatcher.run_close_hooks(code, reason)
        transport.leave_all()
        try:
            await self.disconnect(code)
        except StopConsumer:
            pass
        except Exception:
            logger.exception("disconnect failed: client=%s", transport.client_id)

    # -- what a subclass may use

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """Dispatch a frame; override to see or change frames before they are."""
        data = text_data if text_data is not None else bytes_data
        if self._dispatcher is not None and data is not None:
            self._dispatcher.feed(data)

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the connection after what is queued."""
        if self._transport is None:
            await super().close(code, reason)
        else:
            number = 1000 if code is None or code is True else int(code)
            self._transport.close(number, reason or "")

    @property
    def channel_name(self) -> str:  # type: ignore[override]  # Channels sets an attribute
        """
        This connection's channel in the channel layer.

        Raises:
            RuntimeError: If it has none.
        """
        if self._channel is None or self._channel.name is None:
            raise RuntimeError(
                f"{type(self).__name__} has no channel in the channel layer: topics need none. "
                "Set own_channel = True on the class if you send to it by name."
            )
        return self._channel.name


async def _to_the_end(work: Coroutine[Any, Any, None]) -> bool:
    """Run to the end even if the server cancels us meanwhile; whether it did."""
    task = asyncio.create_task(work)
    interrupted = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            interrupted = True
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
    return interrupted


def new_client_id() -> str:
    """A UUID v7: 48 bits of milliseconds, then random (RFC 9562, section 5.7)."""
    value = int.from_bytes(os.urandom(10))
    milliseconds = time.time_ns() // 1_000_000
    high = milliseconds << 16 | 0x7 << 12 | value >> 68
    low = 0b10 << 62 | value & ((1 << 62) - 1)
    return str(uuid.UUID(int=high << 64 | low))
