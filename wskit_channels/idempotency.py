"""
The answers of idempotent calls in Django's cache.
"""

from __future__ import annotations

from typing import Any

from django.core.cache import caches

from wskit_channels.routing.idempotency import LEASE, MAX_ANSWER_BYTES, TTL, check_store

__all__ = ["CacheIdempotencyStore"]


class CacheIdempotencyStore:
    """
    Answers and leases in one of ``CACHES``, which all processes must share.

    Redis, memcached and the database will do: their ``add`` is atomic. The local-memory
    cache is one process's own, and the file cache's ``add`` is not atomic. A cache that is
    full forgets what it likes, and what it forgot runs again if it is repeated: give this an
    alias of its own, with a ``MAX_ENTRIES`` that fits where the backend has one (300!).

    A cache cannot compare and change in one step. So a call whose lease ended while it ran
    on, since its process stood still for that long, may overwrite the one that took the key
    over; ``contrib.redis.RedisIdempotencyStore`` leaves no such gap.

    Args:
        alias: Which of ``CACHES``.
        ttl: Seconds that an answer is kept.
        lease: Seconds after which the call of a process that died may run again.
        max_answer_bytes: Longest answer that is kept; memcached refuses those over 1 MiB.
        prefix: Before every key.

    Raises:
        ValueError: If a number is not above 0, or the lease is below a second.
    """

    def __init__(
        self,
        alias: str = "default",
        *,
        ttl: float = TTL,
        lease: float = LEASE,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        prefix: str = "wskit:idempotency:",
    ) -> None:
        check_store(ttl, lease, max_answer_bytes)
        if min(ttl, lease) < 1:
            raise ValueError("ttl and lease are a second or more: caches count whole seconds.")
        self.lease = lease
        self.max_answer_bytes = max_answer_bytes
        self._alias = alias
        self._ttl = ttl
        self._prefix = prefix

    @property
    def _cache(self) -> Any:
        return caches[self._alias]  # anew each time: a cache belongs to a thread or a task

    async def acquire(self, key: str, claim: str) -> str | None:
        """
        Put the claim where nothing, or the same claim, is; else return what is there.

        Raises:
            RuntimeError: If the cache does not keep what it is given, as the dummy cache.
        """
        name = self._prefix + key
        added = await self._cache.aadd(name, claim, self.lease)
        found: str | None = await self._cache.aget(name)
        if found is None:
            if added:
                raise RuntimeError(
                    f"The cache {self._alias!r} forgets at once what is put into it. "
                    "Give CacheIdempotencyStore the alias of one that keeps it."
                )
            return await self.acquire(key, claim)  # it was gone in between
        return None if found == claim else found

    async def renew(self, key: str, claim: str) -> bool:
        """Let the lease of a claim begin anew; False if something else is there."""
        return await self._replace(key, claim, claim, self.lease)

    async def finish(self, key: str, claim: str, answer: str) -> bool:
        """Put the answer in the place of the claim; False if something else is there."""
        return await self._replace(key, claim, answer, self._ttl)

    async def _replace(self, key: str, claim: str, value: str, seconds: float) -> bool:
        name = self._prefix + key
        if await self._cache.aadd(name, value, seconds):
            return True  # the lease had ended, and nobody has taken the key since
        if await self._cache.aget(name) not in (claim, value):
            return False
        await self._cache.aset(name, value, seconds)
        return True

    async def release(self, key: str, claim: str) -> None:
        """Remove the claim, if it is still there."""
        name = self._prefix + key
        if await self._cache.aget(name) == claim:
            await self._cache.adelete(name)
