"""
The topics of one connection: a read-only set, and the operations that change it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Set
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from wskit_channels.protocol.errors import PubSubError
from wskit_channels.protocol.topics import check_topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wskit_channels.routing.peer import Peer

__all__ = ["Topics"]


class Topics(Set[str]):
    """
    The topics that a connection is subscribed to, in the order of subscribing.

    Reads like a set of names; iterating walks a snapshot. Operations on one topic
    wait for each other; operations on different topics do not.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._names: dict[str, None] = {}
        self._locks: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Set[Any]:
        return frozenset(it)

    def __contains__(self, topic: object) -> bool:
        return topic in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"Topics({list(self._names)})"

    async def subscribe(self, topic: str) -> None:
        """
        Have what is published to a topic sent to this connection.

        Nothing happens where it is subscribed already.

        Raises:
            PubSubError: ``INVALID_TOPIC``, ``TOPIC_LIMIT_EXCEEDED``, ``CONNECTION_CLOSED``,
                or ``ADAPTER_ERROR`` where the channel layer failed; nothing is subscribed then.
        """
        async with self._turn(topic):
            if topic in self._names:
                return
            peer = self._peer
            check_topic(topic, peer.limits)
            self._check_room(topic)
            await peer.transport.subscribe(topic)
            if peer.closed:
                await peer.transport.unsubscribe(topic)
                raise PubSubError("CONNECTION_CLOSED", "The connection has closed")
            self._names[topic] = None

    async def unsubscribe(self, topic: str) -> None:
        """
        Leave a topic; nothing happens where it is not subscribed.

        Raises:
            PubSubError: ``INVALID_TOPIC`` for what can be no topic.
        """
        async with self._turn(topic):
            if topic not in self._names:
                check_topic(topic, self._peer.limits)
                return
            del self._names[topic]
            await self._peer.transport.unsubscribe(topic)

    def _check_room(self, topic: str) -> None:
        peer = self._peer
        if peer.closed:
            raise PubSubError("CONNECTION_CLOSED", "The connection has closed")
        limit = peer.limits.max_topics_per_connection
        if len(self._names) >= limit:
            peer.report("topics", len(self._names) + 1, limit)
            raise PubSubError(
                "TOPIC_LIMIT_EXCEEDED",
                "Too many topics",
                details={"limit": limit, "current": len(self._names)},
            )

    @asynccontextmanager
    async def _turn(self, topic: str) -> AsyncIterator[None]:
        """Wait for an operation in flight on the same topic."""
        lock, users = self._locks.setdefault(topic, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[topic]
