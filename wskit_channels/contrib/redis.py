"""
Rate limits and idempotency in Redis or Valkey, for several processes.

Every step is one Lua script, and time is the server's, so that neither concurrent processes
nor their clocks can disagree. Needs redis-py (``pip install wskit-channels[redis]``) and a
server of version 5 or later.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final, TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from wskit_channels.routing.idempotency import (
    LEASE,
    MAX_ANSWER_BYTES,
    TTL,
    check_store,
)
from wskit_channels.routing.ratelimit import Decision, check_bucket

__all__ = ["RedisIdempotencyStore", "RedisLimiter"]

Source: TypeAlias = str | Any | Callable[[], Any]
"""An address, a ``redis.asyncio`` client, or a function that makes one."""

MAX_CONNECTIONS: Final = 50
"""Connections that an event loop opens to an address; who finds all in use waits."""

# What is owed stays as it was when a cost is refused: polling must not round the refill away.
CONSUME = """
local capacity, rate, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local kept = redis.call('HMGET', KEYS[1], 'owed', 'since')
local owed = 0
if kept[1] and kept[2] then
    local passed = math.max(0, now - tonumber(kept[2]))
    owed = math.max(0, tonumber(kept[1]) - passed * rate / 1000000)
end
local available = math.floor(capacity - owed)
local over = owed + cost - capacity
if over > 0 then
    return {0, string.format('%.17g', over / rate), available}
end
owed = owed + cost
if owed > 0 then
    redis.call('HSET', KEYS[1], 'owed', string.format('%.17g', owed),
               'since', string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil(owed / rate * 1000) + 1))
end
return {1, '0', available}
"""

ACQUIRE = """
local found = redis.call('GET', KEYS[1])
if found then
    return found
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""

# For renewing and finishing alike: what is ours, or nobody's, becomes the given value. It may
# be there already: a command whose answer got lost is sent once more.
REPLACE = """
local found = redis.call('GET', KEYS[1])
if found and found ~= ARGV[1] and found ~= ARGV[2] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
return 1
"""


