"""
Seats counted in Redis or Valkey: the server of a ``channels_redis`` layer.

A seat is an entry of a sorted set, scored by when its lease ends by the server's clock,
so that those of a process that died are free again within ``LEASE`` seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

# channels_redis has no types.
from channels_redis.utils import create_pool, decode_hosts  # type: ignore[import-untyped]
from redis.asyncio import Redis

__all__ = ["RedisSeats"]

logger = logging.getLogger("wskit_channels.seats")

LEASE: Final = 30.0
RENEW_EVERY: Final = 10.0
TIMEOUT: Final = 2.0
"""Seconds that one step may take: a handshake waits for it."""

TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local taken = redis.call('ZCARD', KEYS[1])
if tonumber(ARGV[3]) >= 0 and taken >= tonumber(ARGV[3])
    and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    return taken
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return -1
"""


class RedisSeats:
    """
    ``SharedSeats`` of one event loop; it renews what the loop's connections hold.

    Args:
        hosts: As ``CHANNEL_LAYERS`` has them; the first one counts.
        prefix: Of the keys.
        lease: Seconds until the seat of a process that died is free.
        renew_every: Seconds between two renewals.
    """

    def __init__(
        self,
        hosts: Any,
        *,
        prefix: str,
        lease: float = LEASE,
        renew_every: float = RENEW_EVERY,
    ) -> None:
        self._client: Any = Redis(connection_pool=create_pool(decode_hosts(hosts)[0]))
        self._prefix = prefix
        self._lease = int(lease * 1000)
        self._renew_every = renew_every
        self._held: set[tuple[str, str]] = set()
        self._steps = 0
        self._renewing: asyncio.Task[None] | None = None

    async def take(self, key: str, holder: str, limit: int) -> int | None:
        """Take a seat unless ``limit`` are taken; how many are then."""
        async with self._step():
            taken = int(await self._take(self._client, key, holder, limit))
            if taken >= 0:
                return taken
            self._held.add((key, holder))
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew())
        return None

    async def leave(self, key: str, holder: str) -> None:
        """Give up a seat."""
        if (key, holder) not in self._held:
            return
        self._held.discard((key, holder))
        if not self._held and self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
        async with self._step():
            await self._client.zrem(self._key(key), holder)

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        """Bound the time of a step; who holds nothing afterwards keeps no connection open."""
        self._steps += 1
        try:
            async with asyncio.timeout(TIMEOUT):
                yield
        finally:
            self._steps -= 1
            if not self._held and not self._steps:
                await self._client.aclose(close_connection_pool=True)

    def _key(self, key: str) -> str:
        return f"{self._prefix}:wskit-seats:{key}"

    def _take(self, client: Any, key: str, holder: str, limit: int) -> Any:
        return client.eval(TAKE, 1, self._key(key), holder, self._lease, limit)

    async def _renew(self) -> None:
        """Renew all leases now and then; a seat that was lost meanwhile is taken again."""
        failing = False
        while True:
            await asyncio.sleep(self._renew_every)
            try:
                pipeline = self._client.pipeline(transaction=False)
                for key, holder in self._held:
                    self._take(pipeline, key, holder, -1)
                await pipeline.execute()
            except Exception as error:  # noqa: BLE001 - the next renewal may succeed
                if not failing:
                    logger.warning("renewing seats failed: %s", type(error).__name__)
                failing = True
            else:
                failing = False
