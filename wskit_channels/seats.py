"""
Seats: how many connections one user, or one address, has open.

Counted in this process always, and across processes where the channel layer is one of
channels_redis. If that server fails, what this process knows decides: nobody is kept
out because a counter is away.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import MutableMapping
from typing import Any, Protocol

from channels.layers import channel_layers

from wskit_channels.protocol.limits import LimitExceeded, Limits, LimitType

__all__ = ["Seats", "SharedSeats"]

logger = logging.getLogger("wskit_channels.seats")

SHARED_BY = "channels_redis."
"""Where the classes of layers come from whose server can count for several processes."""

KINDS: dict[str, LimitType] = {"user": "connections_per_user", "ip": "connections_per_ip"}

_held: dict[str, set[str]] = {}
_held_lock = threading.Lock()


class SharedSeats(Protocol):
    """A counter that several processes share; any of its methods may raise."""

    async def take(self, key: str, holder: str, limit: int) -> int | None:
        """Take a seat unless ``limit`` are taken: how many are then, None if it was taken."""

    async def leave(self, key: str, holder: str) -> None: ...


class Seats:
    """What one connection holds, from before it is accepted until it has ended."""

    def __init__(self, client_id: str, limits: Limits, layer: str) -> None:
        self._client_id = client_id
        self._limits = {
            "user": limits.max_connections_per_user,
            "ip": limits.max_connections_per_ip,
        }
        self._layer = layer
        self._lock = asyncio.Lock()
        self._closed = False
        self._taken: dict[str, str] = {}

    async def take(self, kind: str, whose: object) -> LimitExceeded | None:
        """
        Take the seat of a "user" or an "ip", giving up the one of that kind held so far.

        The limit that is crossed, where it is: nothing is taken then.
        """
        if not self._limits[kind]:
            return None
        async with self._lock:  # logins at once would each leave a seat behind
            return await self._take(kind, None if self._closed else whose)

    async def _take(self, kind: str, whose: object) -> LimitExceeded | None:
        limit = self._limits[kind]
        await self._leave(kind)
        if whose is None:
            return None
        key = f"{kind}:{whose}"
        self._taken[kind] = key
        with _held_lock:
            held = _held.setdefault(key, set())
            held.add(self._client_id)
            count = len(held)
        if count <= limit and (shared := _shared(self._layer)) is not None:
            try:
                others = await shared.take(key, self._client_id, limit)
            except Exception as error:  # noqa: BLE001 - whatever a server's client raises
                logger.warning(
                    "connections are counted in this process only: %s", type(error).__name__
                )
            else:
                count = count if others is None else others + 1
        if count <= limit:
            return None
        await self._leave(kind)
        return LimitExceeded(
            type=KINDS[kind], observed=count, limit=limit, client_id=self._client_id
        )

    async def _leave(self, kind: str) -> None:
        key = self._taken.pop(kind, None)
        if key is None:
            return
        with _held_lock:
            held = _held[key]
            held.discard(self._client_id)
            if not held:
                del _held[key]
        if (shared := _shared(self._layer)) is not None:
            try:
                await shared.leave(key, self._client_id)
            except Exception as error:  # noqa: BLE001 - its lease ends by itself
                logger.debug("a shared seat could not be left: %s", type(error).__name__)

    async def leave_all(self) -> None:
        """Give up what is held, and take nothing any more."""
        self._closed = True
        if not self._taken and not self._lock.locked():
            return
        async with self._lock:
            for kind in list(self._taken):
                await self._leave(kind)


_by_loop: MutableMapping[asyncio.AbstractEventLoop, dict[str, SharedSeats | None]] = (
    weakref.WeakKeyDictionary()
)


def _shared(alias: str) -> SharedSeats | None:
    """The running loop's counter behind a channel layer; None where there is none."""
    known = _by_loop.setdefault(asyncio.get_running_loop(), {})
    if alias not in known:
        known[alias] = _make_shared(channel_layers.configs.get(alias, {}))
    return known[alias]


def _make_shared(config: dict[str, Any]) -> SharedSeats | None:
    if not str(config.get("BACKEND", "")).startswith(SHARED_BY):
        return None
    from wskit_channels.contrib.redis_seats import RedisSeats

    options = config.get("CONFIG", {})
    return RedisSeats(options.get("hosts"), prefix=str(options.get("prefix", "asgi")))
