"""
A live connection: what a router, an accepted socket and its client make together.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings as django_settings

from wskit_channels.account import Account
from wskit_channels.admission import LOGGED_OUT, TOO_MANY
from wskit_channels.conf import get_settings
from wskit_channels.identity import Identity
from wskit_channels.protocol import wire
from wskit_channels.protocol.backlog import Kind
from wskit_channels.protocol.calls import CallTable
from wskit_channels.protocol.connection import Connection
from wskit_channels.protocol.errors import WsKitError
from wskit_channels.protocol.heartbeat import Heartbeat
from wskit_channels.protocol.limits import Limits
from wskit_channels.registry import registry_here
from wskit_channels.routing import heartbeat
from wskit_channels.routing.dispatch import Dispatcher
from wskit_channels.routing.handshake import Handshake
from wskit_channels.routing.peer import Peer
from wskit_channels.routing.router import Router
from wskit_channels.transport import ConsumerTransport

__all__ = ["Live", "new_client_id"]


class Live:
    """One accepted connection; nothing of the application has run for it when it is made."""

    def __init__(
        self,
        router: Router[Any],
        scope: MutableMapping[str, Any],
        send: Callable[[dict[str, Any]], Awaitable[None]],
        handshake: Handshake,
        data: Any,
        *,
        limits: Limits,
        account: Account,
        client_id: str,
    ) -> None:
        table = router.freeze()
        self.client_id, self.account = client_id, account
        self._login_required = router.login_required
        self.transport = ConsumerTransport(
            scope,
            send,
            client_id=client_id,
            layer=router.channel_layer,
            namespace=router.namespace,
            hooks=table.hooks,
            limits=limits,
            on_dropped=self._dropped,
            users=self,
        )
        self.peer = Peer(
            table,
            self.transport,
            handshake,
            _connection(router, limits, client_id),
            limits=limits,
            client_id=client_id,
            data=data,
            debug=django_settings.DEBUG,
            closes=get_settings().closes,
        )
        self.dispatcher = Dispatcher(self.peer)
        self._heartbeat = _heartbeat_of(router)
        self._said_bye = False

    def start(self) -> None:
        """Begin: run ``on_open``, and keep the heartbeat where there is one."""
        self.dispatcher.start()
        if self._heartbeat is not None:
            heartbeat.watch(self.peer, self._heartbeat)

    def calls(self) -> set[asyncio.Task[None]]:
        """The calls in flight that still have to be answered."""
        return self.dispatcher.calls.unanswered()

    def say_bye(self, retry_after: float) -> None:
        """Tell the client, once, that it will be closed, and in how many seconds to come back."""
        if self._said_bye:
            return
        self._said_bye = True
        bye = wire.bye_frame(code=1012, reason="RESTART", retry_after=retry_after, now=time.time())
        self.peer.write(bye, Kind.ERROR)

    async def set_user(self, user: Any) -> None:
        """
        Make this the connection's user, for all that counts; None makes it anonymous.

        Raises:
            WsKitError: ``RESOURCE_EXHAUSTED`` if the user has too many connections already:
                the connection is closed with 4429.
        """
        if not getattr(user, "is_authenticated", False):
            user = None
        exceeded = await self.account.take_seat(user)
        if exceeded is not None:
            self.peer.report_exceeded(exceeded)
            self.transport.close(*TOO_MANY)
            raise WsKitError("RESOURCE_EXHAUSTED", "Too many connections")
        self._become(user, Identity.of(user))
        if user is None and self._login_required:
            self.transport.close(*LOGGED_OUT)

    async def refresh_user(self) -> None:
        """Read the user anew, and close the connection with 4401 if they may not stay."""
        before = self.account.identity
        if before is None:
            return
        user, identity = await self.account.reloaded()
        if self.account.identity is not before:
            return  # somebody logged in meanwhile
        if identity is None:
            self.transport.close(*LOGGED_OUT)
        elif user is not None:
            self._become(user, identity)

    def _become(self, user: Any, identity: Identity | None) -> None:
        registry = registry_here()
        known = registry.live.get(self.client_id) is self
        if known:
            registry.unindex(self)
        self.account.become(user, identity)
        if known:
            registry.index(self)

    def _dropped(self, waiting: int, dropped: int, closing: bool) -> None:
        """The client does not read: frames were dropped, or it has to go."""
        limit = self.peer.limits.socket_buffer_limit_bytes
        self.peer.report("socket_buffer_bytes", waiting, limit, dropped=dropped)
        if closing:
            self.transport.close(1013, "SLOW_CONSUMER")


def _connection(router: Router[Any], limits: Limits, client_id: str) -> Connection:
    settings = get_settings()
    calls = CallTable(
        limits.max_inflight_rpcs,
        router.rpc_timeout or settings.rpc_timeout,
        settings.max_rpc_timeout,
    )
    return Connection(
        router.freeze().routes,
        limits,
        calls,
        client_id=client_id,
        new_id=lambda: str(uuid.uuid4()),
        sensitive=settings.sensitive,
    )


def _heartbeat_of(router: Router[Any]) -> Heartbeat | None:
    settings = get_settings()
    if router.heartbeat is None and settings.heartbeat_interval:
        return Heartbeat(interval=settings.heartbeat_interval, timeout=settings.heartbeat_timeout)
    return router.heartbeat or None


def new_client_id() -> str:
    """A UUID v7: 48 bits of milliseconds, then random (RFC 9562, section 5.7)."""
    value = int.from_bytes(os.urandom(10))
    milliseconds = time.time_ns() // 1_000_000
    high = milliseconds << 16 | 0x7 << 12 | value >> 68
    low = 0b10 << 62 | value & ((1 << 62) - 1)
    return str(uuid.UUID(int=high << 64 | low))