class _Clients:
    """A client for each running loop, closed when its loop shuts down."""

    def __init__(self, source: Source, timeout: float) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout is a number of seconds above 0, not {timeout}.")
        self._source = source
        self._timeout = timeout
        self._owner: weakref.ref[asyncio.AbstractEventLoop] | None = None
        self._gates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )
        self._held: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[AsyncGenerator[Any, None], dict[str, Any]]
        ] = weakref.WeakKeyDictionary()

    async def run(self, script: str, key: str, *args: str | int | float) -> Any:
        """
        Run a script that touches one key.

        Raises:
            redis.RedisError, OSError, TimeoutError: If that cannot be done in time.
        """
        scripts = await self._scripts()
        # A flood of ours that waits for a connection is no failure of the server.
        async with self._gate(), asyncio.timeout(self._timeout):
            return await scripts[script](keys=[key], args=args)

    def _gate(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            gate = self._gates[loop] = asyncio.Semaphore(MAX_CONNECTIONS)
        return gate

    async def close(self) -> None:
        """Close the present loop's client; used again, there is a new one."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[0].aclose()

    async def _scripts(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            for other in [ref() for ref in self._held.keyrefs()]:
                if other is not None and other.is_closed():  # without having been shut down
                    self._held.pop(other, None)
            client, closes = self._make(loop)
            scripts = {
                text: client.register_script(text) for text in (CONSUME, ACQUIRE, REPLACE, RELEASE)
            }
            holder = self._hold(client if closes else None)
            held = self._held[loop] = (holder, scripts)
            await anext(holder)
        return held[1]

    async def _hold(self, client: Any | None) -> AsyncGenerator[Any, None]:
        # A loop that shuts down closes its asynchronous generators, and so the client.
        loop = weakref.ref(asyncio.get_running_loop())
        try:
            yield
        finally:
            if (here := loop()) is not None:
                self._held.pop(here, None)
            if client is not None:
                await client.aclose()

    def _make(self, loop: asyncio.AbstractEventLoop) -> tuple[Any, bool]:
        """A client for a loop, and whether it is ours to close."""
        source = self._source
        if isinstance(source, str):
            pool = BlockingConnectionPool.from_url(
                source,
                max_connections=MAX_CONNECTIONS,
                timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                # One more attempt: a server that was restarted leaves dead connections behind.
                retry=Retry(NoBackoff(), 1),
                retry_on_error=[RedisConnectionError],
            )
            return Redis.from_pool(pool), True
        if not hasattr(source, "register_script"):
            return source(), True
        if self._owner is None:
            self._owner = weakref.ref(loop)
        elif self._owner() is not loop:
            raise RuntimeError(
                "This Redis client belongs to another event loop. Give the address "
                "(redis://...) or a function that makes a client instead of a client."
            )
        return source, False


class RedisLimiter:
    """
    Token buckets in Redis, shared by every process.

    Args:
        client: An address (``redis://...``), a function that makes a ``redis.asyncio``
            client, called once for each event loop, or a client, for one loop only.
        capacity: Tokens that a full bucket holds: the longest burst.
        refill_per_second: Tokens gained in a second; may be a fraction.
        prefix: Before every key. Limiters of different numbers need different ones.
        timeout: Seconds after which the server counts as failed.

    Raises:
        ValueError: If a number is not above 0.
    """

    def __init__(
        self,
        client: Source,
        *,
        capacity: int,
        refill_per_second: float,
        prefix: str = "wskit:rate:",
        timeout: float = 1.0,
    ) -> None:
        check_bucket(capacity, refill_per_second)
        self._clients = _Clients(client, timeout)
        self._capacity = capacity
        self._rate = repr(float(refill_per_second))
        self._prefix = prefix

    async def consume(self, key: str, cost: int) -> Decision:
        """
        Take tokens from a bucket, all of ``cost`` or none.

        Raises:
            redis.RedisError, OSError, TimeoutError: If the server cannot be asked in time.
        """
        found: Sequence[Any] = await self._clients.run(
            CONSUME, self._prefix + key, self._capacity, self._rate, cost
        )
        allowed, wait, available = bool(found[0]), float(found[1]), int(found[2])
        if allowed or cost > self._capacity:
            return Decision(allowed, available=available)
        return Decision(False, wait, available)

    async def aclose(self) -> None:
        """Close this event loop's connections; a loop that shuts down in order does it."""
        await self._clients.close()


class RedisIdempotencyStore:
    """
    Answers and leases in Redis, shared by every process.

    What Redis forgets, since it restarts without persistence or evicts keys, can run again:
    use a server with ``appendonly yes`` and ``maxmemory-policy noeviction`` for what must not.

    Args:
        client: As ``RedisLimiter`` takes it.
        ttl: Seconds that an answer is kept.
        lease: Seconds after which the call of a process that died may run again.
        max_answer_bytes: Longest answer that is kept.
        prefix: Before every key.
        timeout: Seconds after which the server counts as failed.

    Raises:
        ValueError: If a number is not above 0.
    """

    def __init__(
        self,
        client: Source,
        *,
        ttl: float = TTL,
        lease: float = LEASE,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        prefix: str = "wskit:idempotency:",
        timeout: float = 1.0,
    ) -> None:
        check_store(ttl, lease, max_answer_bytes)
        self._clients = _Clients(client, timeout)
        self._ttl_ms = max(1, round(ttl * 1000))
        self._lease_ms = max(1, round(lease * 1000))
        self._prefix = prefix
        self.lease = lease
        self.max_answer_bytes = max_answer_bytes

    async def acquire(self, key: str, claim: str) -> str | None:
        """Put the claim where nothing is; else return what is there."""
        found = await self._clients.run(ACQUIRE, self._prefix + key, claim, self._lease_ms)
        text = found.decode() if isinstance(found, bytes) else found
        return None if text is None or text == claim else str(text)

    async def renew(self, key: str, claim: str) -> bool:
        """Let the lease of a claim begin anew; False if somebody else holds the key."""
        return await self._replace(key, claim, claim, self._lease_ms)

    async def finish(self, key: str, claim: str, answer: str) -> bool:
        """Keep the answer; False if somebody else holds the key."""
        return await self._replace(key, claim, answer, self._ttl_ms)

    async def _replace(self, key: str, claim: str, value: str, milliseconds: int) -> bool:
        run = self._clients.run
        return bool(await run(REPLACE, self._prefix + key, claim, value, milliseconds))

    async def release(self, key: str, claim: str) -> None:
        """Give the key up, if the claim still holds it."""
        await self._clients.run(RELEASE, self._prefix + key, claim)

    async def aclose(self) -> None:
        """Close this event loop's connections; a loop that shuts down in order does it."""
        await self._clients.close()
