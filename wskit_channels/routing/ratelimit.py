"""
Rate limits: token buckets, and the middleware that asks them.

A bucket holds ``capacity`` tokens and gains ``refill_per_second``; a message takes what it
costs, or is refused. Who shares a bucket is said by a key function, where the buckets are
kept by a limiter: ``MemoryLimiter`` in this process, ``contrib.redis.RedisLimiter`` in Redis.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias
from urllib.parse import quote

from wskit_channels.protocol.errors import WsKitError
from wskit_channels.routing.context import ConnectionContext
from wskit_channels.routing.functions import is_async, name_of
from wskit_channels.routing.handshake import network_of
from wskit_channels.routing.middleware import CallNext

if TYPE_CHECKING:
    from wskit_channels.routing.peer import Peer

__all__ = [
    "Decision",
    "InvalidCost",
    "Limiter",
    "MemoryLimiter",
    "RateLimit",
    "per_address",
    "per_user",
    "per_user_per_type",
    "rate_limit",
]

logger = logging.getLogger("wskit_channels.ratelimit")

KeyFunction: TypeAlias = Callable[[ConnectionContext[Any]], str]
CostFunction: TypeAlias = Callable[[ConnectionContext[Any]], int]
OnFailure: TypeAlias = Literal["allow", "deny"]

WARNING_INTERVAL: Final = 60.0
"""Seconds between two log lines about a limiter that goes on failing."""
MAX_EPISODES: Final = 256
"""Keys of one connection whose denials are remembered as reported; then the oldest go."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a limiter says to a cost."""

    allowed: bool
    retry_after: float | None = None
    """Where it is refused: the seconds until it could be had; None if it never can."""

    available: int = 0
    """Whole tokens that were there to be spent."""


class Limiter(Protocol):
    """Keeps buckets by key. Shared by all connections, so that it must not block the loop."""

    async def consume(self, key: str, cost: int) -> Decision:
        """
        Take tokens from a bucket, all of ``cost`` or none.

        Raises:
            Exception: If the buckets cannot be reached; ``rate_limit`` decides then.
        """
        ...


class InvalidCost(Exception):
    """A cost function gave something else than a whole number of tokens: a bug of ours."""


# -- keys


def per_user(ctx: ConnectionContext[Any]) -> str:
    """One bucket a user; anonymous clients have one an address, as ``per_address``."""
    if ctx.user.is_authenticated:
        return f"user:{ctx.user.pk}"
    return per_address(ctx)


def per_user_per_type(ctx: ConnectionContext[Any]) -> str:
    """One bucket for each message type of a user, or of an anonymous client's address."""
    return f"{quote(ctx.type, safe='')}:{per_user(ctx)}"


def per_address(ctx: ConnectionContext[Any]) -> str:
    """
    One bucket an address; an IPv6 client is its /64, within which it may choose freely.

    A connection whose server tells no address (a Unix socket) has a bucket of its own.
    """
    address = ctx.request.client_ip
    return f"client:{ctx.client_id}" if address is None else f"address:{network_of(address)}"


# -- buckets in memory


