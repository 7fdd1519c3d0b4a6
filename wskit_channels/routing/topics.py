"""
The topics of one connection: a read-only set, and the operations that change it.

Every operation goes the same way: normalise, wait for operations in flight on the same
topics, leave out what is no change, validate, authorise, judge the limit on the
resulting size, ask the transport, change the set, run hooks. What is no change has no
side effect at all. Several topics change together or not at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, MutableSet, Set
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from wskit_channels.protocol.errors import PubSubError, PubSubErrorCode, WsKitError
from wskit_channels.protocol.topics import Topic, check_topic, topic_name
from wskit_channels.routing.log import fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wskit_channels.routing.peer import Peer
    from wskit_channels.routing.policy import TopicAction

__all__ = ["TopicStatus", "Topics", "TopicsChange"]

logger = logging.getLogger("wskit_channels.topics")

TopicStatus = Literal["absent", "subscribing", "unsubscribing", "subscribed"]


@dataclass(frozen=True, slots=True)
class TopicsChange:
    """What an operation on several topics came to."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    total: int = 0
    """Topics subscribed to after it."""


class Topics(Set[str]):
    """
    The topics that a connection is subscribed to, in the order of subscribing.

    Reads like a set of names; iterating walks a snapshot. Operations take names or
    typed topics, and raise ``PubSubError``: ``INVALID_TOPIC``, ``ACL_SUBSCRIBE``,
    ``ACL_UNSUBSCRIBE``, ``TOPIC_LIMIT_EXCEEDED``, ``CONNECTION_CLOSED``, or
    ``ADAPTER_ERROR`` where the channel layer failed; nothing has changed then.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._names: dict[str, None] = {}
        self._turns: dict[str, _Turn] = {}

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Set[Any]:
        return frozenset(it)

    def __contains__(self, topic: object) -> bool:
        return (str(topic) if isinstance(topic, Topic) else topic) in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"Topics({list(self._names)})"

    def status(self, topic: str | Topic[Any]) -> TopicStatus:
        """Where a topic stands, an operation in flight considered."""
        name = self._normalized([topic])[0]
        turn = self._turns.get(name)
        if turn is not None and turn.doing is not None:
            return turn.doing
        return "subscribed" if name in self._names else "absent"

    async def settle(self, topic: str | Topic[Any] | None = None) -> None:
        """Wait for the operations in flight on a topic, or on all."""
        names = list(self._turns) if topic is None else self._normalized([topic])
        for name in names:
            if (turn := self._turns.get(name)) is not None:
                async with turn.lock:
                    pass

    async def subscribe(self, topic: str | Topic[Any]) -> None:
        """Have what is published to a topic sent to this connection."""
        await self._change(self._normalized([topic]), [])

    async def unsubscribe(self, topic: str | Topic[Any]) -> None:
        """Leave a topic; nothing happens where it is not subscribed."""
        await self._change([], self._normalized([topic]))

    async def subscribe_many(self, topics: Iterable[str | Topic[Any]]) -> TopicsChange:
        """Subscribe to several topics, all or none."""
        return await self._change(self._normalized(topics), [])

    async def unsubscribe_many(self, topics: Iterable[str | Topic[Any]]) -> TopicsChange:
        """Leave several topics, all or none."""
        return await self._change([], self._normalized(topics))

    async def set(self, topics: Iterable[str | Topic[Any]]) -> TopicsChange:
        """Be subscribed to exactly these: leave the others, then subscribe to what is missing."""
        wanted = self._normalized(topics)
        there = dict.fromkeys([*self, *self._turns])  # what is being subscribed to included
        keep = set(wanted)
        return await self._change(wanted, [name for name in there if name not in keep])

    async def update(self, change: Callable[[MutableSet[str]], object]) -> TopicsChange:
        """
        Change a draft of the set, then be subscribed to that: ``update(lambda draft: ...)``.

        What others subscribe to meanwhile is left alone.
        """
        before = dict.fromkeys(self)
        draft = set(before)
        change(draft)
        adding = self._normalized(sorted(draft - before.keys()))
        return await self._change(adding, [name for name in before if name not in draft])

    async def clear(self) -> TopicsChange:
        """Leave all topics."""
        return await self.set(())

    async def _reauthorize(self) -> None:
        """Leave the topics that the connection may no longer be subscribed to."""
        peer = self._peer
        if not peer.table.policy.authorize:
            return
        for name in self:
            try:
                allowed = await peer.table.policy.allows(peer, "subscribe", name)
            except WsKitError:
                allowed = False
            except Exception:
                peer.log.exception("authorising a topic again failed")
                allowed = False
            if not allowed and not peer.closed:
                await self._lose(name)

    async def _lose(self, name: str) -> None:
        async with self._turns_of([name]):
            if lost := name in self._names:
                self._turns[name].doing = "unsubscribing"
                await self._carry_out([], [name])
        if lost:
            await self._tell([], [name])

    # -- the way of every operation

    async def _change(self, adding: list[str], removing: list[str]) -> TopicsChange:
        """Add and remove these names, which are normalised already: twice could be others."""
        limit = self._peer.limits.max_topics_per_connection
        if len(adding) > limit and len(set(adding) - self._names.keys()) > limit:
            raise self._too_many(len(adding))  # whatever a policy would say of each of them
        async with self._turns_of([*adding, *removing]):
            added = [name for name in adding if name not in self._names]
            removed = [name for name in removing if name in self._names]
            if added or removed:
                await self._check(added, removed)
                for names, doing in ((added, "subscribing"), (removed, "unsubscribing")):
                    for name in names:
                        self._turns[name].doing = doing  # type: ignore[assignment]  # a literal
                await self._carry_out(added, removed)
        # Its turn is over: a hook may work on the very topic that it is told of.
        await self._tell(added, removed)
        return TopicsChange(tuple(added), tuple(removed), len(self._names))

    def _normalized(self, topics: Iterable[str | Topic[Any]]) -> list[str]:
        """Names after the normalise hooks, each once."""
        if isinstance(topics, str | Topic):
            raise TypeError(f"This takes several topics, not one: [{topics!r}]")
        policy = self._peer.table.policy
        return list(dict.fromkeys(policy.normalized(topic_name(topic)) for topic in topics))

    async def _check(self, added: list[str], removed: list[str]) -> None:
        peer = self._peer
        if peer.closed:
            raise PubSubError("CONNECTION_CLOSED", "The connection has closed")
        for name in added:
            check_topic(name, peer.limits)
        for name in removed:
            await self._authorize("unsubscribe", name, "ACL_UNSUBSCRIBE")
        for name in added:
            await self._authorize("subscribe", name, "ACL_SUBSCRIBE")
        limit, resulting = peer.limits.max_topics_per_connection, self._resulting(added, removed)
        if added and resulting > limit:
            raise self._too_many(len(added))

    def _too_many(self, requested: int) -> PubSubError:
        limit, current = self._peer.limits.max_topics_per_connection, len(self._names)
        self._peer.report("topics", current + requested, limit)
        details = {"limit": limit, "current": current, "requested": requested}
        return PubSubError("TOPIC_LIMIT_EXCEEDED", "Too many topics", details=details)

    def _resulting(self, added: list[str], removed: list[str]) -> int:
        # Operations on other topics may be past this point, and not yet in the set.
        subscribing = sum(turn.doing == "subscribing" for turn in self._turns.values())
        return len(self._names) + subscribing + len(added) - len(removed)

    async def _authorize(self, action: TopicAction, name: str, code: PubSubErrorCode) -> None:
        if not await self._peer.table.policy.allows(self._peer, action, name):
            raise PubSubError(code, "Not allowed", details={"topic": name})

    async def _carry_out(self, added: list[str], removed: list[str]) -> None:
        """Ask the transport, leaving before joining; undo in reverse if one fails."""
        transport = self._peer.transport
        undo: list[tuple[Callable[[str], Any], str]] = []
        try:
            for name in removed:
                await transport.unsubscribe(name)
                undo.append((transport.subscribe, name))
            for name in added:
                await transport.subscribe(name)
                undo.append((transport.unsubscribe, name))
            if self._peer.closed:
                raise PubSubError("CONNECTION_CLOSED", "The connection has closed")
        except BaseException as error:
            failed = await self._roll_back(undo)
            if isinstance(error, PubSubError) and len(added) + len(removed) > 1:
                raise _with_rollback(error, failed) from error
            raise
        for name in removed:
            del self._names[name]
        for name in added:
            self._names[name] = None
        for name in (*added, *removed):
            self._turns[name].doing = None  # hooks find it done

    async def _roll_back(self, undo: list[tuple[Callable[[str], Any], str]]) -> list[str]:
        failed: list[str] = []
        for operation, name in reversed(undo):
            if self._peer.closed and operation == self._peer.transport.subscribe:
                continue
            try:
                await operation(name)
            except Exception as error:  # noqa: BLE001 - what cannot be undone is told
                logger.warning(
                    "rolling back failed: %s", type(error).__name__, extra=fields(self._peer)
                )
                failed.append(name)
        for name in failed:
            self._names.pop(name, None)  # it was left, and could not be joined again
        return failed

    async def _tell(self, added: list[str], removed: list[str]) -> None:
        policy = self._peer.table.policy
        for name in removed:
            await policy.tell(self._peer, policy.on_unsubscribe, name)
        for name in added:
            await policy.tell(self._peer, policy.on_subscribe, name)

    @asynccontextmanager
    async def _turns_of(self, names: list[str]) -> AsyncIterator[None]:
        """Wait for operations in flight on these topics; in one order, so that none deadlock."""
        async with AsyncExitStack() as stack:
            for name in sorted(set(names)):
                await stack.enter_async_context(self._turn(name))
            yield

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        turn = self._turns.get(name)
        if turn is None:
            turn = self._turns[name] = _Turn()
        turn.users += 1
        try:
            async with turn.lock:
                try:
                    yield
                finally:
                    turn.doing = None
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[name]


class _Turn:
    """Who is at work on one topic, and who waits."""

    __slots__ = ("doing", "lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self.doing: Literal["subscribing", "unsubscribing"] | None = None


def _with_rollback(error: PubSubError, failed: list[str]) -> PubSubError:
    details = {
        **(error.details or {}),
        "rollback_failed": bool(failed),
        "failed_rollback_topics": failed,
    }
    code: Any = error.code
    return PubSubError(code, error.message, details=details)
