"""
The consumer: one WebSocket connection under an ASGI server.

A real ``AsyncWebsocketConsumer`` with a run loop of its own. Stock dispatch costs a
thread hop for every frame, awaits each handler before the next frame, and gives every
connection a queue in the channel layer, whose failure then ends the socket.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Literal

from channels.exceptions import AcceptConnection, DenyConnection, StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.core.exceptions import ImproperlyConfigured

from wskit_channels import admission
from wskit_channels.account import SESSIONS, Account, SessionLoader
from wskit_channels.conf import get_settings
from wskit_channels.drain import drain_on_sigterm
from wskit_channels.live import Live, new_client_id
from wskit_channels.own_channel import OwnChannel, wants_own_channel
from wskit_channels.registry import Registry, registry_here
from wskit_channels.routing.dispatch import Dispatcher
from wskit_channels.routing.handshake import Handshake
from wskit_channels.routing.log import fields
from wskit_channels.routing.router import Router
from wskit_channels.seats import Seats
from wskit_channels.threads import enter_pool, leave_pool
from wskit_channels.transport import close_now, refuse_by_http

__all__ = ["WsKitConsumer"]

FORBIDDEN = (4401, 4403)
"""Close codes in the place of which a handshake can be refused."""

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
    ``refuse="http"`` has who may not connect refused with HTTP 403, in the place of an
    accepted socket that is closed with 4401 or 4403.
    ``own_channel`` gives it a channel of its own in the channel layer, and with it
    ``channel_name`` and ``groups``; None does so where it defines a channel-layer handler:
    an ``async`` method with one argument that this class does not have.
    """

    router: ClassVar[Router[Any] | None] = None
    own_channel: bool | None = None
    refuse: ClassVar[Literal["close", "http"]] = "close"

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._channel: OwnChannel | None = None
        self._live: Live | None = None
        self._accepted = False
        self._refused = False
        self._seats: Seats | None = None
        for name, value in options.items():
            setattr(self, name, value)

    @classmethod
    def as_asgi(cls, **options: Any) -> Any:
        """
        The ASGI application.

        Raises:
            TypeError: For an option that is no attribute of the class, or a method.
            ValueError: For another ``refuse`` than those there are.
            ImproperlyConfigured: If there is no router.
        """
        for name in options:
            known = getattr(cls, name, print)  # a function, as methods are
            if name.startswith("_") or (callable(known) and not isinstance(known, Router)):
                raise TypeError(
                    f"{cls.__name__}.as_asgi() got an unknown option {name!r}: options are "
                    "attributes of the class, like router and own_channel."
                )
        if options.get("refuse", "close") not in ("close", "http"):
            raise ValueError(f"refuse is 'close' or 'http', not {options['refuse']!r}.")
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
        if get_settings().drain_on_sigterm:
            drain_on_sigterm()
        token = enter_pool()
        try:
            message = await receive()
            if message["type"] == "websocket.connect":
                await self._serve(receive)
        finally:
            leave_pool(token)

    async def _serve(self, receive: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        if wants_own_channel(self, WsKitConsumer):
            self._channel = OwnChannel(self)
            await self._channel.open()
        try:
            await self._connect()
            if self._live is not None:
                await self._run(receive, self._live)
        finally:
            if self._live is not None:
                registry_here().remove(self._live)
            if self._seats is not None:
                await self._seats.leave_all()
            if self._channel is not None:
                await self._channel.close()

    async def _connect(self) -> None:
        try:
            await self.connect()
        except AcceptConnection:
            await self.accept()
        except DenyConnection:
            await super().close()
        if self._accepted and self._live is None and not self._refused:
            # Nobody was authenticated, so that nobody may be served.
            logger.error("%s.connect() must call super().connect()", type(self).__name__)
            await close_now(self._scope, self._send, 1011, "INTERNAL")

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
        router, registry = self._router, registry_here()
        limits, client_id = router.limits.resolved(get_settings().limits), new_client_id()
        known = registry.identities.generation
        handshake = self._handshake(registry)
        self._seats = Seats(client_id, limits, router.channel_layer)
        loads_user = bool(self._scope.get(SESSIONS))
        admitted = await admission.admit(router, handshake, self._seats, loads_user=loads_user)
        if not await self._accept_or_refuse(router, registry, handshake, admitted.refusal):
            return
        self._live = live = Live(
            router,
            self._scope,
            self._send,
            handshake,
            admitted.data,
            limits=limits,
            account=Account(self._scope, self._seats),
            client_id=client_id,
        )
        registry.add(live)
        if registry.identities.generation != known:
            registry.revalidation.check([live])  # an order may have come too early for us
        if registry.drained is not None:
            live.say_bye(random.uniform(0, get_settings().drain_window))  # noqa: S311 - jitter
            live.transport.close(1012, "RESTART")

    def _handshake(self, registry: Registry) -> Handshake:
        settings = get_settings()
        cookies_count = SESSIONS in self._scope
        return Handshake(
            self._scope,
            token_parameter=settings.token_parameter,
            token_subprotocol=settings.token_subprotocol_prefix,
            trusted_proxies=settings.proxies,
            loader=SessionLoader(self._scope, registry.identities) if cookies_count else None,
        )

    async def _accept_or_refuse(
        self,
        router: Router[Any],
        registry: Registry,
        handshake: Handshake,
        refusal: tuple[int, str] | None,
    ) -> bool:
        """Answer the handshake; whether it was accepted and the connection may stay."""
        if registry.drained is not None:
            await refuse_by_http(self._scope, self._send, 503, b"The server goes down.")
            return False
        if refusal is not None and self.refuse == "http" and refusal[0] in FORBIDDEN:
            await refuse_by_http(self._scope, self._send, 403, b"Forbidden")
            return False
        await self.accept(handshake.select_subprotocol(router.subprotocols))
        if refusal is not None:
            self._refused = True
            await close_now(self._scope, self._send, *refusal)
        return refusal is None

    @property
    def _router(self) -> Router[Any]:
        if self.router is None:
            raise ImproperlyConfigured(f"{type(self).__name__} has no router.")
        return self.router

    async def _run(self, receive: Callable[[], Coroutine[Any, Any, Any]], live: Live) -> None:
        """Serve an open connection to its end, and see to it that the end is complete."""
        transport = live.transport
        code, reason, cancelled = 1006, "", False
        started = transport.close_request is None  # else it was closed while it connected
        try:
            if started:
                live.start()
                transport.interrupt_here()
                code, reason = await self._read(receive, live.dispatcher)
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
                # With the client still there: the server goes down (PROTOCOL 8).
                live.say_bye(random.uniform(*RESTART_SPREAD))  # noqa: S311 - jitter
                transport.close(1012, "RESTART")
        except Exception:
            transport.forget_reader()
            logger.exception(
                "the consumer failed: client=%s", live.client_id, extra=fields(live.peer)
            )
            transport.close(1011, "INTERNAL")
        request = transport.close_request
        transport.seal()
        if request is not None:
            code, reason = request
        finish = self._finish(live, code, reason, closing=request is not None, started=started)
        interrupted = await _to_the_end(finish)
        if cancelled or interrupted:
            raise asyncio.CancelledError

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
                else:
                    is_text = isinstance(data, str)
                    await (self.receive(data) if is_text else self.receive(bytes_data=data))
                    if self._live is not None and self._live.transport.close_request is not None:
                        return 1006, ""  # also where receive() has swallowed our interruption
                frames += 1
                if frames % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            elif message["type"] == "websocket.disconnect":
                return message.get("code") or 1005, message.get("reason") or ""

    def _keeps(self, method: str) -> bool:
        """Whether a method is this class's own and not a subclass's."""
        return getattr(type(self), method) is getattr(WsKitConsumer, method)

    async def _finish(
        self, live: Live, code: int, reason: str, *, closing: bool, started: bool
    ) -> None:
        transport = live.transport
        if closing:
            live.peer.closed = True
            await transport.send_close(code, reason)
        transport.gone()
        transport.leave_all()
        await live.dispatcher.close()
        if started:
            await live.dispatcher.run_close_hooks(code, reason)
        transport.leave_all()
        try:
            await self.disconnect(code)
        except StopConsumer:
            pass
        except Exception:
            logger.exception(
                "disconnect failed: client=%s", live.client_id, extra=fields(live.peer)
            )

    # -- what a subclass may use

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """Dispatch a frame; override to see or change frames before they are."""
        data = text_data if text_data is not None else bytes_data
        if self._live is not None and data is not None:
            self._live.dispatcher.feed(data)

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the connection after what is queued."""
        if self._live is None:
            await super().close(code, reason)
        else:
            number = 1000 if code is None or code is True else int(code)
            self._live.transport.close(number, reason or "")

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