class MemoryLimiter:
    """
    Buckets in this process's memory: exact in one process, apart from each other in several.

    Args:
        capacity: Tokens that a full bucket holds: the longest burst.
        refill_per_second: Tokens gained in a second; may be a fraction.
        max_keys: Buckets kept at most. A bucket that is full again is forgotten anyway; over
            this number the one that was used longest ago is forgotten too, and so is full.
        clock: Monotonic seconds.

    Raises:
        ValueError: If a number is not above 0.
    """

    def __init__(
        self,
        *,
        capacity: int,
        refill_per_second: float,
        max_keys: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_bucket(capacity, refill_per_second)
        if max_keys < 1:
            raise ValueError(f"max_keys is a number above 0, not {max_keys}.")
        self._capacity = capacity
        self._rate = refill_per_second
        self._max_keys = max_keys
        self._clock = clock
        # Tokens owed, and since when; ordered by that, the longest unused first. A denial
        # changes nothing, so that polling an empty bucket does not round its refill away.
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()  # a process may have several event loops

    def __len__(self) -> int:
        """How many buckets are kept."""
        return len(self._buckets)

    async def consume(self, key: str, cost: int) -> Decision:
        """Take tokens from a bucket, all of ``cost`` or none."""
        with self._lock:
            now = self._clock()
            owed = self._owed(key, now)
            available = math.floor(self._capacity - owed)
            if cost > self._capacity:
                return Decision(False, None, available)
            over = owed + cost - self._capacity
            if over > 0:
                return Decision(False, over / self._rate, available)
            self._buckets.pop(key, None)
            if owed + cost > 0:
                self._buckets[key] = (owed + cost, now)
            self._forget(now)
            return Decision(True, available=available)

    def _owed(self, key: str, now: float) -> float:
        owed, since = self._buckets.get(key, (0.0, now))
        return max(0.0, owed - max(0.0, now - since) * self._rate)

    def _forget(self, now: float) -> None:
        """Drop the longest unused buckets that are full, two at a time, or one too many."""
        for _ in range(2):
            oldest = next(iter(self._buckets), None)
            if oldest is None:
                return
            if len(self._buckets) <= self._max_keys and self._owed(oldest, now) > 0:
                return
            del self._buckets[oldest]


def check_bucket(capacity: int, refill_per_second: float) -> None:
    """Raise ValueError for a bucket that could never be full or never be used."""
    if not _is_cost(capacity) or capacity < 1:
        raise ValueError(f"capacity is a whole number of tokens above 0, not {capacity!r}.")
    if not 0 < refill_per_second < math.inf:
        raise ValueError(f"refill_per_second is a number above 0, not {refill_per_second!r}.")


# -- middleware


def rate_limit(
    limiter: Limiter,
    key: KeyFunction = per_user_per_type,
    cost: int | CostFunction = 1,
    *,
    on_failure: OnFailure = "allow",
) -> RateLimit:
    """
    Middleware for ``router.use(...)`` or ``use=[...]``: refuse messages that come too fast.

    A refusal is ``RESOURCE_EXHAUSTED`` with the time to wait, or ``FAILED_PRECONDITION`` where
    the cost is more than a bucket ever holds. Refusals are reported by ``on_limit_exceeded``
    with type ``"rate"``, once until the key's next message is let through.

    Args:
        limiter: Where the buckets are.
        key: Who shares a bucket; a plain function of the context, which has no payload.
        cost: Tokens that a message takes, or a plain function of the context that says so.
            A message that costs 0 passes without asking.
        on_failure: Where the limiter itself fails: let messages pass, or refuse them
            with ``UNAVAILABLE``. One line a minute is logged.

    Raises:
        TypeError: If key or cost are ``async def``.
        ValueError: If a fixed cost is no whole number, or negative.
    """
    for function in (key, cost):
        if callable(function) and is_async(function):
            raise TypeError(f"{name_of(function)} is a coroutine function; write a plain one.")
    if not callable(cost) and not _is_cost(cost):
        raise ValueError(f"cost is a whole number of tokens, 0 or more, not {cost!r}.")
    if on_failure not in ("allow", "deny"):
        raise ValueError(f"on_failure is 'allow' or 'deny', not {on_failure!r}.")
    return RateLimit(limiter, key, cost, on_failure)


class RateLimit:
    """What ``rate_limit`` returns."""

    def __init__(
        self, limiter: Limiter, key: KeyFunction, cost: int | CostFunction, on_failure: OnFailure
    ) -> None:
        self._limiter = limiter
        self._key = key
        self._cost = cost
        self._on_failure = on_failure
        self._warned_at = -math.inf
        # Keys that are being denied, by connection: an episode is reported once.
        self._denied: weakref.WeakKeyDictionary[Peer, dict[str, None]]
        self._denied = weakref.WeakKeyDictionary()

    async def __call__(self, ctx: ConnectionContext[Any], call_next: CallNext) -> None:
        cost = self._cost if isinstance(self._cost, int) else self._cost(ctx)
        if not _is_cost(cost):
            raise InvalidCost(
                f"the cost of {ctx.type} is a whole number of tokens, 0 or more, not {cost!r}"
            )
        if cost > 0:
            await self._spend(ctx, self._key(ctx), cost)
        await call_next()

    async def _spend(self, ctx: ConnectionContext[Any], key: str, cost: int) -> None:
        try:
            decision = await self._limiter.consume(key, cost)
        except Exception as error:
            self._warn(error)
            if self._on_failure == "deny":
                raise WsKitError("UNAVAILABLE") from error
            return
        if decision.allowed:
            if (denied := self._denied.get(ctx._peer)) is not None:
                denied.pop(key, None)
            return
        retry_after = decision.retry_after
        if retry_after is not None:  # in whole milliseconds, of which the last is not too early
            retry_after = math.ceil(retry_after * 1000) / 1000
        self._report(ctx, key, cost, decision.available, retry_after)
        if retry_after is None:
            message = "This costs more than the rate limit ever allows"
            raise WsKitError("FAILED_PRECONDITION", message)
        raise WsKitError("RESOURCE_EXHAUSTED", "Rate limit exceeded", retry_after=retry_after)

    def _report(
        self,
        ctx: ConnectionContext[Any],
        key: str,
        cost: int,
        available: int,
        retry_after: float | None,
    ) -> None:
        denied = self._denied.setdefault(ctx._peer, {})
        if key in denied:
            return
        denied[key] = None
        if len(denied) > MAX_EPISODES:
            del denied[next(iter(denied))]
        ctx._peer.report("rate", cost, available, retry_after)

    def _warn(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._warned_at < WARNING_INTERVAL:
            return
        self._warned_at = now
        outcome = "pass" if self._on_failure == "allow" else "are refused"
        logger.warning(
            "a rate limiter fails, messages %s: limiter=%s error=%s",
            outcome,
            type(self._limiter).__qualname__,
            type(error).__qualname__,
            exc_info=error,
        )


def _is_cost(cost: object) -> bool:
    return isinstance(cost, int) and not isinstance(cost, bool) and cost >= 0
